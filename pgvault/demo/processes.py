"""Programs of the sandbox: run to their end, or started to go on; all in sessions of their own.

A terminal's Ctrl-C therefore reaches the demonstration alone, which then ends what it started in good order.
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
    """Run a program to its end; its status and all it said. When this process is stopped, so is the program."""
    process = subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", errors="replace", start_new_session=True, **options)
    try:
        said, _ = process.communicate(input)
        return process.returncode, said
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


@contextmanager
def started(argv: Sequence[str | Path], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None,
            **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that goes on; inside the scope its caller waits until it is at work, and if that fails or is
    interrupted, the program is ended."""
    with log.open("ab") as sink:
        process = subprocess.Popen([str(word) for word in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                   stdout=sink, stderr=sink, start_new_session=True, **options)
    # It may end before this process does, which would keep it as a zombie.
    threading.Thread(target=process.wait, name=f"reaper of {process.pid}", daemon=True).start()
    try:
        yield process
    except BaseException:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        process.kill()
        raise
