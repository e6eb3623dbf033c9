"""The log file: its end at once however large it is, filtered, followed, and written to another file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.widget import Widget

from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.log_rows import COLUMNS, AllLines, FoundLines, LastLines, LogRows
from pgvault.console.queries import run_query
from pgvault.console.screens.asking import AskName
from pgvault.console.screens.text_box import FailureBox, TextBox
from pgvault.console.screens.view import View, bindings
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane
from pgvault.io.lines import Change as FileChange
from pgvault.io.lines import LineFile
from pgvault.io.quoting import join
from pgvault.model.errors import PgvaultError

FOLLOW_SECONDS = 1.0
_TAIL = "1000"
"""How many lines of the end the command shown by `c` prints."""
_NOT_CONFIGURED = """No log file is configured.

pgvault then logs nowhere but in the jobs' journals (4). Set it in {config}:

  [vault]
  log_file = "/var/log/pgvault.log"

and start the console again."""
_MISSING = """The log file is not there yet. The first job makes it: b on the overview backs up a server.

{path}"""
_EMPTY = "The log file is empty."
_FAILED = """{message}

{detail}
{hint}"""


class LogsScreen(View):
    view = "logs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("logs")]
    lines = getters.query_one("#lines", ListPane)

    def __init__(self) -> None:
        super().__init__()
        self._file: LineFile | None = None
        self._rows: LogRows | None = None
        self._found: FoundLines | None = None
        self._follows = False
        self._reading = asyncio.Lock()

    def body(self) -> Iterable[Widget]:
        yield ListPane("log", COLUMNS, headed=False, id="lines")

    def on_mount(self) -> None:
        super().on_mount()
        self.lines.listing.focus()
        self.set_interval(FOLLOW_SECONDS, self._tick)

    def on_unmount(self) -> None:
        if self._file:
            self._file.close()

    @property
    def log_file(self) -> Path | None:
        return self.app.queries.config.vault.log_file

    def world_changed(self, change: Change) -> None:
        if change in (Change.SHOWN, Change.CLOCK) and not (self.app.paused and self._rows):
            self._read_on()

    def _tick(self) -> None:
        if self._follows and not self.app.paused and self.is_current:
            self._read_on()

    def _read_on(self) -> None:
        run_in_background(self, "read", self._read, exclusive=False)

    # Reading

    async def _read(self) -> None:
        """Open the file if it is not open yet, and read what was appended."""
        async with self._reading:
            if self._file is None:
                await self._open()
            elif (change := await run_query(self._file.grew, "read the log file")) is not FileChange.NONE:
                await self._count(afresh=change is FileChange.REPLACED)

    async def _open(self) -> None:
        path = self.log_file
        if path is None:
            self._say(_NOT_CONFIGURED.format(config=self.app.queries.config.path))
            return
        file = await run_query(lambda: _opened(path), "open the log file")
        if isinstance(file, PgvaultError):
            self._say(_FAILED.format(message=file.message, detail=file.detail, hint=file.hint))
        elif file is None:
            self._say(_MISSING.format(path=path))
        else:
            self._file = file
            self._say(_EMPTY)
            await self._count(afresh=True)

    async def _count(self, *, afresh: bool) -> None:
        """Show the last lines at once, and all as soon as they are counted; the cursor stays where it was."""
        file, listing = self._file, self.lines.listing
        assert file
        at_end = afresh or self._follows
        if afresh:
            self._show(await asyncio.to_thread(LastLines, file))
            listing.go_to(len(listing.rows))
        while not await asyncio.to_thread(file.index_some):
            pass
        from_end = len(listing.rows) - listing.index
        self._show(AllLines(file))
        if self.lines.pattern:
            await self._find(self.lines.pattern, afresh)
        elif afresh:
            listing.go_to(len(listing.rows) - from_end)
        if at_end and self._follows:
            listing.go_to(len(listing.rows) - 1)

    def _show(self, rows: LogRows) -> None:
        self._rows = rows
        self.lines.show(rows)
        self.update_frame()

    def _say(self, text: str) -> None:
        """Show a text in place of lines, as long as there are none."""
        self.lines.listing.empty = text
        self.lines.listing.changed()

    # Filtering

    def on_list_pane_filtered(self, event: ListPane.Filtered) -> None:
        if self._found is None or self._found.pattern != event.pattern:
            run_in_background(self, "filter", self._find, event.pattern, True)

    async def _find(self, pattern: str, afresh: bool) -> None:
        """Show matching lines as they are found."""
        file = self._file
        if file is None:
            return
        if afresh or self._found is None:
            self._found = FoundLines(file, pattern)
        else:
            self._found.grew()
        found = self._found
        more = True
        while more and found is self._found and pattern == self.lines.pattern:
            more = await asyncio.to_thread(found.go_on)
            if found is self._found and pattern == self.lines.pattern:
                self.lines.show_found(found, complete=not more)

    # Actions

    def crumbs(self) -> list[str]:
        return ["logs", *([str(self.log_file)] if self.log_file else [])]

    def _text(self) -> str:
        """Return the text of the line under the cursor."""
        rows = self._shown
        return rows.text(self.lines.listing.index) if rows and len(rows) else ""

    @property
    def _shown(self) -> LogRows | None:
        return self._found if self.lines.pattern else self._rows

    def command_line(self) -> str | None:
        """Return the command that shows the same lines in a terminal."""
        if (path := self.log_file) is None:
            return None
        if pattern := self.lines.pattern:
            inverted = ["-v"] if pattern.startswith("!") else []
            return join(["grep", "-F", "-i", *inverted, "-e", pattern.removeprefix("!"), str(path)])
        return join(["tail", "-n", _TAIL, *(["-f"] if self._follows else []), str(path)])

    def copyable(self) -> str:
        return self._text()

    def why_not(self, action: str) -> str:
        if action == "command":
            return "" if self.log_file else "no log file is configured"
        if action not in ("open", "follow", "export", "filter") or (self._rows is not None and len(self._rows)):
            return ""
        return "no log file is configured" if self.log_file is None else "the log has no lines"

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self.app.push_screen(TextBox("line of the log", self._text()))

    def do_follow(self) -> None:
        self._follow(not self._follows)
        if self._follows:
            self.lines.listing.go_to(len(self.lines.listing.rows) - 1)
            self._read_on()

    def _follow(self, follows: bool) -> None:
        self._follows = follows
        self.lines.retitle("log, following" if follows else "log")

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Stop following the end when the cursor goes back to an earlier line."""
        if self._follows and event.listing.index < len(event.listing.rows) - 1:
            self._follow(False)

    # Export

    def do_export(self) -> None:
        """Write the lines that match the filter or, without one, those on the screen to a file."""
        rows, listing = self._shown, self.lines.listing
        assert rows
        indexes = range(len(rows)) if self.lines.pattern else \
            range(listing.top, min(listing.top + listing.size.height, len(rows)))
        which = f"that /{self.lines.pattern} finds" if self.lines.pattern else "on the screen"
        name = Path.cwd() / f"pgvault-log-{self.app.queries.now():%Y%m%dT%H%M%SZ}.txt"

        def named(path: Path | None) -> None:
            if path:
                run_in_background(self, "export", self._export, rows, indexes, path, exclusive=False)

        what = f"{_lines(len(indexes))} {which} {'is' if len(indexes) == 1 else 'are'} written to:"
        self.app.push_screen(AskName("write lines of the log to a file", f"The {what}", str(name)),
                             named)

    async def _export(self, rows: LogRows, indexes: Sequence[int], path: Path) -> None:
        written = await run_query(lambda: _write(rows, indexes, path), "write the lines")
        if isinstance(written, PgvaultError):
            self.app.push_screen(FailureBox("the lines are not written", written))
        else:
            self.app.tell(f"{_lines(written)} written to {path}")


def _lines(count: int) -> str:
    return f"{count:,} line{'s' * (count != 1)}"


def _opened(path: Path) -> LineFile | None:
    """Open the file; None if it does not exist."""
    try:
        return LineFile(path)
    except FileNotFoundError:
        return None


def _write(rows: LogRows, indexes: Sequence[int], path: Path) -> int:
    with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:
        for index in indexes:
            file.write(rows.text(index) + "\n")
    return len(indexes)
