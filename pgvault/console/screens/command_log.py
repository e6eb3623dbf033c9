"""Every command that pgvault ran: from this console, and in the jobs that it saw at work, here or on hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console.app import Change
from pgvault.console.commands import Ran
from pgvault.console.fields import wrapped
from pgvault.console.screens.text_box import TextBox
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.text import Painted, Part, span

_COLUMNS = (Column("time", 9), Column("where", 17), Column("took", 11, right=True), Column("exit", 5),
            Column("command", 20, flexible=True))
_EMPTY = """No command was run from here yet.
What is asked of servers and hosts is a pgvault command: x on the overview checks a server."""


class CommandLogScreen(View):
    view = "command-log"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("command-log")]
    DEFAULT_CSS = """
    CommandLogScreen #about { height: 3; }
    """
    commands = getters.query_one("#commands", ListPane)
    about = getters.query_one("#about", LineView)

    def body(self) -> Iterable[Widget]:
        yield ListPane("commands, newest first", _COLUMNS, empty=_EMPTY, id="commands")
        yield LineView(id="about")

    def on_mount(self) -> None:
        super().on_mount()
        self.commands.listing.focus()

    def world_changed(self, change: Change) -> None:
        if change is Change.SHOWN:
            self.show_commands()

    def show_commands(self) -> None:
        """Draw the log as it is now."""
        if self.is_mounted:
            self.commands.show(ItemRows(self.app.world.log.newest_first, self._cells, lambda ran: str(ran.number)))
            self._show_about()
            self.update_frame()

    def _cells(self, ran: Ran) -> Sequence[Part]:
        """What all have in common is left out; the whole line stands below."""
        took, ended = _how(ran)
        style = "dim" if ran.seconds is None else "bad" if ran.status not in (0, 3) else \
            "warn" if ran.status else "good"
        command = ran.command.removeprefix(f"{self.app.world.commands.shown(())} ")
        return [f"{ran.at:%H:%M:%S}Z", ran.where or "here", took, Painted(ended.removeprefix("exit "), style),
                command]

    def _show_about(self) -> None:
        """The whole line, as far as there is room."""
        self.about.set_lines([" ", line] for line in wrapped(self.ran.command if self.ran else "", self.size.width - 2))

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_about()

    @property
    def ran(self) -> Ran | None:
        key = self.commands.listing.key
        return next((ran for ran in self.app.world.log.ran if str(ran.number) == key), None)

    def crumbs(self) -> list[str]:
        return ["commands"]

    def copyable(self) -> str:
        return self.ran.command if self.ran else ""

    def why_not(self, action: str) -> str:
        return "no command is selected" if action in ("open", "copy") and self.ran is None else ""

    def on_listing_opened(self, event: Listing.Opened) -> None:
        if ran := self.ran:
            ended = ", ".join(filter(None, (ran.where, f"{ran.at:%Y-%m-%d %H:%M:%S}Z", *_how(ran))))
            self.app.push_screen(TextBox(f"command: {ended}", ran.command))


def _how(ran: Ran) -> tuple[str, str]:
    """How long it took, and how it ended."""
    if ran.seconds is None:
        return "", "runs"
    return span(ran.seconds), "ended" if ran.status is None else f"exit {ran.status}"
