"""Every command that pgvault ran, here or on hosts: from this console, and in the jobs that ran while it was open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console.base import Change
from pgvault.console.command_runs import HERE, Runs, command_fields, in_short, merged
from pgvault.console.screens.text_box import TextBox
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import Part

_COLUMNS = (Column("time", 9), Column("where", 17), Column("took", 10, right=True), Column("exit", 5),
            Column("command", 20, flexible=True))
_EMPTY = """No command was run from here yet.
What is asked of servers and hosts is a pgvault command: x on the overview checks a server."""


class CommandLogScreen(View):
    view = "command-log"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("command-log")]
    DEFAULT_CSS = """
    CommandLogScreen #selected { height: 8; }
    CommandLogScreen.-wide #selected { height: 12; }
    """
    commands = getters.query_one("#commands", ListPane)
    selected = getters.query_one("#selected", Pane)
    about = getters.query_one("#about", Reading)

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, Runs] = {}

    def body(self) -> Iterable[Widget]:
        yield ListPane("commands, newest first", _COLUMNS, empty=_EMPTY, id="commands")
        yield Pane("selected", Reading(id="about"), id="selected")

    def on_mount(self) -> None:
        super().on_mount()
        self.commands.listing.focus()

    def world_changed(self, change: Change) -> None:
        if change is Change.SHOWN:
            self.show_commands()

    def show_commands(self) -> None:
        """Draw the log as it is now."""
        if self.is_mounted:
            shown = merged(self.app.queries.log.newest_first, f"{self.app.queries.commands.shown(())} ")
            self._runs = {runs.key: runs for runs in shown}
            self.commands.show(ItemRows(shown, _cells, lambda runs: runs.key, _text))
            self._show_about()
            self.update_frame()

    def _show_about(self) -> None:
        runs = self.runs
        self.selected.display = runs is not None
        self.about.show(command_fields(runs) if runs else ())

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_about()

    @property
    def runs(self) -> Runs | None:
        """Return the runs under the cursor."""
        return self._runs.get(self.commands.listing.key or "")

    def crumbs(self) -> list[str]:
        return ["commands"]

    def command_line(self) -> str | None:
        return self.copyable() or None

    def copyable(self) -> str:
        return self.runs.newest.command if self.runs else ""

    def why_not(self, action: str) -> str:
        return "no command is selected" if action in ("open", "copy", "command") and self.runs is None else ""

    def on_listing_opened(self, event: Listing.Opened) -> None:
        if runs := self.runs:
            self.app.push_screen(TextBox(f"command: {in_short(runs)}", "\n".join(runs.commands)))


def _cells(runs: Runs) -> Sequence[Part]:
    often = f"x{len(runs.every)} " if len(runs.every) > 1 else ""
    return [f"{runs.newest.at:%H:%M:%S}Z", runs.newest.where or HERE, runs.took, runs.ended, f"{often}{runs.summary}"]


def _text(runs: Runs) -> str:
    """Return the text that the filter searches, with the commands in full."""
    return " ".join([*map(str, _cells(runs)), *runs.commands])
