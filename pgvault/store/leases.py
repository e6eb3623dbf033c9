"""Leases: one writer per server and concern, many readers; a caller that is refused learns who holds the lease.

They complement the store: its conditional puts do not guard acts on many objects. `local_leases` implements them (flock
on this machine); a lease object in an object store would keep the same promises.
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
    """Shared by readers of frames, exclusive for those who remove or move them."""


class Holder(NamedTuple):
    """The exclusive holder of a lease."""

    job: str
    """The holder's job; empty if it is no job."""
    process: int
    host: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S}Z"


class Held(NamedTuple):
    """A lease that somebody holds alone."""

    holder: Holder | None
    """The holder; None before it has signed."""
    renewed_at: datetime
    """When the lease was taken, or last renewed."""

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
        """Return the exclusive holder; None if there is none, or if that cannot be determined. This creates and waits
        for nothing.
        """

    def renew(self, concern: Concern) -> None:
        """Note that the holder, who calls this, is alive now. Failing does no harm."""
