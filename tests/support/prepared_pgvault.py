"""A program that has loaded pgvault, and for each request forks a process that is `python -m pgvault ...` then.

Nine tenths of a short command's time are the loading of modules. It has one argument, the descriptor of a socket: a
message is `argv`, `env` and `cwd` in JSON with the descriptors of standard input, output and error and of a pipe, which
is told the process's id and then its exit code. It ends when the socket's other end is closed. `prepared` asks it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
from contextlib import suppress

_LEFT_OUT = ("pgvault.__main__", "pgvault.console", "pgvault.demo", "pgvault.cli.demo")


def load() -> None:
    """Everything but the screens, whose library looks at the environment when it is loaded."""
    import pgvault

    for module in pkgutil.walk_packages(pgvault.__path__, "pgvault."):
        if not module.name.startswith(_LEFT_OUT):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def wait_for(child: int, status: int) -> None:
    """And tell how it ended."""
    _, how = os.waitpid(child, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(how)}\n".encode())


def become(message: bytes, standard: list[int]) -> None:
    """From a copy of this program make a new process."""
    request = json.loads(message)
    for number, (name, descriptor) in enumerate(zip(("stdin", "stdout", "stderr"), standard, strict=True)):
        os.dup2(descriptor, number)
        before = getattr(sys, name)
        setattr(sys, name, os.fdopen(number, before.mode, encoding=before.encoding, errors=before.errors))
    sys.stderr.reconfigure(line_buffering=True)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["pgvault", *request["argv"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = socket.socket(fileno=int(sys.argv[1]))
    load()
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            return 0
        if not os.fork():
            break
        for each in descriptors:
            os.close(each)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    *standard, status = descriptors
    requests.close()
    if child := os.fork():
        os.write(status, f"{child}\n".encode())
        for each in standard:
            os.close(each)
        wait_for(child, status)
        os._exit(0)
    become(message, standard)
    from pgvault.__main__ import main as pgvault

    return pgvault()


if __name__ == "__main__":
    sys.exit(main())
