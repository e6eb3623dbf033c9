"""Pipes that hold more than the usual 64 KiB, with which reader and writer wake each other 256 times a segment."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import IO

PIPE_BYTES = 1 << 20


def widen(pipe: int | IO[str]) -> None:
    """Nothing where that cannot be: it is no pipe, or none of Linux, or the kernel's limit for this user is lower."""
    with suppress(OSError, AttributeError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
