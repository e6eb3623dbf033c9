"""The source of a list's rows: a fixed list in memory, or anything that can answer for one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from pgvault.model.text import Part

T = TypeVar("T")


class Column(NamedTuple):
    title: str
    width: int
    """The width in columns; of a flexible one the least."""
    right: bool = False
    flexible: bool = False
    """True if it takes the columns that are left."""
    wide: bool = False
    """True if it is shown only where there is room for it, too."""


class Rows(Protocol):
    """The rows of a list, from the top."""

    def __len__(self) -> int: ...

    def cells(self, index: int) -> Sequence[Part]:
        """Return one part for each column; if there are fewer, the last one takes the columns that are left."""
        ...

    def key(self, index: int) -> str:
        """Return what identifies the row when the list changes, so that the cursor stays on it."""
        ...


@runtime_checkable
class PlacedRows(Rows, Protocol):
    """Rows that know the place of a key, so that the cursor stays on it when others arrive or a filter is cleared."""

    def place_of(self, key: str) -> int | None: ...


class LazyRows(Generic[T]):
    """Some values, each drawn by a function when it is visible. Their owner filters them."""

    def __init__(self, items: Sequence[T], cells: Callable[[T], Sequence[Part]], key: Callable[[T], str]) -> None:
        self.items, self._cells, self._key = items, cells, key

    def __len__(self) -> int:
        return len(self.items)

    def cells(self, index: int) -> Sequence[Part]:
        return self._cells(self.items[index])

    def key(self, index: int) -> str:
        return self._key(self.items[index])

    def place_of(self, key: str) -> int | None:
        return next((index for index, item in enumerate(self.items) if self._key(item) == key), None)


class ItemRows(LazyRows[T]):
    """Values that are quickly drawn, and few enough to be filtered in place: by `text`, or by their cells."""

    def __init__(self, items: Sequence[T], cells: Callable[[T], Sequence[Part]], key: Callable[[T], str],
                 text: Callable[[T], str] | None = None, *, every: Sequence[T] | None = None,
                 whole: Callable[[T], str] | None = None) -> None:
        """Make the rows. A filter searches `every` where some items are folded away; `whole` returns the thing to which
        an item belongs, where one thing has several lines.
        """
        super().__init__(items, cells, key)
        self._whole = whole
        self._text = text or (lambda item: " ".join(map(str, cells(item))))
        self.every = items if every is None else every

    def narrowed(self, pattern: str) -> ItemRows[T]:
        """Return the rows that match the filter, see `fits`."""
        kept = [item for item in self.every if fits(pattern, self._text(item))]
        return ItemRows(kept, self._cells, self._key, self._text, whole=self._whole)

    def count(self, items: Sequence[T]) -> int:
        """Return the number of things, which may have several lines each."""
        return len(items) if self._whole is None else len(set(map(self._whole, items)))


def fits(pattern: str, text: str) -> bool:
    """Return whether a filter matches a text: it contains the pattern, in any case; a leading `!` inverts that."""
    inverted = pattern.startswith("!")
    wanted = pattern.removeprefix("!").casefold()
    return not wanted or (wanted in text.casefold()) is not inverted
