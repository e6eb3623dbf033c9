"""Interprets the failure of a command: a full disk, a missing permission, a missing program."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from pgvault.model.errors import NoSpace, PgvaultError, Refused
from pgvault.model.secrets import masked

_FULL = {"No space left on device": "no space left on device", "Disk quota exceeded": "disk quota exceeded",
         "Wrote only": "no space left on device"}
"""Error texts of programs and their meaning. tar reports a partial write to a full disk as "Wrote only"."""
_DENIED = {"Permission denied": "permission denied", "Operation not permitted": "operation not permitted",
           "Read-only file system": "read-only file system"}
_LINES = 5


def command_failed(host: str, argv: Sequence[str], status: int, stderr: str, *, doing: str, path: str = "",
                   free: int | None = None) -> PgvaultError:
    """Return the error for a command that ended with `status`. `doing` completes "could not ..."; `free` is in
    bytes."""
    lines = [masked(_printable(line)) for line in stderr.splitlines() if line.strip()]
    output = " / ".join(lines[-_LINES:])
    detail = f"Its output: {output}" if output else f"{argv[0]} printed no message."
    message = f"could not {doing} on {host}"
    if cause := _cause(_FULL, stderr):
        room = f" {free:,} bytes are free at {path}." if free is not None else ""
        return NoSpace(f"{message}: {cause}", detail=detail + room,
                       hint=f"Free space for {path or 'it'}, or choose a larger file system, and run this again.")
    if status in (126, 127):
        return Refused(f"{message}: a program is missing or cannot be run", detail=detail,
                       hint="Install it there, or put it in the PATH of non-interactive logins.")
    if cause := _cause(_DENIED, stderr):
        return Refused(f"{message}: {cause}", detail=detail,
                       hint=f"Grant the user that pgvault logs in as access to {path or 'it'}, "
                            "or log in as the user that owns it.")
    return PgvaultError(f"{message}: {_ending(status)}", detail=detail)


def _ending(status: int) -> str:
    if status > 128:
        try:
            name = signal.Signals(status - 128).name
        except ValueError:
            return f"exit status {status}"
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exit status {status}"


def _cause(meanings: Mapping[str, str], text: str) -> str:
    return next((meaning for output, meaning in meanings.items() if output in text), "")


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in line.strip())
