"""Writes lines, tables, fields and JSON to a terminal or a pipe, with all control characters escaped.

Text passes `visible`, which escapes control characters, so that a server's message cannot move a terminal's cursor. A
style is a `Painted` part, coloured only if the stream allows it. Writing to a closed terminal is ignored, as the job
continues (EIO); a closed pipe (EPIPE) ends the output. Imports that only some calls need are local, since PostgreSQL
waits for put-wal and get-wal.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import BinaryIO, TextIO

from pgvault.model.text import Painted, Part, visible, width

SCHEMA = 1
_STYLES = {"good": "32", "warn": "33", "bad": "31", "dim": "2", "bold": "1", "accent": "36"}


def json_text(document: Mapping[str, object]) -> str:
    """Return one JSON object in ASCII, `schema` first. Any text survives, even invalid Unicode."""
    import json

    from pgvault.jobs.encoding import plain

    return json.dumps({"schema": SCHEMA, **plain(document)}, separators=(",", ":")).replace("\x7f", "\\u007f")


class Output:
    """A stream of text and its colours. `forgiving` ignores failures to write (standard error)."""

    paint = staticmethod(Painted)

    def __init__(self, stream: TextIO, *, color: bool, forgiving: bool = False) -> None:
        self._stream, self._color, self._forgiving, self._gone = stream, color, forgiving, False
        self.is_terminal = _is_terminal(stream)

    @property
    def bytes(self) -> BinaryIO:
        return self._stream.buffer

    @property
    def columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def line(self, *parts: Part) -> None:
        """Write one line of joined parts. A line feed inside a part is escaped."""
        self.write("".join(map(self.styled, parts)).rstrip(" ") + "\n")

    def lines(self, text: str) -> None:
        """Write a text of several lines."""
        for line in text.splitlines() or [""]:
            self.line(line)

    def prose(self, text: str, *, hang: int = 0, style: str = "") -> None:
        """Write a text in lines of which a terminal breaks none within a word; elsewhere it is one line. Further lines
        are indented by `hang`."""
        lines = [text]
        if self.is_terminal:
            import textwrap

            lines = textwrap.wrap(text, self.columns, subsequent_indent=" " * hang, break_long_words=False,
                                  break_on_hyphens=False) or [""]
        for line in lines:
            self.line(Painted(line, style) if style else line)

    def fields(self, pairs: Iterable[tuple[str, Part | None]], *, title: str = "") -> None:
        """Write aligned names and values. A value of None is shown as `-`."""
        if title:
            self.line(title)
        rows = list(pairs)
        widest = max((width(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.line("  ", name, " " * (widest - width(name)), " : ", "-" if value is None else value)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Part]], *, right: Collection[int] = ()) -> None:
        """Write columns as wide as their widest cell. Those whose index is in `right` are right-aligned."""
        table: list[Sequence[Part]] = [[Painted(header, "bold") for header in headers], *rows]
        texts = [[visible(str(cell)) for cell in row] for row in table]
        widths = [max(map(width, column)) for column in zip(*texts, strict=True)]
        for row, shown in zip(table, texts, strict=True):
            cells = []
            for i, (cell, text) in enumerate(zip(row, shown, strict=True)):
                gap, painted = " " * (widths[i] - width(text)), self._painted(text, cell)
                cells.append(f"{gap}{painted}  " if i in right else f"{painted}{gap}  ")
            self.write("".join(cells).rstrip(" ") + "\n")

    def json(self, document: Mapping[str, object]) -> None:
        """Write one document with `schema`. Times, LSNs, paths, enums and dataclasses become JSON."""
        self.write(json_text(document) + "\n")

    json_line = json
    """The same for lists: one object per line."""

    def styled(self, part: Part) -> str:
        return self._painted(visible(str(part)), part)

    def _painted(self, text: str, part: Part) -> str:
        return f"\x1b[{_STYLES[part.style]}m{text}\x1b[0m" if self._color and isinstance(part, Painted) else text

    def write(self, text: str) -> None:
        """Write a text unchanged; it must be safe to show."""
        self._attempt(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, act: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            act()
        except OSError as error:
            if not self._forgiving and not (error.errno == errno.EIO and self.is_terminal):
                raise
            self.forget()

    def forget(self) -> None:
        """Write no more, and let the interpreter's flush at exit succeed."""
        self._gone = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # the stream is closed
        return False
