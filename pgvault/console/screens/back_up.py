"""Backing up now: the plan is shown and confirmed, then the verb is started as a job of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgvault.console.app import ConsoleApp
from pgvault.console.backing_up import act, told, words
from pgvault.console.beside import begin
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.failure_box import FailureBox
from pgvault.console.world import look
from pgvault.engine.backup.plan import plan_backup
from pgvault.engine.overview import Protection
from pgvault.jobs.journal import read_edges
from pgvault.jobs.registry import jobs_directory
from pgvault.model.event import Failure
from pgvault.model.job import JobKind

if TYPE_CHECKING:
    from pgvault.console.screens.view import View

_NO_JOB = Failure("the command told no job", "", "See whether one runs: pgvault job list", "failed", 1)
_LOOKS, _LOOK_SECONDS = 15, 0.1
"""So long it is waited whether a job is refused: by another backup that runs, or by the server."""


def why_no_backup(app: ConsoleApp, server: str) -> str:
    """Why none can be begun now; empty when one can."""
    if not server:
        return "no server is configured yet"
    for each in app.world.jobs.running:
        if each.job.kind is JobKind.BACKUP and each.job.server == server:
            return f"a backup of {server} runs already: job {each.job.id}; 4 shows it"
    known = app.protections.get(server)
    return known.refusal if isinstance(known, Protection) else ""


def why_not_server(app: ConsoleApp, action: str) -> str:
    """Why what concerns the selected server as a whole cannot be done now; empty when it can, and for all else."""
    server = app.server
    if action in ("check", "restore", "next-server", "previous-server") and not server:
        return "no server is configured yet"
    if action == "backup":
        return why_no_backup(app, server)
    if action == "check" and server in app.checks.running:
        return f"{server} is being checked"
    if action in ("next-server", "previous-server") and len(app.world.servers) < 2:
        return "there is no other server"
    return ""


def back_up(view: View, server: str) -> None:
    """Show the plan; what is confirmed is begun exactly as shown."""
    app = view.app
    plan = plan_backup(app.world.config.server(server))
    known = app.protections.get(server)
    last = known.last_backup if isinstance(known, Protection) else None
    argv = words(plan)
    fields = told(plan, last, app.world.home, app.world.commands.shown(argv))
    title = " ".join(filter(None, ("back up", server, app.environment_of(server))))

    def confirmed(yes: bool | None) -> None:
        if yes:
            begin(app, f"back up {server}", _back_up, app, server, argv)

    app.push_screen(Confirm(title, fields, act=act(plan)), confirmed)


async def _back_up(app: ConsoleApp, server: str, argv: list[str]) -> None:
    answer = await app.world.commands.ask(*argv)
    if answer.failure or not answer.document.get("job"):
        _say_refused(app, server, answer.failure)
        return
    job_id = str(answer.document["job"])
    if app.current_mode != "overview":
        app.switch_mode("overview")
    for _ in range(_LOOKS):
        await app.read_jobs()
        if (job := await look(lambda: app.world.jobs.job(job_id))) and getattr(job, "finished_at", None):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    _, finished = read_edges(jobs_directory(app.world.home) / job_id)
    if finished and finished.error:
        _say_refused(app, server, finished.error)
    else:
        app.tell(f"job {job_id} backs up {server}")


def _say_refused(app: ConsoleApp, server: str, failure: Failure | None) -> None:
    app.push_screen(FailureBox(f"{server} is not backed up", failure or _NO_JOB))
