"""The lines around every screen: its title and path, and the keys that work now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pgvault.console.widgets.lineview import Line, LineView, cut
from pgvault.model.text import Painted, Part, visible, width


class Bar(LineView):
    """One line: parts at the left, parts at the right, and a gap between."""

    DEFAULT_CSS = """
    Bar { height: 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._left: Line = ()
        self._right: Line = ()

    def set(self, left: Iterable[Part], right: Iterable[Part] = ()) -> None:
        self._left, self._right = tuple(left), tuple(right)
        self.changed()

    @property
    def text(self) -> str:
        """Return all of its text, for tests and for copying."""
        return "".join(map(str, (*self._left, "  ", *self._right)))

    def line(self, y: int) -> Line:
        room = self.size.width - sum(width(visible(str(part))) for part in (*self._left, *self._right))
        return (*self._left, " " * room, *self._right) if room > 0 else (*self._left, " ", *self._right)


class Key(NamedTuple):
    """A key as the footer shows it."""

    key: str
    label: str
    available: bool
    """False if its action is unavailable: the key is shown in parentheses and dimmed, and pressing it reports why."""


class KeyBar(LineView):
    """The keys that work now, the most important first. Keys without room on the one line are left to the help,
    unavailable ones first; a shorter key may follow one that is left out. The first key is shortened before it is left
    out.
    """

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys: tuple[Key, ...] = ()

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Set the keys. The last one, the help, is always shown."""
        keys = tuple(keys)
        if keys != self._keys:
            self._keys = keys
            self.changed()

    def line(self, y: int) -> Line:
        if not self._keys:
            return ()
        *others, last = self._keys
        shown = _fitting(others, self.size.width - _columns(last) + 1, self.glyphs.ellipsis)
        *parts, end = [part for key in (*shown, last) for part in _drawn(key)]
        return [*parts, str(end).rstrip()]  # its blank may be the one column that a key lacks


def _fitting(keys: Sequence[Key], room: int, ellipsis: str) -> list[Key]:
    order = sorted(range(len(keys)), key=lambda index: not keys[index].available)
    if order and (over := _columns(first := keys[order[0]]) - room) > 0:
        return [first._replace(label=cut(first.label, width(first.label) - over, ellipsis))]
    kept = []
    for index in order:
        if (columns := _columns(keys[index])) <= room:
            kept.append(index)
            room -= columns
        elif not keys[index].available:
            break
    return [keys[index] for index in sorted(kept)]


def _columns(key: Key) -> int:
    return width(key.key) + width(key.label) + 3


def _drawn(key: Key) -> list[Part]:
    if not key.available:
        return [Painted(f"({key.key} {key.label})", "dim")]
    return [" ", Painted(key.key, "accent"), f" {key.label} "]
