"""`pgvault work PLACE [--end HOW]`: a job that makes PLACE/begun, works until PLACE/go is there, and can be stopped.

Where PLACE/think is there, it first plans until that is gone, and says so with PLACE/planning.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import time
from pathlib import Path

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.cli.running import run_job
from pgvault.model.errors import Cancelled, Locked, Refused
from pgvault.model.event import Emit, Noted, PhaseStarted, Progressed
from pgvault.model.job import JobKind

HELP = """Work.

Example:
  pgvault work /tmp/place
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", type=Path)
    parser.add_argument("--end", default="well", choices=("well", "locked", "bug", "full", "early"))


def run(args: argparse.Namespace, context: Context) -> int:
    if (args.place / "think").exists():
        (args.place / "planning").write_text(str(os.getpid()))
        while (args.place / "think").exists():
            time.sleep(0.01)
    if args.end == "early":
        raise Refused("the destination is not empty", detail="It holds base/.", hint="Choose another one.")
    plan = {"place": args.place, "password": None, "conninfo": "host=db password=hunter2"}
    verdict = run_job(context, kind=JobKind.BACKUP, server="main-db", command=["pgvault", "work", str(args.place)],
                      plan=plan, act=lambda emit, job: work(args.place, args.end, emit, job))
    if context.json:
        context.out.json({"verdict": verdict})
    else:
        context.out.line(verdict)
    return 0


async def work(place: Path, end: str, emit: Emit, job: str) -> str:
    begun = place / "begun"
    begun.write_text(job)
    emit(PhaseStarted("copying", 1 << 30))
    done = 0
    try:
        while not (place / "go").exists():
            done += 1 << 20
            emit(Progressed(done, files=1))
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        (place / "undoing").touch()
        while (place / "hold").exists():  # noqa: ASYNC110  as long as the test wants the undoing to take
            await asyncio.sleep(0.01)
        begun.unlink()
        raise Cancelled("work cancelled", detail="What was begun is removed.") from None
    emit(Noted("connected with password=hunter2"))
    if end == "locked":
        raise ExceptionGroup("tasks", [ValueError("an echo"), Locked("another job holds the backup lock")])
    if end == "bug":
        raise ZeroDivisionError("division by zero\x1b[2J")
    if end == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/vault/packs/x")
    return f"worked in {place.name}"


COMMANDS = {"work": Command(HELP, arguments, run)}
