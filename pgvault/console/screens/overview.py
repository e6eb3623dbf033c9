"""The first view: is everything protected, how far back, does anything run, is anything wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console.app import Change
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import Part

_COLUMNS = (Column("server", 16, flexible=True), Column("state", 9), Column("last backup", 12),
            Column("window from", 17), Column("until", 17))


class OverviewScreen(View):
    view = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("overview")]
    servers = getters.query_one("#servers", ListPane)

    def body(self) -> Iterable[Widget]:
        yield ListPane("servers", _COLUMNS, empty="No servers yet.\nAdd a table [servers.NAME] to the configuration.",
                       id="servers")

    def world_changed(self, change: Change) -> None:
        self.servers.show(ItemRows(self.app.world.servers, self._cells, str))

    def _cells(self, name: str) -> list[Part]:
        return [name, "?", "-", "-", "-"]
