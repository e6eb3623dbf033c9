"""How the lines of a screen are shared among its parts: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

STRIP, HIGHEST_STRIP = 8, 14
"""Lines of a line of time with its border: at least, and where there is room for higher bars of commits."""


class Wish(NamedTuple):
    """A part would be so high."""

    part: str
    lines: int
    least: int = 0
    """With fewer lines it is of no use."""


def shared(lines: int, wishes: Iterable[Wish]) -> dict[str, int]:
    """Return how high each part is. The first wishes come first; a part may wish for more further down."""
    heights: dict[str, int] = {}
    for part, wanted, least in wishes:
        had = heights.get(part, 0)
        height = max(had, min(wanted, had + lines))
        heights[part] = height if height >= least else had
        lines -= heights[part] - had
    return heights
