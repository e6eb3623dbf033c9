"""Runs one operation as a job: stores its plan, holds its lock, and journals its events and its end.

A job never depends on the screen: it ignores a hangup and drops listeners that fail. It stops on SIGINT, SIGTERM or
`request_cancel`: the operation is cancelled once, as asyncio cancels a task, and undoes in its `finally` blocks what it
began. The job waits for that, however long it takes; further requests change nothing.
"""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pgvault.io import patience
from pgvault.jobs.failures import error_to_report, finished
from pgvault.jobs.hold import Hold
from pgvault.jobs.journal import Journal
from pgvault.jobs.plan import write_plan
from pgvault.jobs.registry import create_job, is_cancel_requested
from pgvault.jobs.reporter import Reporter
from pgvault.model.errors import Cancelled, PgvaultError
from pgvault.model.event import Emit, Failure, JobFinished, JobStarted, Level, Noted, discard
from pgvault.model.job import JobKind, JobState
from pgvault.store.files import remove_tree

T = TypeVar("T")
Act = Callable[[Emit, str], Awaitable[T]]
"""What a job does, given its `Emit` and its id. The `str` of the result is the verdict, one sentence."""

CANCEL_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """A job that is to be run."""

    kind: JobKind
    server: str
    command: str
    """The command line that does the same, quoted for a shell."""
    plan: object
    """A dataclass or a mapping."""
    hold: Hold | None = None
    """The hold of a job that exists already; None to create a new one."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a job ended: with a value, or with an error (including `Cancelled`)."""

    job: str
    finished: JobFinished
    value: T | None
    error: BaseException | None


def run_in_foreground(home: Path, order: Order, act: Act[T], listeners: Iterable[Emit] = (), *,
                      runner: asyncio.Runner | None = None) -> Ended[T]:
    """Run the job as the only purpose of this process: signals are requests to stop. Call it from the main thread only.

    With a `runner` the job runs in that event loop, in which the caller may have open connections to pass on.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # children ignore it too, as under nohup
    try:
        job = run_job(home, order, act, listeners, stop_signals=(signal.SIGINT, signal.SIGTERM))
        return runner.run(job) if runner else patience.run(job)
    finally:
        signal.signal(signal.SIGHUP, before)


async def run_job(home: Path, order: Order, act: Act[T], listeners: Iterable[Emit] = (), *,
                  stop_signals: Sequence[signal.Signals] = ()) -> Ended[T]:
    """Run the job to its end. Errors of the operation are in the result; it raises only if the job could not begin.

    If the caller is cancelled, the job is stopped and waited for before the cancellation continues.
    """
    stop = _Stop()
    with _handled(stop_signals, stop):
        held = order.hold or create_job(home, order.kind, order.server, order.command)
        directory = held.directory
        with closing(held), closing(_begin(directory, order)) as journal:
            emit = Reporter([journal.emit, *listeners])
            emit(JobStarted(directory.name, order.kind.value, order.server, order.command))
            task = asyncio.create_task(_run(act, emit, directory.name))
            stop.act_on(task, emit)
            await _wait_until_done(task, directory, stop)
            ended = _conclude(task, directory.name, order, emit)
            emit(ended.finished)
    if (caller := asyncio.current_task()) and caller.cancelling():
        raise asyncio.CancelledError
    return ended


def _begin(directory: Path, order: Order) -> Journal:
    try:
        write_plan(directory, order.plan)
        return Journal(directory)
    except BaseException:
        if order.hold is None:  # nothing has begun, so leave no job behind
            remove_tree(directory)
        raise


async def _run(act: Act[T], emit: Emit, job: str) -> T:
    return await act(emit, job)


async def _wait_until_done(task: asyncio.Task[T], directory: Path, stop: _Stop) -> None:
    while not task.done():
        if not stop.asked and is_cancel_requested(directory):  # even before the first step
            stop("requested with job cancel")
        try:
            await asyncio.wait([task], timeout=CANCEL_POLL_SECONDS)
        except asyncio.CancelledError:  # the process that runs this job, perhaps among others, is ending
            stop("its process is stopping")


class _Stop:
    """The request to stop: the first cancels the operation, later ones only report that it is being undone."""

    def __init__(self) -> None:
        self.asked = False
        self._cancel: Callable[[], object] = bool
        self._emit: Emit = discard

    def act_on(self, task: asyncio.Task[T], emit: Emit) -> None:
        self._cancel, self._emit = task.cancel, emit

    def __call__(self, reason: str) -> None:
        if self.asked:
            self._emit(Noted("already stopping: undoing what can be undone", Level.WARNING, "cancelling"))
            return
        self.asked = True
        self._emit(Noted(f"stopping ({reason}): undoing what can be undone", Level.WARNING, "cancelling"))
        self._cancel()


@contextmanager
def _handled(signals: Sequence[signal.Signals], stop: Callable[[str], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])  # a shell's background job ignores SIGINT


def _conclude(task: asyncio.Task[T], job: str, order: Order, emit: Emit) -> Ended[T]:
    error: BaseException | None = None
    if task.cancelled():
        error = Cancelled(f"{order.kind.value} cancelled", detail="The job was cancelled on request.",
                          hint=f"pgvault job show {job}")
    elif raised := task.exception():
        error = error_to_report(raised, f"complete the {order.kind.value}")
    else:
        return Ended(job, JobFinished(JobState.SUCCEEDED, str(task.result())), task.result(), None)
    if isinstance(error, PgvaultError):
        return Ended(job, finished(error, error.code), None, error)
    emit(Noted("".join(traceback.format_exception(error)), Level.ERROR, "internal-error"))
    failure = Failure("internal error", f"{type(error).__name__}: {error}", f"pgvault job show {job}", "internal", 1)
    return Ended(job, JobFinished(JobState.FAILED, "", failure), None, error)
