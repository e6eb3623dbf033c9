"""Shortens a command to a few words for one line of a list; the full command is shown where there is room.

A script of pgvault's begins with a comment that describes it: that comment, and the paths that it was given, are more
useful than its first columns.
"""

from __future__ import annotations

import shlex

from pgvault.model.text import width

PATH_COLUMNS = 36
"""The most columns of a path; a longer one is shortened to its end, which distinguishes it."""


def in_words(command: str) -> str:
    """Return `look at the destination /srv/data` for `sh -c '# look at the destination ...' pgvault /srv/data`; any
    other command as it is.
    """
    try:
        words = shlex.split(command)
    except ValueError:  # no shell's line, such as one that was cut
        return command
    match words:
        case ["sh", "-c", script, *rest] if script.startswith("#"):
            comment = script.partition("\n")[0].lstrip("# ").removesuffix("...").rstrip()
            return " ".join([comment, *(short_path(word) for word in rest if word.startswith("/"))])
    return command


def short_path(path: str) -> str:
    """Return `.../17/main` for a path of more than PATH_COLUMNS."""
    if width(path) <= PATH_COLUMNS:
        return path
    kept = ""
    for name in reversed(path.split("/")):
        if kept and width(kept) + width(name) + 5 > PATH_COLUMNS:
            break
        kept = f"/{name}{kept}"
    return f"...{kept}"
