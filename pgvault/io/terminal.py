"""Lends this process's terminal to a program on another machine: keys go there, its output comes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BLOCK = 32 << 10


def is_terminal() -> bool:
    """Return whether standard input and output are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()


def terminal_size() -> tuple[int, int]:
    """Return columns and lines."""
    size = shutil.get_terminal_size()
    return size.columns, size.lines


@contextmanager
def lend_terminal(take: Callable[[bytes], None], resized: Callable[[int, int], None]) -> Iterator[None]:
    """Pass every key to `take`, including Ctrl-C, without an echo. The terminal's state is restored at the end."""
    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    loop.add_reader(descriptor, lambda: take(os.read(descriptor, _BLOCK)))
    loop.add_signal_handler(signal.SIGWINCH, lambda: resized(*terminal_size()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def draw(data: bytes) -> None:
    """Write all of it to standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view):]
