"""Shares the lines of a screen among its parts: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

STRIP, HIGHEST_STRIP = 8, 14
"""The height of a timeline strip with its border: the least, and where there is room for higher bars of commits."""


class Wish(NamedTuple):
    """The height that a part asks for."""

    part: str
    lines: int
    least: int = 0
    """The least height with which it is of use."""


def shared(lines: int, wishes: Iterable[Wish]) -> dict[str, int]:
    """Return the height of each part. The first wishes are met first; a part may have another wish further down."""
    heights: dict[str, int] = {}
    for part, wanted, least in wishes:
        had = heights.get(part, 0)
        height = max(had, min(wanted, had + lines))
        heights[part] = height if height >= least else had
        lines -= heights[part] - had
    return heights
