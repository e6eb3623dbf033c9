"""Runs pgvault and kills it: `dying_restore.py MODULE:NAME COUNT ARGUMENTS...`.

The process ends by SIGKILL, as by a power failure, when that function or method is called for the COUNTth time.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys

from pgvault.cli.main import main


def arm(point: str, count: int) -> None:
    module, _, name = point.partition(":")
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), 0

    @functools.wraps(original)
    def counted(*args, **options):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(owner, last, counted)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
