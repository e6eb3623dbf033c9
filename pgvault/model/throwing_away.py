"""The plan of removing a restored server. It is shown first, and executed exactly as shown."""

from __future__ import annotations

from dataclasses import dataclass

from pgvault.model.check import Outcome
from pgvault.model.restore_plan import Precondition
from pgvault.model.target import option


@dataclass(frozen=True, slots=True)
class ThrowAwayPlan:
    server: str
    """The server of which it is a copy."""
    copy: str
    """The job that restored it."""
    host: str
    directory: str
    tablespaces: tuple[str, ...]
    """Directories of which only the files of the copy's own major version are removed."""
    runs: bool
    bytes: int | None
    """Size of the data directory; None if measuring takes too long."""
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
        """What the plan does, in words."""
        spaces = f" and {len(self.tablespaces)} tablespaces" if self.tablespaces else ""
        return f"{'stop the server and ' * self.runs}remove {self.place}{spaces}"

    def to_argv(self) -> list[str]:
        return ["pgvault", "throw-away", self.copy, *option("--remove", self.directory)]
