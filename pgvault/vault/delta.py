"""Page deltas: a run as the pages in which it differs from a frame that is stored already.

Scattered updates change a few pages in nearly every run of a table; a delta stores only those. Its plain form is a
bitmap of 128 pages (bit n of byte n/8: page n), then the changed pages in order. The parent is always a whole frame, so
that at most one delta has to be applied.
"""

from __future__ import annotations

PAGE_SIZE = 8192
_BITMAP = 16
WORTHWHILE = 0.6
"""The share of changed pages above which a whole frame is stored instead."""


def make(parent: bytes, run: bytes) -> bytes | None:
    """Return the delta that turns `parent` into `run`; None if a whole frame is better, or if their lengths differ."""
    if len(parent) != len(run) or len(run) % PAGE_SIZE:
        return None
    count = len(run) // PAGE_SIZE
    pages = [n for n, at in enumerate(range(0, len(run), PAGE_SIZE))
             if run[at:at + PAGE_SIZE] != parent[at:at + PAGE_SIZE]]
    if len(pages) > count * WORTHWHILE:
        return None
    bitmap = bytearray(_BITMAP)
    for page in pages:
        bitmap[page // 8] |= 1 << page % 8
    return b"".join([bitmap, *(run[n * PAGE_SIZE:(n + 1) * PAGE_SIZE] for n in pages)])


def apply(parent: bytes, delta: bytes) -> bytes:
    """Return the run. Raises ValueError if the delta does not fit the parent."""
    if len(delta) < _BITMAP:
        raise ValueError("the page delta does not fit its frame")
    run, position = bytearray(parent), _BITMAP
    for page in range(_BITMAP * 8):
        if delta[page // 8] & 1 << page % 8:
            start = page * PAGE_SIZE
            if start + PAGE_SIZE > len(run) or position + PAGE_SIZE > len(delta):
                raise ValueError("the page delta does not fit its frame")
            run[start:start + PAGE_SIZE] = delta[position:position + PAGE_SIZE]
            position += PAGE_SIZE
    if position != len(delta):
        raise ValueError("the page delta does not fit its frame")
    return bytes(run)
