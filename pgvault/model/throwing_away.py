"""What is removed when a restored server is thrown away: told before it is done, and exactly what is then done."""

from __future__ import annotations

from dataclasses import dataclass

from pgvault.model.check import Outcome
from pgvault.model.restore_plan import Precondition
from pgvault.model.target import option


@dataclass(frozen=True, slots=True)
class ThrowAwayPlan:
    server: str
    """Of which it is a copy."""
    copy: str
    """The job of the restore."""
    host: str
    directory: str
    tablespaces: tuple[str, ...]
    """Directories of which only what belongs to the copy's own major is removed."""
    runs: bool
    bytes: int | None
    """In the data directory; None when measuring takes too long."""
    preconditions: tuple[Precondition, ...]

    @property
    def place(self) -> str:
        return f"{self.host or 'this machine'}:{self.directory}"

    @property
    def places(self) -> tuple[str, ...]:
        return self.directory, *self.tablespaces

    @property
    def failed(self) -> tuple[Precondition, ...]:
        return tuple(each for each in self.preconditions if each.outcome is Outcome.FAILED)

    @property
    def act(self) -> str:
        """The real effect, in words."""
        spaces = f" and {len(self.tablespaces)} tablespaces" if self.tablespaces else ""
        return f"{'stop the server and ' * self.runs}remove {self.place}{spaces}"

    def to_argv(self) -> list[str]:
        return ["pgvault", "throw-away", self.copy, *option("--remove", self.directory)]
