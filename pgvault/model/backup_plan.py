"""What a backup will do, described before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgvault.model.backup import Backup
from pgvault.model.text import size, span
from pgvault.model.units import format_rate


@dataclass(frozen=True, slots=True)
class BackupPlan:
    server: str
    name: str = ""
    full: bool = False
    """Do not compare with an earlier backup."""
    immediate_checkpoint: bool = False
    workers: int = 1
    bandwidth_limit: int | None = None
    """Limit in bytes per second."""
    compression_level: int = 3
    retry_times: int = 0
    retry_seconds: float = 0
    wait_lock: bool = False

    def to_argv(self) -> list[str]:
        """Return the command line that runs the same backup."""
        argv = ["pgvault", "backup", self.server, "--jobs", str(self.workers),
                "--immediate-checkpoint" if self.immediate_checkpoint else "--no-immediate-checkpoint"]
        if self.name:
            argv += ["--name", self.name]
        if self.bandwidth_limit:
            argv += ["--bwlimit", format_rate(self.bandwidth_limit)]
        return argv + ["--full"] * self.full + ["--wait-lock"] * self.wait_lock


def describe_backup_plan(plan: BackupPlan, last: Backup | None, home: str) -> Iterator[tuple[str, str]]:
    """Yield the plan as pairs of label and text.

    `last` is the newest good backup, from which duration and size are estimated. `home` is the vault's directory.
    """
    amount = f", about {size(last.size_bytes)} as in the last backup" if last else ""
    yield "reads", f"all of {plan.server}{amount}"
    yield "writes", (f"{home}: what the vault does not hold yet, "
                     + (f"{size(last.stored_bytes)} in the last backup" if last else "all of it in a first backup"))
    yield "changes", "nothing on the server and no other backup"
    yield "takes", _expected(last)
    yield "begins", _beginning(plan)
    yield "WAL", ("archiving continues; the backup ends when all WAL that it needs is archived, or reports which WAL "
                  "is missing")
    if plan.bandwidth_limit:
        yield "at most", format_rate(plan.bandwidth_limit)


def _expected(last: Backup | None) -> str:
    if last is None or last.seconds is None:
        return "the time is not known before the first backup"
    return f"about {span(last.seconds)}, like the last backup"


def _beginning(plan: BackupPlan) -> str:
    if plan.immediate_checkpoint:
        return "at once, with a checkpoint at full speed"
    return "after a checkpoint, which the server spreads over some minutes"
