"""The rule for names that people choose: of servers, hosts and backups."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9_-])?")
RESERVED = frozenset({"all", "jobs", "locks", "vault"})


def check_name(name: str, what: str) -> str:
    """Return the name itself, or raise ValueError. Names become directories and are typed in shells, so they are
    restricted."""
    if name in RESERVED:
        raise ValueError(f"{name!r} cannot be a {what}'s name: the word is reserved")
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot be a {what}'s name: use 1 to 63 letters, digits, '-', '_' and '.', "
            "starting with a letter or digit")
    return name


def check_label(text: str, what: str) -> str:
    """Return the text itself, or raise ValueError if it is not one line of at most 200 characters."""
    if len(text) > 200 or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError(f"a {what} must be one line of at most 200 characters without control characters")
    return text
