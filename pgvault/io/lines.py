"""A text file of any size by its lines: the last ones at once, every other as soon as its place is known.

Only where every 256 KiB block begins among the lines is kept, so a gigabyte of log takes half a second to index and
some kilobytes of memory. The index is made in portions, and goes on where it was when the file grows; a file that was
rotated or truncated is begun anew. Any thread may ask.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum
from itertools import accumulate
from pathlib import Path

BLOCK = 256 << 10
"""Bytes; what is read at a time."""
LONGEST = 10_000
"""Characters of a line that are shown."""
_LINE_BYTES = 4 * (LONGEST + 1)
"""Enough for so many characters of UTF-8, and for one more that tells that the line goes on."""
_TAIL_BYTES = 4 << 20
"""The most that is read to find the last lines."""
_HEAD_BYTES = 512
"""By its first bytes a file is told from another that was written into its place."""


class Change(Enum):
    """What became of a file since it was looked at last."""

    NONE = "none"
    GREW = "grew"
    """Lines came, and the last one may have become longer."""
    REPLACED = "replaced"
    """It is another file, or begins anew: nothing that was read of it holds."""


class LineFile:
    """An open file. Lines are counted from 0 and end with a newline, but for the last one, which may lack it.

    Bytes that are no UTF-8 are spelled out with backslashes; a line of more than `LONGEST` characters is cut there, and
    ends with an ellipsis.
    """

    def __init__(self, path: Path) -> None:
        """OSError when it cannot be opened."""
        self.path = path
        self._lock = threading.RLock()
        self._file = -1
        self._size = self._generation = 0
        self._begin(_opened(path))

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                self._generation += 1

    # --- what is known

    @property
    def size(self) -> int:
        """In bytes, as it was when it was looked at last."""
        return self._size

    @property
    def count(self) -> int:
        """Lines whose place is known by now; of all of them when `is_indexed`."""
        return self._newlines + self._unended

    @property
    def is_indexed(self) -> bool:
        return self._indexed == self._size

    def index_some(self, budget: int = 32 << 20) -> bool:
        """Go through about so many further bytes; whether all is indexed now."""
        while budget > 0 and not self.is_indexed:
            budget -= self._index_block()
        return self.is_indexed

    def grew(self) -> Change:
        """Look at the file again, under its name: one that is gone, as between two steps of a rotation, is kept."""
        with self._lock:
            try:
                found = os.stat(self.path)
                if self._is_other(found):
                    self._begin(_opened(self.path))
                    return Change.REPLACED
            except OSError:
                return Change.NONE
            if found.st_size == self._size:
                return Change.NONE
            self._size = found.st_size
            self._head = self._read(0, _HEAD_BYTES)
            self._cached = -1
            return Change.GREW

    # --- lines

    def line(self, number: int) -> str:
        """IndexError when its place is not known yet, or there is none."""
        with self._lock:
            if not 0 <= number < self.count:
                raise IndexError(number)
            start = self._start(number)
            if number < self._newlines:
                return _text(self._read(start, min(self._start(number + 1) - 1 - start, _LINE_BYTES)))
            return _text(self._read(start, min(self._size - start, _LINE_BYTES)).partition(b"\n")[0])

    def lines(self, first: int, limit: int) -> list[str]:
        """At most `limit` of those whose place is known, from number `first` on."""
        with self._lock:
            return [self.line(number) for number in range(max(first, 0), min(first + limit, self.count))]

    def tail(self, limit: int) -> list[str]:
        """The last lines, whether or not their numbers are known: at most `limit`, fewer when they are very long.

        Of a single line that is longer than what is read for this, the end.
        """
        with self._lock:
            data, start = b"", self._size
            while start and self._size - start < _TAIL_BYTES and data.count(b"\n", 0, -1) < limit:
                length = min(BLOCK, start)
                start -= length
                data = self._read(start, length) + data
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        if start and len(lines) > 1:
            del lines[0]  # its beginning was not read
        return [_text(line) for line in lines[-limit:]] if limit > 0 else []

    def search(self, text: str, *, invert: bool = False, first: int = 0) -> Iterator[array[int]]:
        """The numbers of the lines from `first` on that hold `text`, or with `invert` do not, a block at a time.

        Some blocks are empty: each is a step, after which the walk may be left. ASCII letters match in either case.
        It indexes what it passes, and ends where the file ended when it began, or as soon as the file is replaced.
        """
        needle = text.encode(errors="surrogateescape").lower()
        with self._lock:
            if self._file < 0:
                return
            generation, size, last = self._generation, self._size, first - 1
            begin = self._start(first) // BLOCK if 0 <= first < self.count else len(self._before) - 1
        for block in range(begin, -(-size // BLOCK)):
            start = block * BLOCK
            length = min(BLOCK, size - start)
            with self._lock:
                if generation != self._generation:
                    return
                while self._indexed < start + length:
                    if not self._index_block():
                        return
                number = self._before[block]
                data = self._read(start, min(length + max(len(needle) - 1, 0), size - start))
            hits = [number + each for each in _hits(data.lower(), length, needle)]
            if invert:
                end = number + data.count(b"\n", 0, length) + (start + length == size and data[length - 1:] != b"\n")
                passed = {last, *hits}
                yield array("q", [each for each in range(max(number, first), end) if each not in passed])
            else:
                yield array("q", [each for each in hits if each > last])
            last = max(last, hits[-1]) if hits else last

    # --- the file

    def _begin(self, file: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._generation += 1
        facts = os.fstat(file)
        self._identity = facts.st_dev, facts.st_ino
        self._size = facts.st_size
        self._head = self._read(0, _HEAD_BYTES)
        self._before = array("q", [0])
        """How many newlines are before each block, as far as that is known."""
        self._indexed = self._newlines = 0
        """Bytes, and the newlines in them."""
        self._unended = False
        """The last of those bytes is no newline."""
        self._cached, self._ends = -1, array("q")
        """A block, and where in the file each of its newlines is."""

    def _is_other(self, found: os.stat_result) -> bool:
        return ((found.st_dev, found.st_ino) != self._identity or found.st_size < self._size
                or self._read(0, len(self._head)) != self._head)

    def _index_block(self) -> int:
        """The rest of the block that the index has come to; how many bytes that were."""
        with self._lock:
            data = self._read(self._indexed, min(len(self._before) * BLOCK, self._size) - self._indexed)
            if not data:  # it was truncated meanwhile
                self._size = self._indexed
                return 0
            self._newlines += data.count(b"\n")
            self._indexed += len(data)
            self._unended = data[-1:] != b"\n"
            if self._indexed == len(self._before) * BLOCK:
                self._before.append(self._newlines)
            return len(data)

    def _start(self, number: int) -> int:
        """Where a line begins, from the end of the one before; the place of that is known."""
        if not number:
            return 0
        block = bisect_right(self._before, number - 1) - 1
        if block != self._cached:
            pieces = self._read(block * BLOCK, BLOCK).split(b"\n")[:-1]
            self._cached = block
            self._ends = array("q", accumulate((len(piece) + 1 for piece in pieces), initial=block * BLOCK))
        return self._ends[number - self._before[block]]

    def _read(self, start: int, length: int) -> bytes:
        return os.pread(self._file, length, start)


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return file


def _hits(data: bytes, length: int, needle: bytes) -> list[int]:
    """The lines with a hit that begins in the first `length` bytes, counted from the one that these begin in."""
    hits, number, at = [], 0, 0
    while 0 <= (hit := data.find(needle, at)) < length:
        number += data.count(b"\n", at, hit)
        hits.append(number)
        end = data.find(b"\n", hit, length)
        if end < 0:
            break
        number, at = number + 1, end + 1
    return hits


def _text(line: bytes) -> str:
    text = line[:_LINE_BYTES].removesuffix(b"\r").decode(errors="backslashreplace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
