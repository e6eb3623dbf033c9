"""Collects what a restore must know about its destination before it writes there, in one round trip."""

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
    """What exists at a directory's path."""

    MISSING = "missing"
    EMPTY = "empty"
    POPULATED = "populated"
    UNREADABLE = "unreadable"
    NOT_A_DIRECTORY = "not-a-directory"


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that a restore would write to. If it is missing, the rest describes its nearest parent."""

    path: str
    contents: Contents
    entries: tuple[str, ...]
    """Up to five names of its entries."""
    real_path: str
    """The path with symbolic links resolved; `path` itself if that is not possible."""
    nearest: str
    """`path`, or its nearest parent that exists."""
    writable: bool
    owner_uid: int | None
    owner: str
    file_system: str
    """Equal for places on the same file system, whose needs add up."""
    mounted_on: str
    free_bytes: int | None
    """The bytes that may still be written there; None if the host does not report it."""
    left_bytes: int
    """Size of an incomplete restore's files there, which the next restore removes first."""
    can_be_renamed: bool = True
    """Whether permissions allow a rename. The file system may still forbid it, see `is_mount_point`."""
    within: str = ""
    """The data directory of a cluster that contains this place; empty if there is none."""

    @property
    def is_one_line(self) -> bool:
        """Whether the path has no line break, since PostgreSQL keeps paths in files of lines."""
        return not any(ord(char) < 32 or ord(char) == 127 for char in self.path)

    @property
    def is_mount_point(self) -> bool:
        """Whether a file system is mounted on this very directory, so that it cannot be renamed."""
        return self.contents is not Contents.MISSING and self.mounted_on == self.real_path


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL's programs in one directory."""

    directory: str
    version: str
    """The version, such as "17.2"; empty if the program does not report it."""
    has_pg_ctl: bool
    socket_directories: tuple[str, ...] = ()
    """Its compiled-in socket directories; queried only together with a port."""

    @property
    def major(self) -> int | None:
        digits = re.match(r"\d+", self.version)
        return int(digits[0]) if digits else None


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A `postmaster.pid` found in the data directory."""

    pid: int | None
    """The process id; None if the file cannot be parsed."""
    alive: bool
    """Whether a process with that pid runs, of any user."""
    program: str
    """The name of that process."""
    started: int | None
    """The start time in the file, in seconds since 1970."""
    port: int | None
    socket_directory: str


@dataclass(frozen=True, slots=True)
class Destination:
    host: str
    system: str
    """The output of `uname -s`: "Linux"."""
    processors: int
    uid: int
    """The uid of the login."""
    user: str
    directory: Place
    tablespaces: tuple[Place, ...]
    pg_version: str | None
    """The major version of the cluster in the directory; None if there is none."""
    has_cluster: bool
    """Whether the directory has a PG_VERSION or a global/pg_control."""
    system_identifier: str | None
    """System identifier of that cluster; None if there is none, or pg_control is unreadable or damaged."""
    checkpoint_at: datetime | None
    """When the last checkpoint of that cluster began."""
    held_bytes: int | None
    """Size of the data directory; None if it was not requested, or measuring takes too long."""
    postmaster: Postmaster | None
    incomplete_restore: str | None
    """The job whose restore into the directory has not completed; None if there is no such mark."""
    tar: str | None
    """First line of `tar --version`; None if there is no tar."""
    zstd: str | None
    installations: tuple[Installation, ...]
    """Those in bin_directory, or else in the PATH and in the usual places."""
    sockets: tuple[SocketPlace, ...]
    """The requested socket directories."""
    listeners: tuple[Listener, ...] | None
    """What listens on the requested TCP port; None if the host does not report it."""


async def probe_destination(host: Host, directory: str, tablespaces: Sequence[str] = (), bin_directory: str = "", *,
                            port: int | None = None, sockets: Sequence[str] | None = (),
                            measure: bool = False) -> Destination:
    """Examine the host and the places that a restore would write to, without changing anything.

    With a `port`, also find what prevents a server from listening on it, with its `sockets` in these directories; None
    for the compiled-in ones. With `measure`, determine the size of the directory.

    The paths must be absolute, else Refused. What the host cannot answer stays None or empty in the result.
    PgvaultError if it cannot answer at all.
    """
    paths = [_absolute(path) for path in (directory, *tablespaces)]
    listening = [str(port or ""), "-" if port and sockets is None else str(len(sockets or ())), *(sockets or ())]
    done = await host.run_script(PROBE, bin_directory, "yes" if measure else "", *listening, *paths, timeout=_TIMEOUT)
    records = [(key, value) for key, _, value in (record.partition("=") for record in _records(done.stdout))]
    if not records or records[-1][0] != "end":
        raise command_failed(host.description, ["sh"], done.status, done.stderr, doing=f"examine {directory}",
                             path=directory)
    return _destination(host, records)


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise Refused(f"not an absolute path: {path!r}", hint="Write the path of the directory from the root on.")
    return path.rstrip("/") or "/"


def _records(output: bytes) -> Iterator[str]:
    for record in output.split(b"\0")[:-1]:
        yield record.decode("utf-8", "surrogateescape")


def _destination(host: Host, records: list[tuple[str, str]]) -> Destination:
    programs, places = _sections(records, "programs"), _sections(records, "directory")
    facts = dict(records)
    if not facts.get("uid", "").isdecimal():
        raise PgvaultError(f"could not determine the user on {host.description}")
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
    """Cut the records before each `key`. Those before the first one are left out."""
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
    """Parse postmaster.pid (src/include/utils/pidfile.h). A negative pid is that of a single-user server."""
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
