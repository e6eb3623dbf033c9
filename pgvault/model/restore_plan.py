"""What a restore will do, told before it is done, and exactly what is then done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import Refused
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.rate import format_size
from pgvault.model.relation import RelationName
from pgvault.model.replay import Limits
from pgvault.model.target import Target, TargetAction, option, target_options


@dataclass(frozen=True, slots=True)
class TablespacePlace:
    """Where a tablespace is restored to."""

    oid: int
    name: str
    """The OID where nothing says what it is called."""
    original: str
    """Its path on the server; without a `/` in front for one that is inside the data directory there."""
    location: str
    """Empty for inside the data directory."""
    size_bytes: int
    """In the backup."""
    is_new: bool = False
    """Created after the backup began: replay makes it."""
    is_gone: bool = False
    """Dropped again before the target."""

    @property
    def is_in_place(self) -> bool:
        """It is inside the data directory on the server, too (allow_in_place_tablespaces)."""
        return not self.original.startswith("/")

    def at(self, location: str) -> TablespacePlace:
        return replace(self, location=location)


@dataclass(frozen=True, slots=True)
class WalNeed:
    """The archived WAL that recovery reads. Names of whole segments; sizes in bytes."""

    first: str
    last: str
    segments: tuple[str, ...]
    histories: tuple[str, ...]
    """Every history file, so that the new timeline gets a number of its own; for a standby none that is newer than the
    timeline it follows."""
    bytes: int
    """As stored, so as sent to a host that has zstd."""
    missing: tuple[str, ...]
    partial: str | None = None
    """The unfinished segment that is used behind the whole ones, with `.partial`; `last` is its name without."""
    created: tuple[Lsn, ...] = ()
    """Positions of the records in it that create tablespaces: they are sent without their paths."""

    @property
    def count(self) -> int:
        """Of segments, an unfinished one included."""
        return len(self.segments) + (self.partial is not None)


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that is made safe, or that a person has to look at."""

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
    """Why a plan is not carried out: the first of its conditions that fail. `act` is what it does, in words."""
    first = failed[0]
    return Refused(f"cannot {act}: condition \"{first.name}\" failed", detail=first.detail, hint=first.fix)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the restored server will listen."""

    port: int
    addresses: tuple[str, ...]
    """For TCP, as listen_addresses names them; none for no TCP."""
    socket_directories: tuple[str, ...] | None
    """None: those that the host's programs were built with."""


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """How the data directory was found when the plan was made."""

    contents: str
    """missing, empty, populated, unreadable or not-a-directory."""
    pg_version: str | None
    """The major of the cluster in it; None when there is none."""
    running: bool
    incomplete_restore: str | None
    """The job whose restore into it has not completed."""
    holds: str
    """What all this comes to in one word, see pgvault.model.holding; empty when it cannot be looked into."""
    system_identifier: str | None
    """Of the cluster in it; None when there is none, or it cannot be read."""
    server: str | None
    """Which server of the vault has this system identifier."""
    entries: tuple[str, ...]
    """Up to five of the names in it."""
    checkpoint_at: datetime | None
    """When the last checkpoint of the cluster in it began."""
    size_bytes: int | None
    """What is in it, without tablespaces; None when measuring takes too long, or nothing is there."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is wanted and what is free on one file system; sizes in bytes."""

    path: str
    """The first of the directories that lie on it."""
    mounted_on: str
    needed: int
    free: int | None
    """Once what an incomplete restore left is removed; None when the host does not tell."""

    @property
    def is_enough(self) -> bool:
        return self.free is None or self.needed <= self.free


@dataclass(frozen=True, slots=True)
class RestorePlan:
    server: str
    backup: str
    """The backup's id."""
    host: str
    """The configured name; empty for this machine."""
    directory: str
    target: Target
    timeline: int
    """The timeline whose history is followed."""
    timeline_path: tuple[int, ...]
    stop_lsn: Lsn | None
    """Where recovery will stop, as far as the archive tells; None at the end of the WAL."""
    stop_time: datetime | None
    """Of the record that lies there, where it has one."""
    action: TargetAction
    standby: bool
    tablespaces: tuple[TablespacePlace, ...]
    wal: WalNeed
    bytes_to_send: int
    bytes_to_write: int
    workers: int
    bandwidth_limit: int | None
    start: bool
    overwrites: str
    """What is replaced, in words: an earlier data directory, or what an interrupted restore left; empty for nothing."""
    sets_aside: bool
    """Whether a directory with something in it is renamed out of the way."""
    settings_changed: tuple[SettingChange, ...]
    settings_to_look_at: tuple[SettingChange, ...]
    preconditions: tuple[Precondition, ...]
    stop_replayed: bool = False
    """Whether the record at `stop_lsn` is still replayed."""
    expects: tuple[RelationName, ...] = ()
    """What the started server is asked for."""
    source: Backup | None = None
    """The facts of `backup`."""
    directory_state: DirectoryState | None = None
    room: tuple[Room, ...] = ()
    if_holds: str = ""
    """What the data directory has to hold when this is carried out, in the word of pgvault.model.holding: it replaces
    just that, or nothing."""
    port: int | None = None
    """That the restored server is to be given; None for the host's, or else the one in its configuration."""
    listens: Listening | None = None
    kept_as: str = ""
    """Where what is replaced is kept, JOB in it being the restore's job; empty when nothing is."""
    allow_unread: bool = False
    """WAL that pgvault could not read is replayed all the same."""
    limits: Limits | None = None
    """The largest that the WAL on the way names."""
    prepared: tuple[Prepared, ...] = ()
    """Transactions that are prepared at the stop, and that nobody has ended there."""

    @property
    def failed(self) -> tuple[Precondition, ...]:
        return tuple(p for p in self.preconditions if p.outcome is Outcome.FAILED)

    @property
    def placed(self) -> tuple[TablespacePlace, ...]:
        """The tablespaces that have a place outside the data directory."""
        return tuple(space for space in self.tablespaces if space.location)

    @property
    def has_spaces_inside(self) -> bool:
        """Whether recovery meets a tablespace that is inside the data directory."""
        return any(not space.location for space in self.tablespaces)

    @property
    def stop_clock(self) -> str:
        """By whose clock `stop_time` is: the server's, of a record, or the vault's, which says when the backup ended.
        """
        return "vault" if self.source and self.stop_time == self.source.finished_at else "server"

    @property
    def recovery_timeline(self) -> str:
        """For recovery_target_timeline. A standby goes with its primary through promotions to come, so for it the
        latest, which is `timeline` by the histories that it gets. PostgreSQL counts up to it from the backup's own, and
        not over a number without a history: then it is named."""
        begun = self.source.timeline if self.source else self.timeline
        numbers = range(begun + 1, self.timeline + 1)
        if self.standby and all(f"{number:08X}.history" in self.wal.histories for number in numbers):
            return "latest"
        return str(self.timeline)

    def to_argv(self) -> list[str]:
        """The command line that makes this very plan: the backup and the timeline are named."""
        argv = ["pgvault", "restore", self.server, self.backup, self.directory]
        if self.host:
            argv += ["--host", self.host]
        argv += [*target_options(self.target), "--target-timeline", str(self.timeline)]
        if self.wal.partial:
            argv.append("--partial")
        if self.allow_unread:
            argv.append("--allow-unread-wal")
        if self.action is not TargetAction.PROMOTE:
            argv += ["--target-action", self.action.value]
        for space in self.placed:
            argv += option("--tablespace", f"{self._called(space)}={space.location}")
        if self.port is not None:
            argv += ["--port", str(self.port)]
        if self.sets_aside:
            argv += ["--overwrite", self.directory]
        if self.if_holds:
            argv += option("--if-holds", self.if_holds)
        argv += ["--jobs", str(self.workers)]
        if self.bandwidth_limit is not None:
            argv += ["--bwlimit", format_size(self.bandwidth_limit)]
        for relation in self.expects:
            argv += ["--expect", str(relation)]
        return argv + ["--standby"] * self.standby + ["--start" if self.start else "--no-start"]

    def _called(self, space: TablespacePlace) -> str:
        """Its name, unless it would be taken for another one at the target."""
        names = [each.name for each in self.tablespaces if each.oid != space.oid]
        living = [each.name for each in self.tablespaces if each.oid != space.oid and not each.is_gone]
        is_another = (space.is_gone and space.name in living) or any(
            space.name.startswith(f"{name}=/") for name in names)
        return str(space.oid) if is_another else space.name
