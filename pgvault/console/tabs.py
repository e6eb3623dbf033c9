"""The views as tabs next to the breadcrumb: their names, their keys, and the current one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgvault.console.keys import BY_ID, VIEWS, keys_of, shown
from pgvault.model.text import Painted, Part, width


def tabs(here: str, room: int, keymap: Mapping[str, str], *, dim: bool = False) -> list[Part]:
    """Return `1 overview [2 backups] 3 wal ...` in at most that many columns; without the other views' names where they
    have no room, and nothing where even that has none. With `dim` their keys would be typed into a field now.
    """
    for names in (VIEWS, (here,)):
        parts = _drawn(here, names, keymap, dim=dim)
        if sum(width(str(part)) for part in parts) <= room:
            return parts
    return []


def _drawn(here: str, names: Sequence[str], keymap: Mapping[str, str], *, dim: bool) -> list[Part]:
    parts: list[Part] = []
    for view in VIEWS:
        key = next(iter(keys_of(BY_ID[f"view-{view}"], keymap)), "")
        text = f"{shown(key)} {view}" if view in names else shown(key)
        parts.append(Painted(f"[{text}]", "title") if view == here else Painted(f" {text} ", "dim" if dim else ""))
    return parts
