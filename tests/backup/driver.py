"""Runs pgvault with something done to it: `driver.py INTERVENTIONS ARGUMENT ...`, the first a list in JSON.

    {"at": "module:Class.method", "call": 3, "when": "before"}   the process kills itself there, as a power failure does
    {"set": "module:NAME", "to": 1}                              a constant is another
    {"tell": "peak"}                                             at the end, the peak of its memory on standard error
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any


def place(name: str) -> tuple[Any, str]:
    """The object that has the attribute, and the attribute's name."""
    module, _, path = name.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, last = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    return owner, last


def die(name: str, call: int, when: str) -> None:
    owner, last = place(name)
    real: Callable[..., Any] = getattr(owner, last)
    calls = 0

    @wraps(real)
    def fatal(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, last, fatal)


def main() -> int:
    wishes = json.loads(sys.argv[1])
    for wish in wishes:
        if "at" in wish:
            die(wish["at"], wish.get("call", 1), wish.get("when", "before"))
        elif "set" in wish:
            setattr(*place(wish["set"]), wish["to"])
    from pgvault.cli.main import main as pgvault

    code = pgvault(sys.argv[2:])
    if {"tell": "peak"} in wishes:
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(peak, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
