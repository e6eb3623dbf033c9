"""The console's acts on a restored server: each is the verb that a person would type; one that changes something runs
as a job of its own, after its plan was shown and confirmed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from pgvault.console.background import run_in_background
from pgvault.console.commands import Answer, Document
from pgvault.console.fields import Field
from pgvault.console.jobbook import LOOKED_AT
from pgvault.console.recovery.afterwards import by_database
from pgvault.console.restored_plans import bring_back_fields, throw_away_fields
from pgvault.console.screens.ask_objects import AskObjects
from pgvault.console.screens.asking import Asking
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.failure_box import FailureBox
from pgvault.model.event import Failure
from pgvault.model.job import Job, JobKind
from pgvault.model.relation import parse_relation

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

_KINDS = (JobKind.BRING_BACK, JobKind.OPEN, JobKind.THROW_AWAY)
_TOP = "\x1b[H\x1b[J"
"""Goes to the top of the terminal, and clears it from there."""
_NO_JOB = Failure("the command named no job", "", "See whether one runs: pgvault job list", "failed", 1)


@dataclass(frozen=True, slots=True)
class Made:
    """A server that a restore made."""

    job: str
    server: str
    directory: str
    expect: tuple[str, ...] = ()
    """The relations that it was made for, as DATABASE.SCHEMA.TABLE."""


def done_with(app: BaseConsole, job_id: str) -> list[Job]:
    """Return the jobs that acted on this restore's server, newest first."""
    later = [each for each in app.queries.jobs.ids[:LOOKED_AT] if each > job_id]
    return [job for job in map(app.queries.jobs.job, later)
            if job.kind in _KINDS and f" {job_id} " in f"{job.command} "]


def act(app: BaseConsole, action: str, made: Made) -> None:
    if action == "look":
        lend_to_psql(app, made)
    else:
        _ACTS[action](app, made)


def lend_to_psql(app: BaseConsole, made: Made) -> None:
    """Give the terminal to psql until it ends; the console pauses meanwhile, and is drawn anew. The terminal's earlier
    contents are scrolled away, not erased.
    """
    database = [f"--database={parse_relation(made.expect[0]).database}"] if made.expect else []
    words = ["look", made.job, *database]
    ran, began = app.queries.log.begin(app.queries.commands.shown(words)), time.monotonic()
    status: int | None = None
    try:
        with app.suspend():
            sys.stdout.write("\n" * app.size.height + _TOP)
            sys.stdout.write(f"The server in {made.directory} is asked where it listens; psql opens then.\n")
            sys.stdout.flush()
            status = subprocess.run(app.queries.commands.argv(words), check=False).returncode
            if status:
                input("\nEnter goes back to the console. ")
    except SuspendNotSupported:
        app.tell(f"this terminal cannot be lent: {app.queries.commands.shown(words)}", "warning")
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        app.queries.log.end(ran, time.monotonic() - began, status)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An act that is preceded by its verb's plan."""

    words: tuple[str, ...]
    title: str
    asking: str
    fields_of: Callable[[Document], Iterator[Field]]
    typed: Callable[[Document], str]
    """The text to be typed to confirm it; empty for none."""


def _bring_back(app: BaseConsole, made: Made) -> None:
    """Bring tables back, with one plan, one confirmation and one job for each database."""
    def wanted(names: Iterable[object]) -> _Wanted:
        return _Wanted(("bring-back", made.job, *map(str, names)), f"bring back into {made.server}",
                       "both servers are being asked; nothing is changed", bring_back_fields, lambda _: "")

    def named(names: tuple[str, ...] | None) -> None:
        if names:
            _plan(app, [wanted(names)])

    if made.expect:
        _plan(app, [wanted(same) for same in by_database(map(parse_relation, made.expect))])
    else:
        app.push_screen(AskObjects(made.server), named)


def _open(app: BaseConsole, made: Made) -> None:
    _confirm_opening(app, made, ["open", made.job], "open for use", f"open the server in {made.directory}", (
        Field("", "The server ends its recovery at the point that it is at and takes writes, on a timeline of its own.",
              "bold", 0),
        Field("", "It replays no more WAL then: another point is another restore. Archiving stays off there.", "", 0)))


def _lift(app: BaseConsole, made: Made) -> None:
    act = f"open the server in {made.directory} and let it act outside"
    _confirm_opening(app, made, ["open", made.job, "--lift"], "let it act", act, (
        Field("", "Removes the settings that the restore added to keep this server from acting outside. After its next "
                  "restart it may run what the original runs, such as subscriptions and scheduled jobs, in parallel "
                  "with it.",
              "bold", 0),
        Field("", "If it is still paused, it is opened first and then replays no more WAL. Archiving stays off.", "",
              0)))


def _confirm_opening(app: BaseConsole, made: Made, words: list[str], title: str, act: str,
                     fields: Iterable[Field]) -> None:
    def confirmed(yes: bool | None) -> None:
        if yes:
            run_in_background(app, "start", _start, app, [*words, "--yes", "--detach"], title)

    app.push_screen(Confirm(title, [*fields, Field("command", app.queries.commands.shown(words), "", 9)], act=act),
                    confirmed)


def _throw_away(app: BaseConsole, made: Made) -> None:
    _plan(app, [_Wanted(
        ("throw-away", made.job), "throw away", "the server is being looked at; nothing is changed", throw_away_fields,
        lambda plan: str(plan["removes"][0]))])


def _plan(app: BaseConsole, wanted: Sequence[_Wanted]) -> None:
    """Ask for the first act's plan, carry out exactly that once it is confirmed, and go on with the next act."""
    first, *rest = wanted

    def planned(answer: Answer | None) -> None:
        if answer is not None:
            _confirm(app, first, answer, lambda: _plan(app, rest) if rest else None)

    app.push_screen(Asking(first.title, first.asking, [*first.words, "--dry-run"]), planned)


def _confirm(app: BaseConsole, wanted: _Wanted, answer: Answer, go_on: Callable[[], None]) -> None:
    plan = answer.document
    failed = [each for each in plan.get("preconditions", ()) if each["outcome"] == "failed"]
    if not plan or failed:
        app.push_screen(FailureBox(f"cannot {wanted.title}", _refusal(answer, failed)))
        return
    words, typed = _words(plan), wanted.typed(plan)

    def confirmed(yes: bool | None) -> None:
        if yes:
            run_in_background(app, "start", _start, app, [*words, *["--yes"] * (not typed), "--detach"], wanted.title)
        go_on()

    fields = [*wanted.fields_of(plan), Field("command", app.queries.commands.shown(words), "accent")]
    app.push_screen(Confirm(wanted.title, fields, act=str(plan["act"]), typed=typed), confirmed)


def _words(plan: Document) -> list[str]:
    return shlex.split(plan["command"])[1:]


def _refusal(answer: Answer, failed: Sequence[Document]) -> Failure:
    if failed:
        return Failure(f"the condition \"{failed[0]['name']}\" does not hold", failed[0]["detail"], failed[0]["fix"],
                       "refused", 5)
    return answer.failure or Failure("there is no plan", "The command gave none.", "", "failed", 1)


async def _start(app: BaseConsole, words: Sequence[str], title: str) -> None:
    app.starting = title
    app.tell(f"starting: {title}")
    try:
        answer = await app.queries.commands.ask(*words)
    finally:
        app.starting = ""
    job = answer.document.get("job")
    if answer.failure or not job:
        app.push_screen(FailureBox(f"not begun: {title}", answer.failure or _NO_JOB))
        return
    app.announced[job] = title
    await app.read_jobs()


_ACTS: dict[str, Callable[[BaseConsole, Made], None]] = {
    "bring-back": _bring_back, "open-copy": _open, "lift": _lift, "throw-away": _throw_away}
