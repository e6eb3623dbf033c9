"""Leases: one writer per server and concern, many readers; whoever is refused learns who holds it.

They stand beside the store and guard what its conditional puts do not: acts of many objects. There is `local_leases`
(flock on this machine); a lease object in an object store would keep the same promises.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol


class Concern(Enum):
    """What a lease guards."""

    BACKUP = "backup"
    """Taking a backup: one at a time per server."""
    RECEIVE = "receive"
    """Streaming WAL from the server."""
    ARCHIVE = "archive"
    """Accepting one WAL file; held for milliseconds."""
    RESTORE = "restore"
    """Writing to one destination."""
    DRAFT = "draft"
    """Saying what to recover, in a console."""
    PACKS = "packs"
    """Shared by whoever reads frames, exclusive for whoever removes or moves them."""


class Holder(NamedTuple):
    """Who holds a lease alone."""

    job: str
    """Empty for what is no job."""
    process: int
    host: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S}Z"


class Held(NamedTuple):
    """A lease that somebody holds alone."""

    holder: Holder | None
    """None before the holder has signed."""
    renewed_at: datetime
    """When it was taken, or renewed last."""

    def __str__(self) -> str:
        return str(self.holder or "a process that has not signed yet")


class Leases(Protocol):
    """The leases of one server, or of the vault."""

    def hold(self, concern: Concern, *, about: str = "", job: str = "", shared: bool = False,
             wait: bool = False) -> AbstractContextManager[None]:
        """Hold the lease; Locked, with the holder, if another has it and `wait` is not set.

        It is held alone or, with `shared`, together with others that share it. `about` distinguishes leases of one
        concern, as the destinations of restores. A holder that died holds nothing.
        """

    def held(self, concern: Concern) -> Held | None:
        """Return who holds it alone; None if nobody does, or if that cannot be found out. It makes and waits for
        nothing."""

    def renew(self, concern: Concern) -> None:
        """Note that the holder, who calls this, is alive now. Failing does no harm."""
