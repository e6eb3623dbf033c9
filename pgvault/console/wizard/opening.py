"""Opens the recovery wizard: one for each server, whichever console has its draft, and whatever was answered before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pgvault.console.background import run_in_background
from pgvault.console.base import BaseConsole
from pgvault.console.recovery.draft import Draft, Point
from pgvault.console.recovery.drafts import DraftFile, draft_file
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.recovery.typed import text_of
from pgvault.console.wizard.resume import Resume
from pgvault.console.wizard.screen import RecoveryScreen
from pgvault.model.errors import Locked
from pgvault.model.target import AtTime, Target, describe


def open_wizard(app: BaseConsole, server: str, *, backup: str = "auto", target: Target | None = None,
                timeline: int | None = None, partial: bool = False, expect: tuple[str, ...] = ()) -> None:
    """Recover a server. An unfinished recovery of it is offered first; if its wizard is open here, that is shown.

    With a target the wizard begins at the point, where it is checked; `partial` and `expect` are as in
    `BaseConsole.open_recovery`.
    """
    if not server:
        app.tell("there is no server to recover", "warning")
        return
    fresh = Draft(server, backup=backup)
    if target is not None:
        fresh = replace(fresh.at(Point(target, timeline, describe(target), partial), expect=expect),
                        step=Step.POINT)
    if isinstance(there := app.recoveries.get(server), RecoveryScreen):
        _go_there(app, there, fresh)
    else:
        _open(app, fresh)


def _pointed_at(fresh: Draft) -> str:
    """Describe the point of a new recovery; empty if only the server is selected."""
    if fresh.point:
        target = fresh.point.target
        return f"to {text_of(target) if isinstance(target, AtTime) else fresh.point.label}"
    return "" if fresh.backup == "auto" else f"from backup {fresh.backup}"


def _go_there(app: BaseConsole, there: RecoveryScreen, fresh: Draft) -> None:
    """Show the open wizard; it may begin anew at the point selected meanwhile."""
    def show(resume: bool | None) -> None:
        if resume is None:
            return
        app.switch_mode(there.mode)
        if not resume:
            run_in_background(there, "anew", there.begin_anew, fresh)

    if app.screen is there:
        return
    if pointed_at := _pointed_at(fresh):
        app.push_screen(Resume(there.draft, pointed_at, server=fresh.server), show)
    else:
        show(True)
        app.tell(f"the recovery of {fresh.server} was open here; esc goes back in it, and q closes it")


def _open(app: BaseConsole, fresh: Draft) -> None:
    """Open a new wizard, resuming the kept draft where that is wanted; without saving where another console has the
    draft.
    """
    file = draft_file(app.queries.home, fresh.server)
    holder = _take(file) if file else ""
    kept = file.read() if file else None
    own = None if holder else file
    if kept is None and not holder:
        app.push_screen(RecoveryScreen(Session(app.queries, fresh, own, app.tell)))
        return
    app.push_screen(Resume(kept, _pointed_at(fresh), server=fresh.server, holder=holder),
                    _decided(app, kept, fresh, own))


def _take(file: DraftFile) -> str:
    """Take the draft. Return who has it, in a sentence; empty if it was taken."""
    try:
        file.take()
    except Locked as error:
        return error.detail
    return ""


def _decided(app: BaseConsole, kept: Draft | None, fresh: Draft,
             own: DraftFile | None) -> Callable[[bool | None], None]:
    def decide(resume: bool | None) -> None:
        if resume is not None:
            app.push_screen(RecoveryScreen(Session(app.queries, kept if resume and kept else fresh, own, app.tell)))
        elif own:
            own.let_go()
    return decide
