"""The one rule for names that come from outside: server and host names, backup names."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9_-])?")
RESERVED = frozenset({"all", "jobs", "locks", "vault"})


def check_name(name: str, what: str) -> str:
    """The name itself, or ValueError: names become directories and are typed in shells, so they are kept plain."""
    if name in RESERVED:
        raise ValueError(f"{name!r} cannot be a {what}'s name: pgvault uses the word itself")
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot be a {what}'s name: use 1 to 63 letters, digits, '-', '_' and '.', "
            "starting with a letter or digit")
    return name


def check_label(text: str, what: str) -> str:
    """A free text on one line of at most 200 characters, or ValueError."""
    if len(text) > 200 or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError(f"a {what} is one line of at most 200 characters without control characters")
    return text
