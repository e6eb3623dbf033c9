"""All backups, with the reason why each fits the point or does not; one that fits can be chosen."""

from __future__ import annotations

from collections.abc import Iterable

from textual import getters
from textual.widget import Widget

from pgvault.console.fields import Field
from pgvault.console.recovery.answer import Answer, Fit
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import Painted, Part, size

_COLUMNS = [Column("backup", 16), Column("", 8), Column("WAL stored", 10, right=True), Column("", 20, flexible=True)]
_AUTO = "auto"


class BackupChoice(Dialog[str]):
    """Dismissed with a backup's id, or `auto` for the one that is proposed for the point."""

    DEFAULT_CSS = """
    BackupChoice Listing { height: auto; max-height: 12; }
    BackupChoice Reading { height: 4; margin-top: 1; }
    """
    title_text = "backups, newest first"
    keys = ("enter", "choose"), ("esc", "back")
    listing = getters.query_one(Listing)
    reason = getters.query_one(Reading)

    def __init__(self, answer: Answer, chosen: str) -> None:
        super().__init__()
        self._fits = {fit.backup: fit for fit in answer.fits}
        self._chosen = chosen

    def body(self) -> Iterable[Widget]:
        yield Listing(_COLUMNS, headed=True)
        yield Reading()

    def on_mount(self) -> None:
        self.listing.styles.height = min(len(self._fits) + 2, 12)
        self.listing.show(ItemRows([_AUTO, *self._fits], self._cells, str))
        self.listing.go_to_key(self._chosen)
        self.listing.focus()
        self._explain()

    def _cells(self, backup: str) -> list[Part]:
        fit = self._fits.get(backup)
        if fit is None:
            return ["automatic", Painted("best", "good"), "", "the one proposed for the point"]
        word = Painted("fits", "good") if fit.fits else Painted("no", "dim")
        return [fit.backup, word, size(fit.wal_bytes) if fit.wal_bytes is not None else "-", fit.reason]

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._explain()

    def _explain(self) -> None:
        fit = self._fits.get(self.listing.key)
        self.reason.show([Field("", _sentence(fit) if fit else "pgvault takes the backup with the least WAL to replay "
                                                               "up to the point.", "", 1)])

    def on_listing_opened(self, event: Listing.Opened) -> None:
        fit = self._fits.get(event.key)
        if fit and not fit.fits:
            self.console.tell(f"backup {fit.backup} does not fit: it {fit.reason}", "warning")
        else:
            self.dismiss(event.key)


def _sentence(fit: Fit) -> str:
    return f"Backup {fit.backup} {fit.reason}."
