"""Reads a text file of any size by its lines: the last ones at once, every other one as soon as it is indexed.

The index keeps only the line number at which every 256 KiB block begins, so a gigabyte of log takes half a second to
index and some kilobytes of memory. It is built in portions, and continues where it was when the file grows. It starts
again for a file that was rotated or truncated. Any thread may call it.
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
"""Bytes read at a time."""
LONGEST = 10_000
"""Characters of a line that are shown."""
_LINE_BYTES = 4 * (LONGEST + 1)
"""Enough for that many characters of UTF-8, and one more that shows that the line continues."""
_TAIL_BYTES = 4 << 20
"""Most bytes that are read to find the last lines."""
_HEAD_BYTES = 512
"""The first bytes distinguish a file from one that replaced it."""


class Change(Enum):
    """What happened to a file since it was last examined."""

    NONE = "none"
    GREW = "grew"
    """Lines were added, and the last one may have become longer."""
    REPLACED = "replaced"
    """The file is another one, or was truncated: nothing that was read from it is valid."""


class LineFile:
    """An open file. Lines are counted from 0 and end with a newline, except the last one, which may lack it.

    Bytes that are no UTF-8 are escaped with backslashes. A line of more than `LONGEST` characters is truncated, and
    ends with an ellipsis.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError if that fails."""
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

    # --- state

    @property
    def size(self) -> int:
        """Size in bytes when the file was last examined."""
        return self._size

    @property
    def count(self) -> int:
        """Number of indexed lines; of all lines if `is_indexed`."""
        return self._newlines + self._unended

    @property
    def is_indexed(self) -> bool:
        return self._indexed == self._size

    def index_some(self, budget: int = 32 << 20) -> bool:
        """Index about that many further bytes. Return whether everything is indexed now."""
        while budget > 0 and not self.is_indexed:
            budget -= self._index_block()
        return self.is_indexed

    def grew(self) -> Change:
        """Examine the file again under its name. If it is missing, as during a rotation, the open file is kept."""
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
        """Return a line; IndexError if it is not indexed yet or does not exist."""
        with self._lock:
            if not 0 <= number < self.count:
                raise IndexError(number)
            start = self._start(number)
            if number < self._newlines:
                return _text(self._read(start, min(self._start(number + 1) - 1 - start, _LINE_BYTES)))
            return _text(self._read(start, min(self._size - start, _LINE_BYTES)).partition(b"\n")[0])

    def lines(self, first: int, limit: int) -> list[str]:
        """Return at most `limit` indexed lines from number `first` on."""
        with self._lock:
            return [self.line(number) for number in range(max(first, 0), min(first + limit, self.count))]

    def tail(self, limit: int) -> list[str]:
        """Return the last lines, even if their numbers are not known yet: at most `limit`, fewer if they are very long.

        Of a single line that is longer than what is read for this, return the end.
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
        """Yield the numbers of the lines from `first` on that contain `text` (with `invert`: that do not), block by
        block.

        Some blocks are empty, so that the caller may stop between them. ASCII letters match in either case. The search
        indexes what it reads. It ends where the file ended when it began, or as soon as the file is replaced.
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
        """Number of newlines before each indexed block."""
        self._indexed = self._newlines = 0
        """Number of indexed bytes, and of newlines in them."""
        self._unended = False
        """Whether the last of those bytes is no newline."""
        self._cached, self._ends = -1, array("q")
        """A block, and the offset of each of its newlines in the file."""

    def _is_other(self, found: os.stat_result) -> bool:
        return ((found.st_dev, found.st_ino) != self._identity or found.st_size < self._size
                or self._read(0, len(self._head)) != self._head)

    def _index_block(self) -> int:
        """Index the rest of the current block. Return how many bytes that were."""
        with self._lock:
            data = self._read(self._indexed, min(len(self._before) * BLOCK, self._size) - self._indexed)
            if not data:  # it was truncated in the meantime
                self._size = self._indexed
                return 0
            self._newlines += data.count(b"\n")
            self._indexed += len(data)
            self._unended = data[-1:] != b"\n"
            if self._indexed == len(self._before) * BLOCK:
                self._before.append(self._newlines)
            return len(data)

    def _start(self, number: int) -> int:
        """Return the offset of a line, from the end of the previous one, which must be known."""
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
    """Return the lines with a match that begins in the first `length` bytes, relative to the first line."""
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
