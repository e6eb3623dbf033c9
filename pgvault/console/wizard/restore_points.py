"""The restore points in the archived WAL, to choose one from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from textual import getters
from textual.widget import Widget

from pgvault.console.fields import describe_failure
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.errors import PgvaultError
from pgvault.model.text import Part
from pgvault.model.window import instant

if TYPE_CHECKING:
    from pgvault.model.wal_picture import RestorePoint

_COLUMNS = [Column("when", 20), Column("timeline", 8, right=True), Column("name", 20, flexible=True)]
_EMPTY = "No restore point is in the archived WAL.\nOne is made with SELECT pg_create_restore_point('NAME')."


class RestorePoints(Dialog["RestorePoint"]):
    """Dismissed with the chosen one; the newest are at the top."""

    DEFAULT_CSS = """
    RestorePoints ListPane { height: 14; border: none; }
    """
    title_text = "restore points, newest first"
    keys = ("enter", "choose"), ("/", "filter"), ("esc", "back")
    BINDINGS = [("slash", "filter", "")]
    points = getters.query_one(ListPane)

    def __init__(self, points: Sequence[RestorePoint], problem: PgvaultError | None = None) -> None:
        """Make the dialog; `problem` is why the restore points are not known."""
        super().__init__()
        self._problem = problem
        self._points = {str(number): point for number, point in enumerate(sorted(points, key=_at, reverse=True))}

    def body(self) -> Iterable[Widget]:
        yield ListPane("", _COLUMNS, empty=describe_failure("They cannot be read", self._problem)
                       if self._problem else _EMPTY)

    def on_mount(self) -> None:
        self.points.show(ItemRows(tuple(self._points), self._cells, str))
        self.points.listing.focus()

    def _cells(self, key: str) -> list[Part]:
        point = self._points[key]
        at = instant(point.at) or datetime.fromtimestamp(0, UTC)
        return [f"{at:%Y-%m-%d %H:%M:%S}Z", str(point.timeline), point.name]

    def action_filter(self) -> None:
        self.points.open_filter()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.dismiss(self._points[event.key])


def _at(point: RestorePoint) -> int:
    return point.at
