"""What a data directory holds, as the one word that binds a plan to the state it was made for (`--if-holds`)."""

from __future__ import annotations

import re
from typing import Final

NOTHING: Final = "nothing"
"""The directory is missing or empty."""
NO_CLUSTER: Final = "no-cluster"
"""The directory holds files, but no cluster."""
UNKNOWN: Final = "unknown"
"""The directory holds a cluster whose system identifier cannot be read."""
INCOMPLETE: Final = "incomplete:"
"""Prefix of a job's name: its incomplete restore left the files. A complete cluster is named by its system
identifier."""

_WORD = re.compile(rf"{NOTHING}|{NO_CLUSTER}|{UNKNOWN}|{INCOMPLETE}.*|[1-9][0-9]*", re.ASCII)


def check_holding(word: str) -> str:
    """Return the word itself, or raise ValueError if it is not valid."""
    if not _WORD.fullmatch(word):
        raise ValueError(f"not what a directory can hold: {word!r}")
    return word


def describe_holding(word: str) -> str:
    """Complete the phrase "a directory that holds ..."."""
    texts = {NOTHING: "nothing", NO_CLUSTER: "files that are no cluster",
             UNKNOWN: "a cluster whose system identifier could not be read"}
    if word.startswith(INCOMPLETE):
        return f"what the incomplete restore {word.removeprefix(INCOMPLETE)} left"
    return texts.get(word) or f"the cluster of system identifier {word}"
