"""A backup, told before it is begun: what is read, how much, to where, how long, and by which command. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgvault.console.fields import Field
from pgvault.model.backup import Backup
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.rate import format_rate
from pgvault.model.text import size, span

_INDENT = 11


def words(plan: BackupPlan) -> list[str]:
    """Those behind `pgvault`; the backup runs on when the console is left."""
    return [*plan.to_argv()[1:], "--detach"]


def act(plan: BackupPlan) -> str:
    return f"back up {plan.server} now"


def told(plan: BackupPlan, last: Backup | None, home: Path, command: str) -> Iterator[Field]:
    """`last` is the newest good backup: what it took is what this one may take."""
    amount = f"about {size(last.size_bytes)} as in the last backup" if last else "how much the first one will tell"
    yield _field("reads", f"all of {plan.server}, {amount}")
    yield _field("writes", f"{home}: what the vault has not stored yet, "
                           + (f"{size(last.stored_bytes)} the last time" if last else "which is everything"))
    yield _field("changes", "nothing on the server; no other backup")
    yield _field("takes", _expected(last))
    yield _field("begins", _beginning(plan))
    yield _field("WAL", "goes on being archived; what the backup needs is in the archive when it ends, or the backup "
                        "says what it waits for")
    if plan.bandwidth_limit:
        yield _field("at most", f"{format_rate(plan.bandwidth_limit)}")
    yield _field("command", command, "bold")
    yield Field("", "It is a job of its own: it runs on when the console or the connection ends.", "dim", _INDENT)


def _expected(last: Backup | None) -> str:
    if last is None or last.finished_at is None:
        return "how long is not known before the first one"
    return f"about {span((last.finished_at - last.started_at).total_seconds())}, as the last one did"


def _beginning(plan: BackupPlan) -> str:
    if plan.immediate_checkpoint:
        return "at once, with a checkpoint at full speed"
    return "when the server has made a checkpoint, which it spreads over some minutes"


def _field(name: str, text: str, style: str = "") -> Field:
    return Field(name, text, style, _INDENT)
