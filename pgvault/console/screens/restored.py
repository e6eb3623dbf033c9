"""The console's acts on a restored server: each is the verb that a person would type; one that changes something runs
as a job of its own, after its plan was shown and confirmed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from pgvault.console.background import run_in_background
from pgvault.console.fields import Field
from pgvault.console.jobbook import LOOKED_AT
from pgvault.console.recovery.afterwards import by_database
from pgvault.console.restored_plans import bring_back_fields, throw_away_fields
from pgvault.console.screens.asking import AskObjects
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.console.screens.planned_act import PlannedAct, plan_acts, start_job
from pgvault.console.screens.view import View
from pgvault.model.job import Job, JobKind
from pgvault.model.relation import parse_relation

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

ON_RESTORED = frozenset({"bring-back", "look", "open-copy", "lift", "throw-away"})
"""The actions, as the keys name them."""
_KINDS = (JobKind.BRING_BACK, JobKind.OPEN, JobKind.THROW_AWAY)
_TOP = "\x1b[H\x1b[J"
"""Goes to the top of the terminal, and clears it from there."""


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
            asked = f"The server in {made.directory} is asked where it listens; psql opens then."
            sys.stdout.write(fill(asked, app.size.width, break_long_words=False, break_on_hyphens=False) + "\n")
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


def _bring_back(app: BaseConsole, made: Made) -> None:
    """Bring tables back, with one plan, one confirmation and one job for each database."""
    def wanted(names: Iterable[object]) -> PlannedAct:
        return PlannedAct(("bring-back", made.job, *map(str, names)), f"bring back into {made.server}",
                          "both servers are being asked; nothing is changed", bring_back_fields)

    def named(names: tuple[str, ...] | None) -> None:
        if names:
            plan_acts(app, [wanted(names)])

    if made.expect:
        plan_acts(app, [wanted(same) for same in by_database(map(parse_relation, made.expect))])
    else:
        app.push_screen(AskObjects(f"bring back into {made.server}"), named)


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
            run_in_background(app, "start", start_job, app, [*words, "--yes", "--detach"], title,
                              exclusive=False)

    app.push_screen(Confirm(title, [*fields, Field("command", app.queries.commands.shown(words), "", 9)], act=act),
                    confirmed)


def _throw_away(app: BaseConsole, made: Made) -> None:
    plan_acts(app, [PlannedAct(
        ("throw-away", made.job), "throw away", "the server is being looked at; nothing is changed", throw_away_fields,
        lambda plan: Typed(str(plan["removes"][0])))])


_ACTS: dict[str, Callable[[BaseConsole, Made], None]] = {
    "bring-back": _bring_back, "open-copy": _open, "lift": _lift, "throw-away": _throw_away}


class WithRestored(View):
    """The shared base of views from which a restored server can be acted on."""

    def made(self) -> Made | None:
        """Return the restored server; None if there is none."""
        return None

    def do_bring_back(self) -> None:
        self._act("bring-back")

    def do_look(self) -> None:
        self._act("look")

    def do_open_copy(self) -> None:
        self._act("open-copy")

    def do_lift(self) -> None:
        self._act("lift")

    def do_throw_away(self) -> None:
        self._act("throw-away")

    def _act(self, action: str) -> None:
        if made := self.made():
            act(self.app, action, made)
