"""Running pgvault without loading it each time: see `prepared_pgvault`.

PGVAULT_TEST_FRESH=1 makes each run a fresh interpreter again.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from support.account import Account

_PROGRAM = Path(__file__).with_name("prepared_pgvault.py")
_EARLY = ("LANG", "LC_", "PYTHON", "TZ")
"""Variables that an interpreter reads when it starts."""


def run(python: str, words: Sequence[str], *, env: Mapping[str, str], input: bytes, timeout: float,
        account: Account | None) -> tuple[int, bytes, bytes]:
    """`python -m pgvault WORDS` to its end: exit code, output, talk. subprocess.TimeoutExpired when it has none."""
    early = tuple(sorted((name, value) for name, value in env.items() if name.startswith(_EARLY)))
    ends = [os.pipe() for _ in range(4)]
    (theirs_in, ours_in), (ours_out, theirs_out), (ours_err, theirs_err), (told, status) = ends
    message = json.dumps({"argv": list(words), "env": dict(env), "cwd": "/"}).encode()
    requests = _program(python, early, account)
    try:
        socket.send_fds(requests, [message], [theirs_in, theirs_out, theirs_err, status])
    finally:
        for each in (theirs_in, theirs_out, theirs_err, status):
            os.close(each)
    writing = threading.Thread(target=_write, args=(ours_in, input), daemon=True)
    writing.start()
    try:
        out, err, said = _read_all((ours_out, ours_err, told), time.monotonic() + timeout)
    finally:
        for each in (ours_out, ours_err, told):
            os.close(each)
    pid, _, code = said.decode().partition("\n")
    if not code:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
        raise subprocess.TimeoutExpired(["pgvault", *words], timeout, out, err)
    writing.join()
    return int(code), out, err


@functools.cache
def _program(python: str, early: tuple[tuple[str, str], ...], account: Account | None) -> socket.socket:
    """The other end of its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [python, str(_PROGRAM), str(theirs.fileno())], env={**dict(early), "PATH": os.defpath}, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            **(account.popen_options() if account else {}))

    def end() -> None:
        ours.close()
        process.wait(30)

    atexit.register(end)
    return ours


def _write(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
        while data:
            data = data[pipe.write(data):]


def _read_all(descriptors: Sequence[int], deadline: float) -> list[bytes]:
    """Until all are at their end or the time is over."""
    came = {each: bytearray() for each in descriptors}
    with selectors.DefaultSelector() as ready:
        for each in descriptors:
            ready.register(each, selectors.EVENT_READ)
        while ready.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in ready.select(left):
                if piece := os.read(key.fd, 1 << 16):
                    came[key.fd] += piece
                else:
                    ready.unregister(key.fd)
    return [bytes(came[each]) for each in descriptors]
