"""The base of all that is drawn: lines of painted parts, of which only the changed ones are sent.

A console is used over slow links, so a widget never redraws itself for one new number: it calls `changed()`, each
visible line is composed again, and those that differ from the screen are repainted. Text from outside passes `visible`
here, once, and is never read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pgvault.model.text import Painted, Part, visible, width

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole
    from pgvault.console.glyphs import Glyphs

Line = Sequence[Part]
STYLES = ("good", "warn", "bad", "dim", "bold", "accent", "title", "cursor", "mark")
"""The names of a part's style; each is a component class `line--NAME`."""


class LineView(Widget):
    """Some lines of parts; a subclass implements `line(y)` for the visible ones, or `set_lines` is enough."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{name}" for name in STYLES}
    DEFAULT_CSS = """
    LineView {
        height: 1fr;
        & .line--good { color: $text-success; }
        & .line--warn { color: $text-warning; text-style: bold; }
        & .line--bad { color: $text-error; text-style: bold; }
        & .line--dim { color: $text-muted; }
        & .line--bold { text-style: bold; }
        & .line--accent { color: $text-accent; }
        & .line--title { color: $text-primary; text-style: bold; }
        & .line--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
        & .line--mark { background: $panel; text-style: bold; }
        &.-one-line { height: 1; }
    }
    """

    def __init__(self, lines: Iterable[Line] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._lines = list(lines)
        self._drawn: dict[int, Strip] = {}

    @property
    def glyphs(self) -> Glyphs:
        return cast("BaseConsole", self.app).glyphs

    def set_lines(self, lines: Iterable[Line]) -> None:
        """Show these lines, sending what differs."""
        self._lines = list(lines)
        self.changed()

    def line(self, y: int) -> Line:
        """Return the content of row `y` of the widget, from 0; parts are joined and cut at the widget's width."""
        return self._lines[y] if y < len(self._lines) else ()

    def background(self, y: int) -> str:
        """Return the name of a style that lies under the whole of row `y`; empty for none."""
        return ""

    def changed(self) -> None:
        """Repaint what differs from the screen: of each visible line the columns that changed."""
        if not self.is_attached or not self.size:
            return
        for y in [y for y in self._drawn if y >= self.size.height]:
            del self._drawn[y]
        for y in range(self.size.height):
            drawn = self._drawn.get(y)  # none after a change of style, after which the line may not be asked for again
            begin, end = (0, self.size.width) if drawn is None else _difference(self._strip(y), drawn)
            if begin < end:
                self.refresh(Region(begin, y, end - begin, 1))

    def render_line(self, y: int) -> Strip:
        strip = self._drawn[y] = self._strip(y)
        return strip

    def notify_style_update(self) -> None:
        self._drawn.clear()
        super().notify_style_update()

    def _strip(self, y: int) -> Strip:
        return self.strip_of(self.line(y), self.background(y))

    def strip_of(self, line: Line, under: str = "") -> Strip:
        """Return the line as it is drawn, exactly as wide as the widget."""
        room, base = self.size.width, self.rich_style
        if under:
            base += self.get_component_rich_style(f"line--{under}", partial=True)
        segments: list[Segment] = []
        for part in line:
            text = self.glyphs.text(visible(str(part)))
            columns = width(text)
            if columns > room:
                text = cut(text, room, self.glyphs.ellipsis)
                columns = width(text)
            segments.append(Segment(text, self._style(part, base, under)))
            room -= columns
            if room <= 0:
                break
        if room > 0:
            segments.append(Segment(" " * room, base))
        return Strip(segments, self.size.width).simplify()

    def _style(self, part: Part, base: Style, under: str) -> Style:
        if not isinstance(part, Painted) or not part.style:
            return base
        own = self.get_component_rich_style(f"line--{part.style}", partial=True)
        # Colours would be unreadable on the cursor's line; bold text stays bold.
        return base + Style(bold=own.bold) if under == "cursor" else base + own


def cut(text: str, columns: int, ellipsis: str) -> str:
    """Return as much of the text as fits, with the ellipsis where it was cut off."""
    if width(text) <= columns:
        return text
    if columns <= 0:
        return ""
    kept, used = [], width(ellipsis)
    for char in text:
        used += width(char)
        if used > columns:
            break
        kept.append(char)
    return "".join(kept) + ellipsis[:columns]


def padded(text: str, columns: int, ellipsis: str, *, right: bool = False) -> str:
    """Return the text, cut or filled to exactly so many columns; aligned to the right if asked for."""
    text = cut(text, columns, ellipsis)
    gap = " " * (columns - width(text))
    return gap + text if right else text + gap


def _difference(one: Strip, other: Strip) -> tuple[int, int]:
    """Return from which column up to which, not included, two strips differ; the whole line if columns do not
    correspond to characters.
    """
    columns = max(one.cell_length, other.cell_length)
    if list(one) == list(other):
        return 0, 0
    first, second = _characters(one), _characters(other)
    if len(first) != columns or len(second) != columns:
        return 0, columns
    different = [column for column in range(columns) if first[column] != second[column]]
    return (different[0], different[-1] + 1) if different else (0, 0)


def _characters(strip: Strip) -> list[tuple[str, Style | None]]:
    """Return one character for each column; empty if one takes more or less than one column."""
    if not all(segment.text.isascii() or all(width(char) == 1 for char in segment.text) for segment in strip):
        return []
    return [(char, segment.style) for segment in strip for char in segment.text]
