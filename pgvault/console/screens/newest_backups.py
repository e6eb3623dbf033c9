"""The selected server's backups where the overview has room for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from textual.message import Message

from pgvault.console import backup_facts
from pgvault.console.background import run_in_background
from pgvault.console.backup_facts import Row
from pgvault.console.fields import Field, gap, heading
from pgvault.console.queries import run_query
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import ItemRows
from pgvault.model.catalogue import Catalogue

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole


class NewestBackups(ListPane):
    """A pane that reads the backups while it is visible, and again when the server's protection changes."""

    DEFAULT_CSS = """
    NewestBackups { display: none; }
    """

    class Read(Message):
        """The backups were read."""

    def __init__(self, *, id: str) -> None:
        super().__init__("backups, newest first", backup_facts.COLUMNS, id=id)
        self._catalogue: Catalogue | None = None
        self._basis: tuple[str, object] = ("", None)
        """The server, and its protection when its backups were read."""

    @property
    def console(self) -> BaseConsole:
        return cast("BaseConsole", self.app)

    @property
    def row(self) -> Row | None:
        """Return the row under the cursor."""
        rows = backup_facts.rows(self._catalogue) if self._catalogue else []
        return next((row for row in rows if row.id == self.listing.key), None)

    def about(self) -> Iterator[Field]:
        """Return the facts of the newest backup."""
        rows = backup_facts.rows(self._catalogue) if self._catalogue else []
        if self._catalogue and rows:
            yield gap()
            yield heading(f"the newest backup, {rows[0].id}")
            yield from backup_facts.backup_fields(rows[0], self._catalogue.wal_problem)

    def read(self) -> None:
        server = self.console.server
        basis = server, self.console.protections.get(server)
        if self.display and basis[1] is not None and basis != self._basis:
            if server != self._basis[0]:
                self._catalogue = None
            self._basis = basis
            run_in_background(self, "catalogue", self._look, server)
        self._show()

    async def _look(self, server: str) -> None:
        found = await run_query(lambda: self.console.queries.catalogue(server), "read the catalogue")
        if server == self.console.server:
            self._catalogue = found if isinstance(found, Catalogue) else None
            self._show()
            self.post_message(self.Read())

    def _show(self) -> None:
        now = self.console.queries.now()
        rows = backup_facts.rows(self._catalogue) if self._catalogue else []
        self.listing.empty = "No backup was taken yet." if self._catalogue else ""
        self.show(ItemRows(rows, lambda row: backup_facts.cells(row, now), lambda row: row.id))

    def open(self) -> None:
        """Open the files of the backup under the cursor."""
        from pgvault.console.screens.backup import BackupScreen

        row = self.row
        if row and row.backup and self._catalogue:
            self.console.push_screen(BackupScreen(self.console.server, row, self._catalogue.wal_problem))
