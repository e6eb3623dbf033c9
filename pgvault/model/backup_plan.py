"""What a backup will do, told before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgvault.model.backup import Backup
from pgvault.model.rate import format_rate
from pgvault.model.text import size, span


@dataclass(frozen=True, slots=True)
class BackupPlan:
    server: str
    name: str = ""
    full: bool = False
    """Compare with no earlier backup."""
    immediate_checkpoint: bool = False
    workers: int = 1
    bandwidth_limit: int | None = None
    """Bytes a second."""
    compression_level: int = 3
    retry_times: int = 0
    retry_seconds: float = 0
    wait_lock: bool = False

    def to_argv(self) -> list[str]:
        """The command line that does the same."""
        argv = ["pgvault", "backup", self.server, "--jobs", str(self.workers),
                "--immediate-checkpoint" if self.immediate_checkpoint else "--no-immediate-checkpoint"]
        if self.name:
            argv += ["--name", self.name]
        if self.bandwidth_limit:
            argv += ["--bwlimit", format_rate(self.bandwidth_limit)]
        return argv + ["--full"] * self.full + ["--wait-lock"] * self.wait_lock


def describe_backup_plan(plan: BackupPlan, last: Backup | None, home: str) -> Iterator[tuple[str, str]]:
    """A word and what it is about, line by line.

    `last` is the newest good backup: what it took is what this one may take. `home` is the vault's.
    """
    amount = f"about {size(last.size_bytes)} as in the last backup" if last else "how much the first one will tell"
    yield "reads", f"all of {plan.server}, {amount}"
    yield "writes", (f"{home}: what the vault has not stored yet, "
                     + (f"{size(last.stored_bytes)} the last time" if last else "which is everything"))
    yield "changes", "nothing on the server; no other backup"
    yield "takes", _expected(last)
    yield "begins", _beginning(plan)
    yield "WAL", ("goes on being archived; what the backup needs is in the archive when it ends, or the backup says "
                  "what it waits for")
    if plan.bandwidth_limit:
        yield "at most", format_rate(plan.bandwidth_limit)


def _expected(last: Backup | None) -> str:
    if last is None or last.seconds is None:
        return "how long is not known before the first one"
    return f"about {span(last.seconds)}, as the last one did"


def _beginning(plan: BackupPlan) -> str:
    if plan.immediate_checkpoint:
        return "at once, with a checkpoint at full speed"
    return "when the server has made a checkpoint, which it spreads over some minutes"
