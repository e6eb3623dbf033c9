"""Reads the tar streams of a base backup as they arrive, without holding them in memory.

PostgreSQL writes plain ustar (`src/common/tarchive.c`, `basebackup.c`): names of at most 100 bytes, sizes in octal or,
from 8 GiB on, in base 256. Nothing else is accepted, no name that could leave the data directory, and no link but those
of tablespaces, since the stream is input from outside.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pgvault.model.errors import PgvaultError

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
_LARGEST = (1 << 63) - 1
"""Maximum of a file's size and time, as off_t and time_t."""


_TABLESPACE = re.compile(r"pg_tblspc/[0-9]+")
_OTHER_KINDS = {b"1": "a hard link", b"3": "a character device", b"4": "a block device", b"6": "a named pipe"}


class MemberKind(Enum):
    FILE = b"0"
    LINK = b"2"
    DIRECTORY = b"5"


@dataclass(frozen=True, slots=True)
class Member:
    """One header of a tar stream."""

    path: str
    """Relative, without `.` or `..`; bytes that are not UTF-8 are surrogate-escaped. The archive's own root is `.`."""
    kind: MemberKind
    size: int
    mode: int
    mtime: int
    """The time of the last modification, in seconds since 1970."""
    link: str = ""


class MemberSink(Protocol):
    """Receives the members of a tar stream, in order."""

    def begin(self, member: Member) -> None: ...

    def data(self, chunk: memoryview) -> None:
        """Content of the current member; valid during the call only."""

    def end(self) -> None: ...


class TarReader:
    """Feed it chunks of any size; it calls the sink. `close` fails if the stream ended within a member."""

    def __init__(self, sink: MemberSink, *, links: bool = True) -> None:
        """`links` allows links of tablespaces, which only the data directory's stream contains."""
        self._sink, self._links = sink, links
        self._header = bytearray()
        self._left = 0
        self._padding = 0
        self._ended = False

    def feed(self, chunk: memoryview) -> None:
        position, length = 0, len(chunk)
        while position < length:
            if self._left:
                take = min(self._left, length - position)
                self._sink.data(chunk[position:position + take])
                self._left -= take
                position += take
                if not self._left:
                    self._sink.end()
            elif self._padding:
                take = min(self._padding, length - position)
                self._padding -= take
                position += take
            else:
                take = min(BLOCK - len(self._header), length - position)
                self._header += chunk[position:position + take]
                position += take
                if len(self._header) == BLOCK:
                    self._start(bytes(self._header))
                    self._header.clear()

    def close(self) -> None:
        if self._left or self._header:
            raise PgvaultError("the base backup's stream ended within a file",
                               hint="Run the backup again; if it happens again, check the server's log.")

    def _start(self, header: bytes) -> None:
        if not any(header):
            self._ended = True
            return
        if self._ended:
            raise _bad("data after the end of the archive")
        member = parse_header(header)
        if member.kind is MemberKind.LINK and not (self._links and _TABLESPACE.fullmatch(member.path)):
            raise _bad(f"the member {member.path!r} is a link, which only a tablespace may be")
        self._sink.begin(member)
        self._left = member.size
        self._padding = -member.size % BLOCK
        if not member.size:
            self._sink.end()


def parse_header(header: bytes) -> Member:
    """Parse one 512-byte block; PgvaultError if PostgreSQL would not write it."""
    if header[257:262] != b"ustar":
        raise _bad("a header is not in the ustar format")
    if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise _bad("a header does not match its checksum")
    prefix, name = _text(header[345:500]), _text(header[:100])
    path = _safe(f"{prefix}/{name}" if prefix else name)
    try:
        kind = MemberKind(header[156:157].replace(b"\0", b"0"))
    except ValueError:
        what = _OTHER_KINDS.get(header[156:157], f"of the unexpected kind {header[156:157]!r}")
        raise _bad(f"the member {path!r} is {what}") from None
    return Member(
        path=path, kind=kind,
        size=_number(header[124:136]) if kind is MemberKind.FILE else 0,
        mode=_number(header[100:108]) & 0o7777, mtime=_number(header[136:148]),
        link=_text(header[157:257]) if kind is MemberKind.LINK else "")


def make_header(path: str, kind: MemberKind, size: int, mode: int, mtime: int, link: str = "") -> bytes:
    """Return the header blocks for one member. Long names and links get GNU's extra blocks, which every tar reads."""
    name, target = os.fsencode(path), os.fsencode(link)
    before = b""
    if len(name) > 100:
        before += _long(b"L", name)
    if len(target) > 100:
        before += _long(b"K", target)
    return before + _block(name[:100], kind.value, size, mode, mtime, target[:100])


def _long(kind: bytes, text: bytes) -> bytes:
    text += b"\0"
    return _block(b"././@LongLink", kind, len(text), 0o644, 0, b"") + text + bytes(-len(text) % BLOCK)


def _block(name: bytes, kind: bytes, size: int, mode: int, mtime: int, link: bytes) -> bytes:
    numbers = b"%07o\0%07o\0%07o\0" % (mode, 0, 0) + _long_number(size) + _long_number(max(mtime, 0))
    head = name.ljust(100, b"\0") + numbers
    tail = kind + link.ljust(100, b"\0") + b"ustar  \0" + bytes(247)
    checksum = sum(head) + 8 * 0x20 + sum(tail)
    return head + b"%06o\0 " % checksum + tail


def _long_number(number: int) -> bytes:
    """Format in octal, or from 8 Gi on in base 256."""
    return b"%011o\0" % number if number < 8 << 30 else b"\x80" + number.to_bytes(11, "big")


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if number > _LARGEST:
            raise _bad("a number in a header is too large")
        return number
    digits = field.strip(b"\0 ")
    if digits.strip(b"01234567"):
        raise _bad("a header field is not a number")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return os.fsdecode(field.split(b"\0", 1)[0])


def _safe(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise _bad(f"the member {path!r} points outside the data directory")
    return "/".join(parts) or "."


def _bad(reason: str) -> PgvaultError:
    return PgvaultError("the server sent an invalid base backup",
                        detail=reason[0].upper() + reason[1:] + ".",
                        hint="Check that conninfo leads to a PostgreSQL server.")
