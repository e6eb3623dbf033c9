"""A terminal for programs that need one: a real pty, what it was sent as bytes, and the screen that makes.

Used by benchmarks/console.py and by the tests of what only a terminal shows.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import pyte

PATIENCE = 60.0
"""Seconds that are waited for what has to come; nothing is waited for longer than it takes."""
_QUIET = 0.25


class Terminal:
    """A program on a terminal of its own, of which it is the session's leader."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, columns: int = 80, lines: int = 24) -> None:
        self.sent = bytearray()
        """All that the program sent."""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        self.began = time.monotonic()
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=dict(env), close_fds=True,
                                        start_new_session=True, preexec_fn=_take_terminal)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.hang_up()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    # What it shows

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float) -> bytes:
        """What comes within so many seconds, or until the program has ended."""
        came, deadline = bytearray(), time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            piece = self._piece(left)
            if piece is None:
                break
            came += piece
        return bytes(came)

    def wait_for(self, shown: str | Callable[[str], bool], *, seconds: float = PATIENCE) -> float:
        """Until the screen shows a text, or is as asked; the seconds it took. AssertionError when it never does."""
        holds = shown if callable(shown) else lambda text: shown in text
        began = time.monotonic()
        while not holds(self.text):
            left = began + seconds - time.monotonic()
            if left <= 0 or self._piece(left) is None:
                assert holds(self.text), f"never shown: {shown}\n{self.text}"
        return time.monotonic() - began

    def settle(self, quiet: float = _QUIET) -> None:
        """Until nothing has come for a moment."""
        deadline = time.monotonic() + PATIENCE
        while self.read_one(quiet) and time.monotonic() < deadline:
            pass

    def read_one(self, seconds: float) -> bytes:
        """The next piece that comes, waiting so long at most; empty when none does."""
        return self._piece(seconds) or b""

    def _piece(self, seconds: float) -> bytes | None:
        """None at the end."""
        if self._master < 0:
            return None
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return b""
        try:
            piece = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            return None
        if not piece:
            return None
        self.sent += piece
        self._stream.feed(piece)
        return piece

    # What is done to it

    def type(self, *keys: str) -> None:
        """Send keys: text as it is, or a name of `KEYS`."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key.encode()))

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)
        if hasattr(self, "process") and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def end(self) -> int:
        """Wait until the program has ended; its exit status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._piece(0.1) is None:
                break
        return self.process.wait(PATIENCE)


KEYS = {"enter": b"\r", "escape": b"\x1b", "tab": b"\t", "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C",
        "left": b"\x1b[D", "ctrl+q": b"\x11", "ctrl+p": b"\x10", "ctrl+s": b"\x13", "ctrl+z": b"\x1a",
        "backspace": b"\x7f"}


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
