"""What a data directory holds, in the one word by which a plan is bound to what it was made for (`--if-holds`)."""

from __future__ import annotations

import re
from typing import Final

NOTHING: Final = "nothing"
"""It is missing or empty."""
NO_CLUSTER: Final = "no-cluster"
"""Something, and no cluster."""
UNKNOWN: Final = "unknown"
"""A cluster whose system identifier cannot be read."""
INCOMPLETE: Final = "incomplete:"
"""Before a job: what its restore left there, which has not completed. A cluster is its system identifier."""

_WORD = re.compile(rf"{NOTHING}|{NO_CLUSTER}|{UNKNOWN}|{INCOMPLETE}.*|[1-9][0-9]*", re.ASCII)


def check_holding(word: str) -> str:
    """The word itself; ValueError when it is none."""
    if not _WORD.fullmatch(word):
        raise ValueError(f"not what a directory can hold: {word!r}")
    return word


def describe_holding(word: str) -> str:
    """Behind "a directory that holds"."""
    told = {NOTHING: "nothing", NO_CLUSTER: "files that are no cluster",
            UNKNOWN: "a cluster whose system identifier could not be read"}
    if word.startswith(INCOMPLETE):
        return f"what the incomplete restore {word.removeprefix(INCOMPLETE)} left"
    return told.get(word) or f"the cluster of system identifier {word}"
