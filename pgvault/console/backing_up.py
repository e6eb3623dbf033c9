"""A backup's plan as the console shows it before the backup begins, with the command that begins it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgvault.console.fields import Field
from pgvault.model import backup_plan
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan

_INDENT = 11


def words(plan: BackupPlan) -> list[str]:
    """Return the words after `pgvault`; the backup continues when the console is left."""
    return [*plan.to_argv()[1:], "--detach"]


def act(plan: BackupPlan) -> str:
    return f"back up {plan.server} now"


def backup_plan_fields(plan: BackupPlan, last: Backup | None, home: Path, command: str) -> Iterator[Field]:
    """Yield the fields of `describe_backup_plan`, and the command that begins the backup."""
    for name, text in backup_plan.describe_backup_plan(plan, last, str(home)):
        yield Field(name, text, "", _INDENT)
    yield Field("command", command, "bold", _INDENT)
    yield Field("", "It is a job of its own: it runs on when the console or the connection ends.", "dim", _INDENT)
