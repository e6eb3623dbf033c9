"""The plan of a restore. It is shown before anything is done, and executed exactly as shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import Refused
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.relation import RelationName
from pgvault.model.replay import Limits
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.target import Target, TargetAction


@dataclass(frozen=True, slots=True)
class TablespacePlace:
    """Where a tablespace is restored to."""

    oid: int
    name: str
    """The OID as text if the name is unknown."""
    original: str
    """Its path on the server; relative if it is inside the data directory there."""
    location: str
    """The directory to restore it to; empty for one inside the data directory."""
    size_bytes: int
    """Size in the backup."""
    is_new: bool = False
    """Whether it was created after the backup began, so that replay creates it."""
    is_gone: bool = False
    """Whether it is dropped again before the target."""

    @property
    def is_in_place(self) -> bool:
        """Whether it is inside the data directory on the server, too (allow_in_place_tablespaces)."""
        return not self.original.startswith("/")

    def at(self, location: str) -> TablespacePlace:
        return replace(self, location=location)


@dataclass(frozen=True, slots=True)
class WalNeed:
    """The archived WAL that recovery reads: names of complete segments, sizes in bytes."""

    first: str
    last: str
    segments: tuple[str, ...]
    histories: tuple[str, ...]
    """All history files, so that the new timeline gets an unused number; for a standby none newer than the timeline it
    follows."""
    bytes: int
    """Size as stored, which is what is sent to a host that has zstd."""
    missing: tuple[str, ...]
    partial: str | None = None
    """The unfinished segment that is replayed after the complete ones, with `.partial`; `last` is its name without."""
    created: tuple[Lsn, ...] = ()
    """Positions of its records that create tablespaces; they are sent without their paths."""

    @property
    def count(self) -> int:
        """Number of segments, including an unfinished one."""
        return len(self.segments) + (self.partial is not None)


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is made safe, or that a person has to review."""

    file: str
    line: int
    name: str
    was: str
    action: str
    """What is done about it."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """Something that must hold before anything is written."""

    name: str
    outcome: Outcome
    detail: str = ""
    fix: str = ""


def holds(name: str, detail: str = "") -> Precondition:
    return Precondition(name, Outcome.OK, detail)


def fails(name: str, detail: str, fix: str) -> Precondition:
    return Precondition(name, Outcome.FAILED, detail, fix)


def refusal(act: str, failed: Sequence[Precondition]) -> Refused:
    """Return the error for a plan with failed conditions; it names the first. `act` is what the plan does, in words."""
    first = failed[0]
    return Refused(f"cannot {act}: condition \"{first.name}\" failed", detail=first.detail, hint=first.fix)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the restored server will listen."""

    port: int
    addresses: tuple[str, ...]
    """TCP addresses as in listen_addresses; empty if it listens on no TCP port."""
    socket_directories: tuple[str, ...] | None = None
    """The directories of its Unix sockets; None for the compiled-in default of the host's programs."""


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """The state of the data directory when the plan was made."""

    contents: str
    """missing, empty, populated, unreadable or not-a-directory."""
    pg_version: str | None
    """The major version of the cluster in it; None if there is none."""
    running: bool
    incomplete_restore: str | None
    """The job whose restore into the directory has not completed."""
    holds: str
    """The state as one word, see pgvault.model.holding; empty if the directory cannot be read."""
    system_identifier: str | None
    """The system identifier of the cluster in it; None if there is none or it cannot be read."""
    server: str | None
    """The server of the vault that has this system identifier."""
    entries: tuple[str, ...]
    """Up to five names of its entries."""
    checkpoint_at: datetime | None
    """When the last checkpoint of the cluster in it began."""
    size_bytes: int | None
    """Size of its contents without tablespaces; None if measuring takes too long or it is empty."""


@dataclass(frozen=True, slots=True)
class Room:
    """Required and free space on one file system, in bytes."""

    path: str
    """The first of the plan's directories on this file system."""
    mounted_on: str
    needed: int
    free: int | None
    """Free space once the remains of an incomplete restore are removed; None if the host does not report it."""

    @property
    def is_enough(self) -> bool:
        return self.free is None or self.needed <= self.free


@dataclass(frozen=True, slots=True)
class Source:
    """What is restored."""

    backup: Backup
    wal: WalNeed
    limits: Limits | None = None
    """The largest limits in the replayed WAL."""
    prepared: tuple[Prepared, ...] = ()
    """Transactions that are prepared and not ended where recovery stops."""
    allow_unread: bool = False
    """Whether WAL that pgvault could not read is replayed all the same."""

    @property
    def bytes(self) -> int:
        """Size of its files, with the WAL that is replayed."""
        return self.backup.size_bytes + self.wal.count * self.backup.segment_size


@dataclass(frozen=True, slots=True)
class Point:
    """Where recovery stops, and what the server does there."""

    target: Target
    timeline: int
    """The timeline whose history is followed."""
    timeline_path: tuple[int, ...]
    stop_lsn: Lsn | None
    """Where recovery will stop, as far as the archive shows; None for the end of the WAL."""
    stop_time: datetime | None
    """The time of the record at `stop_lsn`, if it has one."""
    stop_replayed: bool = False
    """Whether the record at `stop_lsn` is still replayed."""
    action: TargetAction = TargetAction.PROMOTE
    standby: bool = False

    def recovery_timeline(self, source: Source) -> str:
        """Return the value of recovery_target_timeline. A standby must follow its primary through later promotions, so
        it gets `latest`, which is `timeline` by the histories that it receives. PostgreSQL counts up to it from the
        backup's own and stops at a number without a history; in that case the timeline is named."""
        numbers = range(source.backup.timeline + 1, self.timeline + 1)
        if self.standby and all(f"{number:08X}.history" in source.wal.histories for number in numbers):
            return "latest"
        return str(self.timeline)


@dataclass(frozen=True, slots=True)
class RestoreDestination:
    """Where the restored server goes, and what is asked of it there."""

    host: str
    """The configured name; empty for this machine."""
    directory: str
    tablespaces: tuple[TablespacePlace, ...] = ()
    port: int | None = None
    """The port of the restored server; None for the host's default, or else the one in its configuration."""
    start: bool = False
    expects: tuple[RelationName, ...] = ()
    """The relations that the started server must have."""

    @property
    def place(self) -> str:
        return f"{self.host or 'this machine'}:{self.directory}"

    @property
    def placed(self) -> tuple[TablespacePlace, ...]:
        """The tablespaces that have a place outside the data directory."""
        return tuple(space for space in self.tablespaces if space.location)

    @property
    def has_spaces_inside(self) -> bool:
        """Whether recovery meets a tablespace inside the data directory."""
        return any(not space.location for space in self.tablespaces)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration of the restored server."""

    settings_changed: tuple[SettingChange, ...] = ()
    settings_to_look_at: tuple[SettingChange, ...] = ()
    listens: Listening | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """What is in the data directory, and what becomes of it."""

    directory_state: DirectoryState | None = None
    if_holds: str = ""
    """What the data directory must hold when the plan is executed, as a word of pgvault.model.holding. Only that is
    replaced."""
    overwrites: str = ""
    """What is replaced, in words: an earlier data directory or the remains of an interrupted restore. Empty for
    nothing."""
    sets_aside: bool = False
    """Whether a non-empty directory is renamed out of the way."""
    kept_as: str = ""
    """Where the replaced directory is kept, with JOB for the restore's job; empty if nothing is kept."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the restore takes; sizes in bytes."""

    bytes_to_send: int
    bytes_to_write: int
    workers: int
    bandwidth_limit: int | None = None
    """The limit in bytes per second; None for no limit."""
    room: tuple[Room, ...] = ()


@dataclass(frozen=True, slots=True)
class RestorePlan:
    server: str
    source: Source
    point: Point
    destination: RestoreDestination
    configuration: Configuration
    replaced: Replaced
    cost: Cost
    preconditions: tuple[Precondition, ...] = ()

    @property
    def failed(self) -> tuple[Precondition, ...]:
        return tuple(p for p in self.preconditions if p.outcome is Outcome.FAILED)

    @property
    def stop_clock(self) -> str:
        """The clock that the stop's time is from: the server's, but for the end of an older version's backup."""
        backup = self.source.backup
        return "vault" if not backup.ended_at and self.point.stop_time == backup.finished_at else "server"

    @property
    def request(self) -> RestoreRequest:
        """The request that makes this same plan: it names the backup and the timeline."""
        point, destination = self.point, self.destination
        return RestoreRequest(
            self.server, self.source.backup.id, destination.host, destination.directory, point.target, point.timeline,
            point.action, point.standby,
            tuple(f"{self._called(space)}={space.location}" for space in destination.placed),
            overwrite=destination.directory if self.replaced.sets_aside else "", if_holds=self.replaced.if_holds,
            workers=self.cost.workers, bandwidth_limit=self.cost.bandwidth_limit, start=destination.start,
            partial=self.source.wal.partial is not None, allow_unread=self.source.allow_unread,
            expects=destination.expects, port=destination.port)

    def to_argv(self) -> list[str]:
        return self.request.to_argv()

    def stored(self) -> dict[str, object]:
        """Return the plan as its job stores it: the fields of all its parts side by side."""
        source = {"backup": self.source.backup.id, "source": self.source.backup, "wal": self.source.wal,
                  "limits": self.source.limits, "prepared": self.source.prepared,
                  "allow_unread": self.source.allow_unread}
        parts = (self.point, self.destination, self.configuration, self.replaced, self.cost)
        return {"server": self.server, **source, "preconditions": self.preconditions,
                **{each.name: getattr(part, each.name) for part in parts for each in fields(part)}}

    def _called(self, space: TablespacePlace) -> str:
        """Return its name, or its OID if the name would mean another tablespace at the target."""
        names = [each.name for each in self.destination.tablespaces if each.oid != space.oid]
        living = [each.name for each in self.destination.tablespaces if each.oid != space.oid and not each.is_gone]
        is_another = (space.is_gone and space.name in living) or any(
            space.name.startswith(f"{name}=/") for name in names)
        return str(space.oid) if is_another else space.name
