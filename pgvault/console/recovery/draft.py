"""The answers that a person has given in the recovery wizard, and the `pgvault restore` that they make.

A draft is a value: the screen holds one and replaces it with every entry, so that going back never loses any. `drafts`
keeps it in a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from pgvault.console.recovery.steps import Step
from pgvault.model.errors import UsageError
from pgvault.model.relation import parse_relation
from pgvault.model.restore_request import LAST_PORT, RestoreRequest, parse_point, point_options
from pgvault.model.target import AtTime, EndOfWal, Target, TargetAction

_PORT = re.compile("[0-9]{1,5}")


class What(Enum):
    """The person's answer to what happened."""

    TABLE = "TABLE"
    ROWS = "ROWS"
    DATABASE = "DATABASE"
    DEPLOY = "DEPLOY"
    LOST = "LOST"
    MOVE = "MOVE"
    STANDBY = "STANDBY"
    COPY = "COPY"

    @property
    def words(self) -> str:
        return _WORDS[self]

    @property
    def takes_unfinished(self) -> bool:
        """True if everything is wanted, including what only the unfinished last segment has."""
        return self in (What.LOST, What.MOVE)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of events to look for in the WAL, as `pgvault events` names them; none if the person knows
        the time.
        """
        return _KINDS.get(self, ())


_WORDS = {
    What.TABLE: "a table was dropped",
    What.ROWS: "rows were deleted or changed",
    What.DATABASE: "a database was dropped",
    What.DEPLOY: "a bad deploy, at about some time",
    What.LOST: "the server is lost: give me the latest",
    What.MOVE: "nothing: move the server to another host",
    What.STANDBY: "nothing: I want a standby that follows it",
    What.COPY: "nothing: I want a copy",
}
"""The answers as a person would give them."""
_KINDS = {What.TABLE: ("drop", "truncate", "rewrite"), What.ROWS: ("delete", "truncate"),
          What.DATABASE: ("drop-database",), What.DEPLOY: ("drop", "truncate", "delete", "drop-database", "rewrite")}
"""The kinds to look for. Rewrites alone are no accident; they are shown for a transaction that is one."""


@dataclass(frozen=True, slots=True)
class Point:
    """The point at which recovery is to stop."""

    target: Target
    timeline: int | None = None
    """The timeline; None for the newest that has the point."""
    label: str = ""
    """What was chosen or typed, in the person's words."""
    partial: bool = False
    """True if only the unfinished last segment has the point."""
    time: datetime | None = None
    """When what was chosen happened; None if that is not known."""

    @property
    def options(self) -> list[str]:
        """Return the options of `pgvault restore` that name the point."""
        return point_options(self.target, self.timeline, partial=self.partial)


class Then(Enum):
    """What the server does at the point."""

    PROMOTE = "PROMOTE"
    PAUSE = "PAUSE"
    SHUTDOWN = "SHUTDOWN"
    STANDBY = "STANDBY"

    @property
    def needs_target(self) -> bool:
        return self in (Then.PAUSE, Then.SHUTDOWN)


@dataclass(frozen=True, slots=True)
class Draft:
    server: str
    step: Step = Step.WHAT
    what: What | None = None
    point: Point | None = None
    backup: str = "auto"
    """An id, or `auto` for the one that suits the point."""
    host: str | None = None
    """A configured name, empty for this machine; None if none is chosen yet."""
    directory: str = ""
    tablespaces: tuple[tuple[str, str], ...] = ()
    """The tablespaces' names and new directories."""
    port: str = ""
    """The port as it was typed; empty for the default."""
    allow_unread: bool = False
    """True if WAL that pgvault cannot read is replayed, too."""
    then: Then = Then.PROMOTE
    start: bool = True
    overwrite: bool = False
    """True if the directory may hold something: it is renamed out of the way."""
    expect: tuple[str, ...] = ()
    """The relations that have to be there in the end, as DATABASE.SCHEMA.TABLE."""
    job: str = ""
    """The id of the restore that was started from the draft; empty for none."""

    @property
    def destination(self) -> str:
        return f"{self.host or 'this machine'}:{self.directory}"

    def at(self, point: Point, *, backup: str | None = None, expect: Sequence[str] = ()) -> Draft:
        """Return the draft with another point; settings that only the old point allowed return to their defaults."""
        then = _then(self.what, self.then, ends=isinstance(point.target, EndOfWal))
        return replace(self, point=point, backup=self.backup if backup is None else backup, then=then,
                       expect=tuple(expect))

    def after(self, what: What) -> Draft:
        """Return the draft with another answer to what happened: another accident has another point, and only a standby
        follows the primary.
        """
        if what is self.what:
            return self
        then = Then.STANDBY if what is What.STANDBY else Then.PROMOTE if self.then is Then.STANDBY else self.then
        return replace(self, what=what, point=None, expect=(), then=then)

    @property
    def is_asked(self) -> bool:
        """Return whether the restored server can be queried in the end: it is started and remains running."""
        return self.start and self.then is not Then.SHUTDOWN

    # The command

    def question(self) -> list[str]:
        """Return the words after `pgvault` that look up the point; no host is touched."""
        return ["restore", self.server, self.backup, *self._point_options(), "--choices"]

    def words(self) -> list[str]:
        """Return the words after `pgvault` that carry out the draft."""
        return self.request().to_argv()[1:]

    def request(self) -> RestoreRequest:
        """Return the request that the draft makes. A typed port that is invalid is left out."""
        point, is_standby = self.point or Point(EndOfWal()), self.then is Then.STANDBY
        return RestoreRequest(
            self.server, self.backup, self.host or "", self.directory, point.target, point.timeline,
            TargetAction[self.then.name] if self.then.needs_target else TargetAction.PROMOTE, is_standby,
            tuple(f"{name}={place}" for name, place in self.tablespaces),
            overwrite=self.directory if self.overwrite else "", start=self.start,
            partial=point.partial and not is_standby, allow_unread=self.allow_unread,
            expects=tuple(map(parse_relation, self.expect)) if self.is_asked else (),
            port=int(self.port) if self.port and not flaw_of_port(self.port) else None)

    def _point_options(self) -> list[str]:
        return self.point.options if self.point else []


def _then(what: What | None, then: Then, *, ends: bool) -> Then:
    """Return what the server does at the point: a standby follows to the end, and only a recovery that stops can pause.
    """
    if ends and what is What.STANDBY:
        return Then.STANDBY
    return Then.PROMOTE if (ends and then.needs_target) or (not ends and then is Then.STANDBY) else then


def point_of(options: Sequence[str], label: str, typed: str = "", time: datetime | None = None) -> Point:
    """Return the point that these options of `pgvault restore` name, as `Point.options` writes them. Raises ValueError
    if they name none.
    """
    try:
        target, timeline, partial = parse_point(options)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return Point(replace(target, typed=typed) if isinstance(target, AtTime) else target, timeline, label, partial, time)


def flaw_of_port(port: str) -> str:
    """Return why this cannot be a server's port, as one line; empty if it can, or none is named."""
    if not port or (_PORT.fullmatch(port) and 1 <= int(port) <= LAST_PORT):
        return ""
    return f"a port is a number from 1 to {LAST_PORT:,}, not {port!r}"


def flaw_of_path(path: str) -> str:
    """Return why this cannot be a directory to restore to, as one line; empty if it can."""
    if not path:
        return "no directory is named"
    if not path.startswith("/"):
        return "a directory is named by its whole path, from the root"
    if not path.strip("/"):
        return "the root directory cannot be restored to"
    if re.search(r"[\x00-\x1f\x7f]", path):
        return "a directory's name has no control characters"
    return ""
