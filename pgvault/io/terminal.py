"""This process's own terminal, lent to a program on another machine: its keys go there, what it draws comes back."""

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
    """Whether a person can be talked with: both ways lead to a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()


def terminal_size() -> tuple[int, int]:
    """Columns and lines."""
    size = shutil.get_terminal_size()
    return size.columns, size.lines


@contextmanager
def lent(take: Callable[[bytes], None], resized: Callable[[int, int], None]) -> Iterator[None]:
    """Every key goes to `take`, Ctrl-C too, and nothing is echoed here; the terminal is as before at the end."""
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
    """Whole, on standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view):]
