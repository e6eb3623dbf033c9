"""Doing no more than what changed needs.

A link may be slow: Textual's own update of a part of the screen begins at the left edge of the widget, whatever the
part. And the first frame is waited for: Textual parses every sheet again whenever it sets the theme, with the same
colours, too.
"""

from __future__ import annotations

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.css.stylesheet import Stylesheet


class SparingUpdate(ChopsUpdate):
    """The same update, of the columns that are asked for alone."""

    def render_segments(self, console: Console) -> str:
        sequences: list[str] = []
        for y, first, behind in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=True):
                if strip is not None and x < behind and end > first:
                    begin = max(x, first)
                    sequences += (Control.move_to(begin, y).segment.text,
                                  strip.crop(begin - x, min(end, behind) - x).render(console))
        return "".join(sequences)


class SparingCompositor(Compositor):
    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return update and SparingUpdate(update.chops, update.spans, update.chop_ends)


class SparingStylesheet(Stylesheet):
    """A sheet is parsed once, unless its colours change."""

    def set_variables(self, variables: dict[str, str]) -> None:
        if variables != self._variables:
            super().set_variables(variables)
            self._require_parse = True

    def reparse(self) -> None:
        if self._require_parse:
            self.parse()
