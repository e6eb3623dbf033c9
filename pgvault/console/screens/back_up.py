"""Backs up now: the plan is shown and confirmed, then the verb is started as a job of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pgvault.console.background import run_in_background
from pgvault.console.base import BaseConsole
from pgvault.console.fields import Field
from pgvault.console.queries import run_query
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.text_box import FailureBox
from pgvault.engine.backup.plan import plan_backup
from pgvault.jobs.journal import read_edges
from pgvault.jobs.registry import jobs_directory
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan, describe_backup_plan
from pgvault.model.event import Failure
from pgvault.model.protection import Protection

_NO_JOB = Failure("the command reported no job", "", "See whether one runs: pgvault job list", "failed", 1)
_INDENT = 11
_LOOKS, _LOOK_SECONDS = 15, 0.1
"""How often, and how many seconds apart, a new job is read to see whether it is refused, by a running backup or by the
server.
"""


def back_up(app: BaseConsole, server: str) -> None:
    """Show the plan; the confirmed backup is carried out exactly as shown."""
    plan = plan_backup(app.queries.config.server(server))
    known = app.protections.get(server)
    last = known.last_backup if isinstance(known, Protection) else None
    argv = _words(plan)
    fields = _fields(plan, last, app.queries.home, app.queries.commands.shown(argv))
    title = " ".join(filter(None, ("back up", server, app.environment_of(server))))

    def confirmed(yes: bool | None) -> None:
        if yes:
            run_in_background(app, f"back up {server}", _back_up, app, server, argv)

    app.push_screen(Confirm(title, fields, act=_act(plan)), confirmed)


async def _back_up(app: BaseConsole, server: str, argv: list[str]) -> None:
    answer = await app.queries.commands.ask(*argv)
    if answer.failure or not answer.document.get("job"):
        _say_refused(app, server, answer.failure)
        return
    job_id = str(answer.document["job"])
    if app.current_mode != "overview":
        app.switch_mode("overview")
    for _ in range(_LOOKS):
        await app.read_jobs()
        if (job := await run_query(lambda: app.queries.jobs.job(job_id))) and getattr(job, "finished_at", None):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    _, finished = read_edges(jobs_directory(app.queries.home) / job_id)
    if finished and finished.error:
        _say_refused(app, server, finished.error)
    else:
        app.tell(f"job {job_id} backs up {server}")


def _say_refused(app: BaseConsole, server: str, failure: Failure | None) -> None:
    app.push_screen(FailureBox(f"{server} is not backed up", failure or _NO_JOB))


def _words(plan: BackupPlan) -> list[str]:
    """Return the words after `pgvault`; the backup continues when the console is left."""
    return [*plan.to_argv()[1:], "--detach"]


def _act(plan: BackupPlan) -> str:
    return f"back up {plan.server} now"


def _fields(plan: BackupPlan, last: Backup | None, home: Path, command: str) -> Iterator[Field]:
    """Yield the fields of `describe_backup_plan`, and the command that begins the backup."""
    for name, text in describe_backup_plan(plan, last, str(home)):
        yield Field(name, text, "", _INDENT)
    yield Field("command", command, "bold", _INDENT)
    yield Field("", "It is a job of its own: it runs on when the console or the connection ends.", "dim", _INDENT)
