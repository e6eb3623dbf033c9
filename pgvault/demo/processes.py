"""Runs programs of the sandbox to their end or in the background, all in sessions of their own.

A terminal's Ctrl-C therefore reaches only the demonstration, which then ends its programs in good order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_END_SECONDS: Final = 10


def run(argv: Sequence[str | Path], *, input: str = "", **options: Any) -> tuple[int, str]:
    """Run a program to its end. Return its status and output. If this process is stopped, so is the program."""
    process = subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", errors="replace", start_new_session=True, **options)
    try:
        output, _ = process.communicate(input)
        return process.returncode, output
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


@contextmanager
def started(argv: Sequence[str | Path], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None,
            **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in the background. The caller waits in the scope until it works; if that fails or is interrupted,
    the program is ended."""
    with log.open("ab") as sink:
        process = subprocess.Popen([str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                   stdout=sink, stderr=sink, start_new_session=True, **options)
    # The program may end before this process, which would keep it as a zombie.
    threading.Thread(target=process.wait, name=f"reaper of {process.pid}", daemon=True).start()
    try:
        yield process
    except BaseException:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        process.kill()
        raise
