"""The backups of the selected server, the newest first, and the facts of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import getters, work
from textual.binding import BindingType
from textual.events import Resize
from textual.widget import Widget

from pgvault.console import backup_facts
from pgvault.console.backup_facts import Row
from pgvault.console.base import Change
from pgvault.console.fields import Field, failed, laid_out
from pgvault.console.queries import run_query
from pgvault.console.room import HIGHEST_STRIP, STRIP, Wish, shared
from pgvault.console.screens import retention
from pgvault.console.screens.server_view import ServerView
from pgvault.console.screens.view import bindings
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import ItemRows
from pgvault.console.widgets.strip import Strip
from pgvault.model.catalogue import Catalogue
from pgvault.model.errors import PgvaultError

_LEAST_ROWS, _ROWS = 3, 7
_FACTS = 9
_HIGH = 40
"""The height of a screen, in lines, from which on there is plenty of room."""
_AROUND = 3
"""The lines of head, breadcrumb and keys."""


class BackupsScreen(ServerView):
    view = "backups"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("backups")]
    backups = getters.query_one("#backups", ListPane)
    details = getters.query_one("#details", Reading)
    time = getters.query_one(Strip)

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[str, Catalogue | PgvaultError] = {}
        """The rows by server: those of a server seen before are shown at once, and read again."""
        self._basis: dict[str, object] = {}
        """The server's protection when the backups were read; they are read again when it changes."""
        self._fields: tuple[Field, ...] = ()
        """The fields of the details."""

    def body(self) -> Iterable[Widget]:
        yield ListPane("backups", backup_facts.COLUMNS, id="backups")
        yield Pane("details", Reading(id="details"), id="about")
        yield Strip("WAL: 3 looks closer", id="time")

    def on_mount(self) -> None:
        super().on_mount()
        self.backups.listing.focus()

    def crumbs(self) -> list[str]:
        row = self.row
        return list(filter(None, (self.app.server, "backups", row.id if row else "")))

    @property
    def row(self) -> Row | None:
        """Return the row under the cursor."""
        catalogue = self._read.get(self.app.server)
        if not isinstance(catalogue, Catalogue):
            return None
        key = self.backups.listing.key
        return next((row for row in backup_facts.rows(catalogue) if row.id == key), None)

    # Actions

    def why_not(self, action: str) -> str:
        server, row = self.app.server, self.row
        if reason := self.why_not_server(action):
            return reason
        if action in ("open", "restore", "keep", "delete") and row is None:
            return "the backups could not be read" if self._failed else f"there is no backup of {server} yet" \
                if server in self._read else f"the backups of {server} are being read"
        if action in ("open", "keep", "delete") and row and row.backup is None:
            return f"the facts of backup {row.id} cannot be read"
        if action == "keep" and row and row.backup and not row.backup.status.copied:
            return f"backup {row.id} has no files"
        return backup_facts.restorable(row) if action == "restore" and row else ""

    @property
    def _failed(self) -> bool:
        return isinstance(self._read.get(self.app.server), PgvaultError)

    def command_words(self) -> list[str] | None:
        if not self.app.server:
            return None
        row = self.row
        return ["show-backup", self.app.server, row.id] if row else ["list-backups", self.app.server]

    def copyable(self) -> str:
        return self.row.id if self.row else self.app.server

    def do_restore(self) -> None:
        if self.row:
            self.app.open_recovery(backup=self.row.id)

    def do_keep(self) -> None:
        if self.row and self.row.backup:
            retention.keep(self.app, self.app.server, self.row.backup)

    def do_delete(self) -> None:
        if self.row:
            retention.delete(self.app, self.app.server, self.row.id)

    def do_expire(self) -> None:
        retention.expire(self.app, self.app.server)

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_details()
        self.update_frame()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        from pgvault.console.screens.backup import BackupScreen

        if reason := self.why_not("open"):
            self.app.tell(reason, "warning")
        elif (row := self.row) and isinstance(catalogue := self._read[self.app.server], Catalogue):
            self.app.push_screen(BackupScreen(self.app.server, row, catalogue.wal_problem))

    # Display

    def world_changed(self, change: Change) -> None:
        server = self.app.server
        if change in (Change.SHOWN, Change.SERVER):
            self.backups.clear_filter()
        if change is not Change.JOBS and change is not Change.CHECKS:
            self._show()
        moved = self._basis.get(server) is not self.app.protections.get(server)
        if server and (change in (Change.SHOWN, Change.SERVER) or (change is Change.VAULT and moved)):
            self._look(server)

    @work(group="catalogue", exclusive=True, exit_on_error=False)
    async def _look(self, server: str) -> None:
        basis = self.app.protections.get(server)
        self._read[server] = await run_query(lambda: self.app.queries.catalogue(server), "read the catalogue")
        self._basis[server] = basis
        self._show()
        self.update_frame()

    def _show(self) -> None:
        server, now = self.app.server, self.app.queries.now()
        catalogue = self._read.get(server)
        rows = backup_facts.rows(catalogue) if isinstance(catalogue, Catalogue) else []
        word = self.app.environment_of(server)
        self.backups.retitle(" ".join(filter(None, ("backups of", server, word))) if server else "backups")
        self.backups.listing.empty = self._empty(catalogue)
        self.backups.show(ItemRows(rows, lambda row: backup_facts.cells(row, now), lambda row: row.id))
        self._show_details()

    def _show_details(self) -> None:
        catalogue, row = self._read.get(self.app.server), self.row
        fields: Iterable[Field] = ()
        if isinstance(catalogue, PgvaultError):
            fields = failed(catalogue, indent=backup_facts.INDENT)
        elif catalogue and row:
            fields = backup_facts.backup_fields(row, catalogue.wal_problem)
        self.query_one("#about", Pane).retitle(f"backup {row.id}" if row else "details")
        self._fields = tuple(fields)
        self.details.show(self._fields)
        if row and row.backup and row.backup.timeline:
            self.time.point_at(row.backup.timeline, row.backup.end_time or row.backup.started_at)
        self._fit()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._fit)

    def on_strip_read(self, event: Strip.Read) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give the details their height, show the timeline strip if there is room, and give the rest to the list."""
        if not self.is_attached or not self.size:
            return
        rows, facts = len(self.backups.listing.rows), len(laid_out(self._fields, self.size.width - 2))
        time = STRIP if rows and not self.time.has_nothing else 0
        lines = self.size.height - _AROUND
        border = 2 if facts else 0
        heights = shared(lines, (
            Wish("list", min(rows, _LEAST_ROWS) + 3), Wish("facts", min(facts, _FACTS) + border),
            Wish("list", _ROWS + 3), Wish("facts", facts + border), Wish("time", time, STRIP),
            Wish("list", rows + 3), Wish("time", HIGHEST_STRIP if time else 0, STRIP)))
        self.query_one("#about").display = bool(facts)
        rest = lines - sum(heights.values())
        side = "facts" if facts and self.size.height >= _HIGH else "list"  # with plenty of room they stay close
        heights[side] += rest
        self.query_one("#about").styles.height = heights["facts"]
        self.backups.styles.height = heights["list"]
        self.time.give_room(heights["time"])
        if self.time.has_room:
            self.time.read(self.app.server)

    def _empty(self, catalogue: Catalogue | PgvaultError | None) -> str:
        server = self.app.server
        if not server:
            return "No servers yet: 1 shows how the first one is made."
        if catalogue is None:
            return "The catalogue is being read."
        if isinstance(catalogue, PgvaultError):
            return "The backups cannot be read; the reason is shown below."
        if self.app.options.read_only:
            return f"No backup of {server} was taken yet.\npgvault backup {server} takes the first one."
        return f"No backup of {server} was taken yet.\nb takes the first one; its plan is shown before."
