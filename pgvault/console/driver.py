"""Textual's driver, made to bear a terminal that goes away: whatever happens to it, the console comes to its end.

Textual writes from a thread that dies of the first write to a closed terminal, and then waits for ever for room in that
thread's queue. A closed terminal also brings SIGCONT, which Textual takes for the return from a suspension: it would
begin anew, with a second thread for the keys.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any, cast

from textual.drivers.linux_driver import LinuxDriver


class TerminalFile:
    """What is written to it is dropped once nobody has the other end open any more."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class TerminalDriver(LinuxDriver):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file: Any = TerminalFile(cast("IO[str]", sys.__stderr__))

    def _sigcont_application(self, *_: object) -> None:
        if self._must_signal_resume:  # it was suspended
            super()._sigcont_application()
