"""What a restored server reported of itself when it had arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgvault.engine.restore.condition import Closed
from pgvault.engine.restore.expect import Found, Presence
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.times import utc


@dataclass(frozen=True, slots=True)
class Proof:
    state: str
    """One of promoted, paused, shut down, following."""
    last_commit: datetime | None
    timeline: int | None
    lsn: Lsn | None
    log: tuple[str, ...]
    """The log's own lines on where recovery stopped."""
    lag_bytes: int | None = None
    """For a standby, how many bytes that the original server has sent are not replayed yet."""
    lag_seconds: float | None = None
    """The age of its newest replayed commit while there is such WAL, else 0."""
    expected: tuple[Found, ...] = ()
    """What was found of each expected table."""
    prepared: tuple[Prepared, ...] = ()
    """The transactions that are prepared and not ended."""
    closed: tuple[Closed, ...] = ()
    """The databases that cannot be opened."""
    refusal: str = ""
    """Why it could not be queried, so that the proof rests on its files and its log alone; else empty."""

    @property
    def lacking(self) -> tuple[Found | Closed, ...]:
        return *self.closed, *(found for found in self.expected if found.presence is not Presence.THERE)

    def next_step(self, server: str, job: str) -> str:
        """Return the next step if something is missing after this restore of the server."""
        if self.closed:
            return self.closed[0].step
        if any(found.locked_by_replay for found in self.expected):
            return (f"Open it: pgvault open {job} ends the recovery at this point, which rolls that transaction back "
                    "and frees the lock.")
        locking = {found.locked_by_prepared for found in self.expected}
        if holder := next((each for each in self.prepared if each.gid in locking), None):
            return f"End the transaction there that holds the lock. {holder.step}"
        return ("Look there. If the target is after the loss or before the table was made, choose another one: "
                f"pgvault restore {server} --choices shows what can be reached.")

    def __str__(self) -> str:
        parts = [f"the server is {self.state}"]
        if self.timeline:
            parts.append(f"on timeline {self.timeline}")
        if self.last_commit:
            parts.append(f"last replayed commit {utc(self.last_commit)}")
        if self.lag_bytes is not None:
            parts.append(f"{self.lag_bytes} bytes behind the original server"
                         + (f" ({self.lag_seconds:.1f} s)" if self.lag_seconds is not None else ""))
        if self.refusal:
            parts.append("by its files and its log, since it takes no login for the proof")
        return "; ".join([", ".join(parts), *map(str, (*self.expected, *self.closed, *self.prepared))])
