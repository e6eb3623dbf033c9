"""The plan of an `expire` or a `delete`: which backups and which WAL go. It is shown first."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pgvault.model.backup import Backup
from pgvault.model.retention import RetentionVerdict


@dataclass(frozen=True, slots=True)
class ExpirePlan:
    """Sizes are in bytes."""

    server: str
    policy: str
    """As the configuration or `--policy` has it; empty for none."""
    verdicts: tuple[tuple[Backup, RetentionVerdict], ...]
    """On every backup that can be read, oldest first."""
    goes: tuple[str, ...]
    """The ids of the backups that are deleted."""
    wal_files: int
    """Archived WAL files that no backup needs then."""
    wal_bytes: int
    unreadable: tuple[str, ...] = ()
    """Backups whose facts cannot be read. While there is one, no WAL goes, and no pack."""
    named: str = ""
    """The backup that a person asked to delete; empty for the policy's choice."""
    force: bool = False
    trust_clock: bool = False
    is_tried: bool = False
    """Whether the policy is another one than the configured: such a plan cannot be carried out."""
    has_remains: bool = False
    """Whether objects of what was deleted before are still to be removed."""

    @property
    def digest(self) -> str:
        """Return a word for the backups that go, by which a command is bound to this plan (`--if-plan`)."""
        return sha256(" ".join(self.goes).encode()).hexdigest()[:12]

    @property
    def is_idle(self) -> bool:
        return not (self.goes or self.wal_files or self.has_remains)

    @property
    def stored_bytes(self) -> int:
        """What the backups that go added to the vault when they were taken: the most that can be freed, as far as
        others do not use it."""
        return sum(backup.stored_bytes for backup, _ in self.verdicts if backup.id in self.goes)

    @property
    def act(self) -> str:
        """What the plan does, in words."""
        if not self.goes and not self.wal_files:
            return f"free what was deleted of {self.server} before" if self.has_remains else "nothing expires"
        parts = [f"{len(self.goes)} backup{'s' * (len(self.goes) != 1)}"] if self.goes else []
        parts += [f"{self.wal_files:,} WAL file{'s' * (self.wal_files != 1)}"] if self.wal_files else []
        return f"delete {' and '.join(parts)} of {self.server}"

    def to_argv(self) -> list[str]:
        if self.named:
            return ["pgvault", "delete", self.server, self.named, *["--force"] * self.force, "--yes"]
        return ["pgvault", "expire", self.server, *["--trust-clock"] * self.trust_clock,
                "--if-plan", self.digest]


