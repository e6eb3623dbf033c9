"""Quoting of command lines by one function, and masking before they are shown.

A command is a list of arguments until the last moment. Only `join` turns it into a line for a shell, and only
`for_login_shell` wraps that line for the account's login shell, whichever it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pgvault.model.errors import Refused
from pgvault.model.secrets import masked

_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(rb"\'!")
"""Bytes that stand for themselves between single quotes in sh, csh and fish alike."""


def encode(argument: str) -> bytes:
    """Encode an argument. Names that are not UTF-8 come and go as surrogates. Refused if it contains a NUL."""
    if "\0" in argument:
        raise Refused("a name with a NUL byte cannot be passed to a program", detail=f"The name is {argument!r}.")
    return argument.encode("utf-8", "surrogateescape")


def join(argv: Sequence[str]) -> str:
    """Return the command line of `argv` for a POSIX shell."""
    return shlex.join(argv)


def shown(argv: Sequence[str]) -> str:
    """Return `argv` as reports show it: masked, and a script as its first line, which describes it."""
    return masked(join([_first_line(argument) for argument in argv]))


def _first_line(argument: str) -> str:
    first, newline, rest = argument.partition("\n")
    return f"{first} ..." if newline and len(rest) > 80 else argument


def for_login_shell(command: str, marker: str = "") -> str:
    """Return `command`, written for sh, as one line that any login shell (sh, bash, zsh, csh, fish) passes to sh
    unchanged.

    sh first prints the `marker`, if there is one, on both outputs: anything before it came from the login's profile.
    """
    markers = f"echo {marker}; echo {marker} >&2; " if marker else ""
    coded = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in encode(command))
    return f"exec sh -c '{markers}eval \"$(printf %b \"$1\")\"' sh '{coded}'"


def pipeline(stages: Sequence[Sequence[str]]) -> str:
    """Return a script for sh that joins the commands by pipes and fails if any of them fails.

    POSIX sh has no `pipefail`, so each stage reports its status through descriptor 4. A stage that only failed with a
    broken pipe (141) is not the cause if another one failed.
    """
    parts = [f"{{ {join(stage)} 3>&- 4>&-; echo $? >&4; }}" for stage in stages[:-1]]
    parts.append(f"{{ {join(stages[-1])} >&3 3>&- 4>&-; echo $? >&4; }}")
    comment = " | ".join(map(join, stages)).replace("\n", " ")
    return (f"# {comment}\n"
            f"exec 3>&1\nstatuses=$({{ {' | '.join(parts)}; }} 4>&1)\n"
            f"cause=0 count=0\n"
            f"for status in $statuses; do\n"
            f"  count=$((count + 1))\n"
            f'  if [ "$status" -ne 0 ] && {{ [ $cause -eq 0 ] || [ $cause -eq 141 ]; }}; then cause=$status; fi\n'
            f"done\n"
            f"[ $count -eq {len(stages)} ] || cause=1\n"
            f"exit $cause\n")
