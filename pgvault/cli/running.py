"""Runs a job from a verb: in the foreground, reported on standard error; or silently, if it was started detached."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pgvault.cli.context import Context
from pgvault.cli.log import JobLog, open_log
from pgvault.cli.render import listener
from pgvault.config.state import state_directory
from pgvault.jobs.registry import jobs_directory
from pgvault.jobs.run import Act, Order, run_in_foreground
from pgvault.model.errors import Refused
from pgvault.model.event import Emit
from pgvault.model.job import JobKind
from pgvault.model.restore_plan import Precondition, refusal
from pgvault.store.files import is_full, make_directory

T = TypeVar("T")


class ActPlan(Protocol):
    """A plan for a restored server, shown and checked before it is executed."""

    @property
    def failed(self) -> tuple[Precondition, ...]: ...

    @property
    def act(self) -> str:
        """Return the effect, in words."""


def settle(plan: ActPlan, context: Context, show: Callable[[bool], None], *, dry_run: bool) -> int | None:
    """Show a plan on standard output if it was requested, else on standard error. Return the exit code if nothing else
    is to be done.

    Raises Refused if one of its conditions fails.
    """
    if context.hold is None or dry_run:
        show(dry_run)
    if dry_run:
        return Refused.exit_code if plan.failed else 0
    if plan.failed:
        raise refusal(plan.act, plan.failed)
    return None


def run_job(context: Context, *, kind: JobKind, server: str, command: Sequence[str], plan: object, act: Act[T],
            runner: asyncio.Runner | None = None) -> T:
    """Run `act` as a job and return its result; raises its error, or Cancelled.

    `command` is the full argument list, beginning with `pgvault`. See `pgvault.jobs.run` for the rest.
    """
    order = Order(kind, server, shlex.join(_with_config(command, context)), plan, context.hold)
    listeners: list[Emit] = [JobLog(open_log(context))]
    if context.hold is None:
        listeners.append(listener(context.err, as_json=context.json))
    ended = run_in_foreground(_home(context, kind), order, act, listeners, runner=runner)
    if ended.error is not None:
        raise ended.error
    return ended.value  # type: ignore[return-value]  # no error, so there is a value


def detach(context: Context, *, kind: JobKind, server: str, command: Sequence[str]) -> int:
    """Start the command as a detached job and print the job's id. Return the exit code."""
    from pgvault.jobs.detach import start_detached

    job = start_detached(context.config.vault.home, command, kind=kind, server=server, config=context.config_path)
    if context.json:
        context.out.json({"job": job})
    else:
        context.out.line(f"job {job} runs; watch it: pgvault job watch {job}")
    return 0


def _home(context: Context, kind: JobKind) -> Path:
    """Return where to record the job: in the vault or, if it is read-only, in the user's state directory. A restore
    from a full vault uses another place, too; any other job needs space in the vault."""
    home = context.config.vault.home
    if context.hold is not None or not home.exists():
        return home
    if not os.access(home, os.W_OK):
        what, places = "is read-only", [state_directory()]
    elif kind is JobKind.RESTORE and is_full(home):
        what, places = "is full", [state_directory(), _temporary(), Path("/dev/shm") / f"pgvault-{os.geteuid()}"]
    else:
        return home
    chosen = next((place for place in places if _has_room(place)), places[0])
    context.err.line(f"The vault {what}, so this job is recorded in {jobs_directory(chosen)}.")
    return chosen


def _temporary() -> Path:
    import tempfile

    try:
        return Path(tempfile.gettempdir()) / f"pgvault-{os.geteuid()}"
    except FileNotFoundError:  # all of its candidates are full
        return Path("/tmp") / f"pgvault-{os.geteuid()}"


def _has_room(place: Path) -> bool:
    """Return whether a directory that belongs to this user has space. Nobody else may read a job's plan."""
    try:
        make_directory(place)
        return place.stat().st_uid == os.geteuid() and not is_full(place)
    except OSError:
        return False


def _with_config(command: Sequence[str], context: Context) -> list[str]:
    where = ["--config", str(context.config_path)] if context.config_path else []
    return [command[0], *where, *command[1:]]
