"""The entry point of `pgvault` and `python -m pgvault`.

PostgreSQL takes an exit status of 1 from its restore_command for "there is no such WAL" and promotes. A program that
cannot even be loaded must not report that, so get-wal then ends with 200, which stops recovery.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

GARBAGE = (20_000, 20, 20)
"""The allocations between two garbage collections: with the usual 700 short commands spend a tenth of their time on
them.
"""


def main() -> int:
    gc.set_threshold(*GARBAGE)
    try:
        from pgvault.cli.main import main as run
    except BaseException as error:
        if "get-wal" not in sys.argv:
            raise
        sys.stderr.write(f"pgvault: cannot be loaded: {error!r}\n")
        return 200
    status = run()
    if "put-wal" in sys.argv or "get-wal" in sys.argv:
        _exit_at_once(status)
    return status


def _exit_at_once(status: int) -> NoReturn:
    """Exit without the interpreter's cleanup, which takes a tenth of the whole time: PostgreSQL waits for each segment.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # the caller closed it
                stream.flush()
    except OSError:
        status = 200
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
