"""Points that are typed: their kinds, and the point that a text names, or why it names none."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from zoneinfo import ZoneInfo

from pgvault.console.recovery.draft import Point
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target
from pgvault.model.times import parse_time, utc

_XID_DIGITS = 20


class Kind(Enum):
    LATEST = "the latest: all archived WAL"
    TIME = "a time"
    NAME = "a restore point"
    BACKUP = "the end of a backup: the fastest way"
    LSN = "a WAL position (LSN)"
    XID = "a transaction (xid)"

    @property
    def has_text(self) -> bool:
        return self not in (Kind.LATEST, Kind.BACKUP)

    @property
    def has_digits(self) -> bool:
        """Return whether the text may begin with a digit."""
        return self.has_text and self is not Kind.NAME

    @property
    def has_sides(self) -> bool:
        """Return whether it is a place before or after which recovery may stop."""
        return self in (Kind.TIME, Kind.LSN, Kind.XID)

    @property
    def has_unfinished(self) -> bool:
        """Return whether it may be in the unfinished last segment."""
        return self is not Kind.BACKUP

    @property
    def example(self) -> str:
        return _EXAMPLES.get(self, "")


_EXAMPLES = {Kind.TIME: "20:05, yesterday 9pm, or 2026-11-22 20:05:12 Europe/Paris", Kind.LSN: "16/B374D848",
             Kind.XID: "739", Kind.NAME: "before-deploy"}


def read(kind: Kind, text: str, zone: str | None, *, after: bool = True) -> Point:
    """Return the point that was typed. Raises ValueError, with the possible readings, if it is none.

    `zone` is the configured one of times without one. With `after` the place itself is still replayed.
    """
    text = text.strip()
    if kind.has_text and not text:
        raise ValueError(f"type {kind.value}, as in {kind.example}")
    match kind:
        case Kind.LATEST:
            return Point(EndOfWal(), label="the latest")
        case Kind.BACKUP:
            return Point(Immediate(), label="the end of the backup")
        case Kind.NAME:
            if any(ord(char) < 32 for char in text):
                raise ValueError("a restore point's name has no control characters")
            return Point(AtName(text), label=f"restore point {text}")
        case Kind.TIME:
            return Point(AtTime(parse_time(text, zone), after, text), label=f"{_side(after)} {text}")
        case Kind.LSN:
            return Point(AtLsn(Lsn.parse(text), after), label=f"{_side(after)} WAL position {text}")
        case Kind.XID:
            if not text.isascii() or not text.isdigit() or len(text) > _XID_DIGITS:
                raise ValueError(f"not a transaction id: {text!r}; it is a number, as in 739")
            return Point(AtXid(int(text), after), label=f"{_side(after)} the end of transaction {text}")


def _side(after: bool) -> str:
    return "just after" if after else "just before"


def kind_of(target: Target) -> Kind:
    """Return the kind as which this target would be typed."""
    return {AtTime: Kind.TIME, AtLsn: Kind.LSN, AtXid: Kind.XID, AtName: Kind.NAME, EndOfWal: Kind.LATEST,
            Immediate: Kind.BACKUP}[type(target)]


def text_of(target: Target) -> str:
    """Return the text that would be typed for it."""
    match target:
        case AtTime(time, _, typed):
            return typed or utc(time)
        case AtLsn(lsn):
            return str(lsn)
        case AtXid(xid):
            return str(xid)
        case AtName(name):
            return name
    return ""


def is_after(target: Target) -> bool:
    return target.inclusive if isinstance(target, AtTime | AtLsn | AtXid) else True


def readings(time: datetime, zone: str | None) -> list[str]:
    """Return the instant as clocks show it: in UTC, in the server's zone if it is known, and here if that differs."""
    clocks = [("UTC", time.astimezone(UTC))]
    if zone and zone != "UTC":
        clocks.append((zone, time.astimezone(ZoneInfo(zone))))
    here = time.astimezone()
    if here.utcoffset() not in {clock.utcoffset() for _, clock in clocks}:
        clocks.append(("here", here))
    return [utc(clock) if name == "UTC" else f"{_local(clock)} ({name})" for name, clock in clocks]


def _local(time: datetime) -> str:
    offset = time.strftime("%z")
    return f"{time:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"
