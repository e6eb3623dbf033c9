"""What a backup will do, told before it is done."""

from __future__ import annotations

from dataclasses import dataclass

from pgvault.model.rate import format_rate


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
