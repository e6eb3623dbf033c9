"""One backup: its facts and its files; a million of them open at once and are filtered as one types."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable
from typing import ClassVar

from textual import getters, work
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console import backup_facts
from pgvault.console.background import run_in_background
from pgvault.console.backup_facts import Row
from pgvault.console.base import Change
from pgvault.console.fields import failed
from pgvault.console.file_rows import FileRows, entry_text
from pgvault.console.queries import run_query
from pgvault.console.screens.text_box import TextBox
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column
from pgvault.engine.backup_files import BackupFiles
from pgvault.model.errors import PgvaultError
from pgvault.vault.manifest import Entry

_COLUMNS = (Column("path", 20, flexible=True), Column("kind", 9), Column("size", 9, right=True),
            Column("modified", 17))
_DRAWN_SECONDS = 0.2
"""The seconds between two drawings of what a search has found."""


class BackupScreen(View):
    view = "backup"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("backup")]
    facts = getters.query_one("#facts", Reading)
    files = getters.query_one("#files", ListPane)

    def __init__(self, server: str, row: Row, wal_problem: str = "") -> None:
        """Open a backup; `row` is one that can be read."""
        super().__init__()
        self._server, self._row, self._wal_problem = server, row, wal_problem
        self._opened: BackupFiles | PgvaultError | None = None
        self._shown_failure: PgvaultError | None = None
        """The error in listing files that the facts' pane shows; None for none."""

    def body(self) -> Iterable[Widget]:
        yield Pane(f"backup {self._row.id} of {self._server}", Reading(id="facts"), id="about")
        yield ListPane("files", _COLUMNS, id="files", empty="The manifest is being opened.")

    def on_mount(self) -> None:
        super().on_mount()
        self.files.listing.focus()
        self._show_facts()
        run_in_background(self, "manifest", self._open)

    def on_unmount(self) -> None:
        if isinstance(self._opened, BackupFiles):
            self._opened.__exit__(None, None, None)

    def crumbs(self) -> list[str]:
        return [self._server, "backups", self._row.id, "files"]

    # Actions

    def why_not(self, action: str) -> str:
        if action == "restore":
            return backup_facts.restorable(self._row)
        if action in ("open", "filter") and not isinstance(self._opened, BackupFiles):
            return "the files of this backup are not listed"
        return ""

    def command_words(self) -> list[str] | None:
        return ["list-files", self._server, self._row.id]

    def copyable(self) -> str:
        entry = self._entry
        return entry.path if entry and self.files.has_focus_within else self._row.id

    def do_restore(self) -> None:
        self.app.select_server(self._server)
        self.app.open_recovery(backup=self._row.id)

    @property
    def _shown(self) -> FileRows | None:
        rows = self.files.listing.rows
        return rows if isinstance(rows, FileRows) else None

    @property
    def _entry(self) -> Entry | None:
        """Return the entry under the cursor."""
        index = self.files.listing.index
        return self._shown.entry(index) if self._shown and index < len(self._shown) else None

    def on_listing_opened(self, event: Listing.Opened) -> None:
        if entry := self._entry:
            self.app.push_screen(TextBox("file of the backup", entry_text(entry)))

    # Display

    def world_changed(self, change: Change) -> None:
        self._show_facts()

    def _show_facts(self) -> None:
        failure = self._shown_failure = self._failure
        self.facts.show([*(failed(failure, indent=backup_facts.INDENT) if failure else ()),
                         *backup_facts.backup_fields(self._row, self._wal_problem)])

    @property
    def _failure(self) -> PgvaultError | None:
        if isinstance(self._opened, PgvaultError):
            return self._opened
        return self._shown.failure if self._shown else None

    async def _open(self) -> None:
        backup = self._row.backup
        assert backup
        if not backup.status.copied:
            self.files.listing.empty = "It is not complete: there is no list of its files."
            self.files.listing.changed()
            return
        opened = self._opened = await run_query(
            lambda: BackupFiles(self.app.queries.vault_of(self._server), backup), "read the manifest")
        if isinstance(opened, PgvaultError):
            self.files.listing.empty = "The files cannot be listed; the reason is shown above."
            self.files.listing.changed()
        else:
            self.files.listing.empty = "The backup holds no files."
            self.files.show(FileRows(opened))
        self._show_facts()
        self._look_after()
        self.update_frame()

    # The filter

    def on_list_pane_filtered(self, event: ListPane.Filtered) -> None:
        if isinstance(self._opened, BackupFiles):
            self._search(self._opened, event.pattern)

    @work(group="search", exclusive=True, exit_on_error=False)
    async def _search(self, opened: BackupFiles, pattern: str) -> None:
        """Show matching files as they are found; the next key cancels the search at once."""
        search = opened.search(pattern.removeprefix("!"), invert=pattern.startswith("!"))
        found, drawn = array("q"), 0.0
        self.files.listing.go_to(0)
        blocks = iter(search)
        try:
            while self.files.pattern == pattern:
                block = await run_query(lambda: next(blocks, None))
                if not isinstance(block, array):
                    self._show_found(FileRows(opened, found, failure=block), pattern, 1.0)
                    break
                found.extend(block)
                if time.monotonic() - drawn > _DRAWN_SECONDS:
                    self._show_found(FileRows(opened, found), pattern, search.searched / len(opened))
                    drawn = time.monotonic()
        finally:
            search.stop()
        if not self.files.pattern:
            self.files.retitle("files")

    def _show_found(self, rows: FileRows, pattern: str, share: float) -> None:
        """Show what was found. If the pattern was cleared meanwhile, all are shown already."""
        if self.files.pattern != pattern:
            return
        self.files.show_found(rows, complete=share >= 1)
        self.files.retitle("files" if share >= 1 else f"files, {share:.0%} searched")
        self._look_after()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._look_after()

    def _look_after(self) -> None:
        """Draw again soon; rows that cannot be read show the reason when they are drawn."""
        self.call_after_refresh(lambda: self._show_facts() if self._failure is not self._shown_failure else None)
