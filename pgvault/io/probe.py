"""What a restore must know about its destination before it writes there, learnt in one round trip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise

from pgvault.io.host import Host
from pgvault.io.host_failure import command_failed
from pgvault.io.probe_listening import Listener, SocketPlace, listener, socket_place
from pgvault.io.probe_script import MARKER, PROBE
from pgvault.model.control_file import ControlFile, read_control_file
from pgvault.model.errors import PgvaultError, Refused

_DF = re.compile(r"(?P<size>\d+) +(?P<used>-?\d+) +(?P<free>-?\d+) +(?:\d+%|-) +(?P<mounted>/.*)", re.DOTALL)
_VERSION = re.compile(r"\d+(?:\.\d+)*(?:devel|(?:alpha|beta|rc)\d+)?")
_TIMEOUT = 60.0


class Contents(Enum):
    """What is at a directory's path."""

    MISSING = "missing"
    EMPTY = "empty"
    POPULATED = "populated"
    UNREADABLE = "unreadable"
    NOT_A_DIRECTORY = "not-a-directory"


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that a restore would write to. Where it is missing, the rest is about its nearest parent."""

    path: str
    contents: Contents
    entries: tuple[str, ...]
    """Up to five of the names in it."""
    real_path: str
    """With symbolic links resolved; `path` itself where that is not possible."""
    nearest: str
    """`path`, or its nearest parent that exists."""
    writable: bool
    owner_uid: int | None
    owner: str
    file_system: str
    """Equal for places on the same file system, whose needs add up."""
    mounted_on: str
    free_bytes: int | None
    """What may still be written there; None when the host does not tell."""
    left_bytes: int
    """What an incomplete restore takes there, which the next one removes first."""
    can_be_renamed: bool = True
    """Its parent lets us: not what the file system says, see `is_mount_point`."""
    within: str = ""
    """The data directory of a cluster in which it lies; empty when it lies in none."""

    @property
    def is_one_line(self) -> bool:
        """PostgreSQL keeps paths in files of lines."""
        return not any(ord(char) < 32 or ord(char) == 127 for char in self.path)

    @property
    def is_mount_point(self) -> bool:
        """A file system is mounted on this very directory, so that nobody can rename it."""
        return self.contents is not Contents.MISSING and self.mounted_on == self.real_path


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL's programs in one directory."""

    directory: str
    version: str
    """As in "17.2"; empty when the program does not tell."""
    has_pg_ctl: bool
    socket_directories: tuple[str, ...] = ()
    """Where its server makes sockets unless it is told; asked for with a port alone."""

    @property
    def major(self) -> int | None:
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else None


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A `postmaster.pid` found in the data directory."""

    pid: int | None
    """None when the file cannot be understood."""
    alive: bool
    """A process of that number runs, whosever it is."""
    program: str
    """The name of that process."""
    started: int | None
    """Seconds since 1970, as the file says."""
    port: int | None
    socket_directory: str


@dataclass(frozen=True, slots=True)
class Destination:
    host: str
    system: str
    """As `uname -s` says it: "Linux"."""
    processors: int
    uid: int
    """Who we are there."""
    user: str
    directory: Place
    tablespaces: tuple[Place, ...]
    pg_version: str | None
    """The major of the cluster in the directory; None when there is none."""
    has_cluster: bool
    """The directory has a PG_VERSION or a global/pg_control."""
    system_identifier: str | None
    """Of that cluster; None when there is none, or what there is of pg_control cannot be read or is damaged."""
    checkpoint_at: datetime | None
    """When the last checkpoint of that cluster began."""
    held_bytes: int | None
    """What is in the data directory; None when nobody asked, or measuring takes too long."""
    postmaster: Postmaster | None
    incomplete_restore: str | None
    """The job whose restore into the directory has not completed; None when there is no such mark."""
    tar: str | None
    """What `tar --version` says first; None when there is no tar."""
    zstd: str | None
    installations: tuple[Installation, ...]
    """Those in the bin_directory, or else on the PATH and in the usual places."""
    sockets: tuple[SocketPlace, ...]
    """The socket directories that were asked for."""
    listeners: tuple[Listener, ...] | None
    """What listens on the TCP port that was asked for; None when the host does not tell."""


async def probe_destination(host: Host, directory: str, tablespaces: Sequence[str] = (), bin_directory: str = "", *,
                            port: int | None = None, sockets: Sequence[str] | None = (),
                            measure: bool = False) -> Destination:
    """Look at the host and the places a restore would write to. Nothing is changed there.

    With a `port`, at what stands in the way of a server that listens there, with its `sockets` in these directories;
    None for those that the programs were built with. With `measure`, at how much the directory holds.

    The paths are absolute, else Refused. A question that the host cannot answer stays open in the result (None, or
    empty); PgvaultError when it cannot answer at all.
    """
    paths = [_absolute(path) for path in (directory, *tablespaces)]
    listening = [str(port or ""), "-" if port and sockets is None else str(len(sockets or ())), *(sockets or ())]
    done = await host.run_script(PROBE, bin_directory, "yes" if measure else "", *listening, *paths, timeout=_TIMEOUT)
    records = [(key, value) for key, _, value in (record.partition("=") for record in _records(done.stdout))]
    if not records or records[-1][0] != "end":
        raise command_failed(host.description, ["sh"], done.status, done.stderr, doing=f"look at {directory}",
                             path=directory)
    return _destination(host, records)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise Refused(f"not an absolute path: {path!r}", hint="Write the whole path of the directory, from the root.")
    return path.rstrip("/") or "/"


def _records(output: bytes) -> Iterator[str]:
    for record in output.split(b"\0")[:-1]:
        yield record.decode("utf-8", "surrogateescape")


def _destination(host: Host, records: list[tuple[str, str]]) -> Destination:
    programs, places = _sections(records, "programs"), _sections(records, "directory")
    facts = dict(records)
    if not facts.get("uid", "").isdecimal():
        raise PgvaultError(f"could not learn who we are on {host.description}")
    directory, *tablespaces = map(_place, places)
    marker = facts.get(MARKER)
    version = facts.get("PG_VERSION")
    control = _control(facts.get("pg_control", ""))
    held = _number(facts.get("held", ""))
    return Destination(
        host=host.name, system=facts.get("system", ""), processors=_number(facts.get("processors", "")) or 1,
        uid=int(facts["uid"]), user=facts.get("user") or facts["uid"], directory=directory,
        tablespaces=tuple(tablespaces), pg_version=version.strip() if version is not None else None,
        has_cluster=version is not None or "pg_control" in facts,
        system_identifier=str(control.system_identifier) if control else None,
        checkpoint_at=control.checkpoint_at if control else None, held_bytes=None if held is None else held * 1024,
        postmaster=_postmaster(facts["postmaster.pid"], facts.get("alive")) if "postmaster.pid" in facts else None,
        incomplete_restore=marker.partition("\n")[0] if marker is not None else None, tar=facts.get("tar"),
        zstd=facts.get("zstd"), installations=_installations(programs),
        sockets=tuple(map(socket_place, _sections(records, "socket"))),
        listeners=tuple(map(listener, _sections(records, "listener"))) if "tcp" in facts else None)


def _sections(records: list[tuple[str, str]], key: str) -> list[list[tuple[str, str]]]:
    """The records cut before each `key`; those before the first one are left out."""
    starts = [at for at, (name, _) in enumerate(records) if name == key]
    return [records[start:end] for start, end in pairwise([*starts, len(records)])]


def _place(records: list[tuple[str, str]]) -> Place:
    facts = dict(records)
    df = _DF.search(facts.get("df", ""))
    mounted = df["mounted"] if df else ""
    return Place(
        path=facts["directory"], contents=Contents(facts["contents"]),
        entries=tuple(value for key, value in records if key == "entry"),
        real_path=facts.get("real", facts["directory"]), nearest=facts["nearest"], writable="writable" in facts,
        owner_uid=_number(facts["owner"]), owner=facts["owner_name"], file_system=facts["device"] or mounted,
        mounted_on=mounted, free_bytes=max(0, int(df["free"])) * 1024 if df else None,
        left_bytes=(_number(facts.get("left", "")) or 0) * 1024, can_be_renamed="renamable" in facts,
        within=facts.get("within", ""))


def _postmaster(text: str, alive: str | None) -> Postmaster:
    """The lines of postmaster.pid: src/include/utils/pidfile.h. A negative pid is a single-user server."""
    lines = [*text.splitlines(), *[""] * 5]
    pid = _number(lines[0].strip().removeprefix("-"))
    return Postmaster(pid, alive is not None, alive or "", started=_number(lines[2].strip()),
                      port=_number(lines[3].strip()), socket_directory=lines[4].strip())


def _control(hexadecimal: str) -> ControlFile | None:
    try:
        content = bytes.fromhex(hexadecimal)
    except ValueError:
        return None
    return None if any(len(word) != 2 for word in hexadecimal.split()) else read_control_file(content)


def _installations(sections: list[list[tuple[str, str]]]) -> tuple[Installation, ...]:
    found: dict[str, Installation] = {}
    for section in sections:
        facts = dict(section[:4])
        version = _VERSION.search(facts.get("version", "").removeprefix("postgres (PostgreSQL) "))
        directory = facts["programs"]
        sockets = tuple(each.strip() for each in facts.get("sockets", "").split(",") if each.strip())
        found.setdefault(directory, Installation(directory, version[0] if version else "", "pg_ctl" in facts, sockets))
    return tuple(found.values())


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
