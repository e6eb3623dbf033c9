"""The first view: whether everything is protected, how far back, what runs, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.widget import Widget

from pgvault.console import server_status
from pgvault.console.base import Change
from pgvault.console.check_rows import WELL, CheckRow, CheckTable, check_table
from pgvault.console.checks import NoAnswer
from pgvault.console.fields import Field, laid_out
from pgvault.console.joblines import current
from pgvault.console.notice import notice
from pgvault.console.room import HIGHEST_STRIP, STRIP, Wish, shared
from pgvault.console.screens.newest_backups import NewestBackups
from pgvault.console.screens.server_view import ServerView
from pgvault.console.screens.view import bindings
from pgvault.console.widgets.bars import Bar
from pgvault.console.widgets.jobstrip import JobStrip
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import ListPane, Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.widgets.too_small import WHOLE
from pgvault.model.protection import Protection
from pgvault.model.text import Painted, Part, ago, width

if TYPE_CHECKING:
    from pgvault.console.widgets.strip import Strip

_NAME_AT_MOST, _NAME_BESIDE_A_WORD = 20, 16
_ENDED = 8
"""How many ended jobs are shown, where there is room."""
_LOOKED_AT = 16
"""How many of the newest jobs are considered for that; those that a newer success superseded are left out."""
_SERVERS = 4
"""How many servers are visible on any terminal; the border counts those in trouble."""
_JOBS = 2
_LEAST_REASONS, _REASONS, _REASONS_HIGH = 2, 8, 12
_NO_CHECKS, _CHECKS, _CHECKS_WHOLE = 2, 4, 6
"""The least lines of the checks: when there are none, when there are some, and for the first finding in full."""
_NO_JOBS = "nothing runs; backups and restores are seen here while they do"
_BACKUPS = 3
"""The least rows of backups for which their pane is shown."""
_UPPER = 12
"""The lines that the upper half keeps where panes are side by side."""
_HIGH = 40
"""The height, in lines, from which on a reason may be long."""
_LEAST = 3
"""The least lines of a pane with its border."""
_AROUND = 3
"""The lines of head, breadcrumb and keys."""
_BESIDE_CHECKS = 10
"""The lines that jobs, backups and borders need where all checks are listed."""
_BROAD = 160
"""The width, in columns, from which on two panes are side by side."""
_NO_SERVERS = """No servers yet.

Add a table to {path}:

  [servers.main-db]
  conninfo = "host=10.0.0.5 user=pgvault dbname=postgres"

then start the console again. pgvault check main-db says what the server lacks."""


class OverviewScreen(ServerView):
    view = "overview"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("overview")]
    DEFAULT_CSS = """
    OverviewScreen {
        & #upper, & #stand, & #found { height: auto; }
        &.-broad #upper { layout: horizontal; }
        &.-broad #stand, &.-broad #found { width: 1fr; }
    }
    """
    notice = getters.query_one("#notice", Bar)
    servers = getters.query_one("#servers", ListPane)
    why = getters.query_one("#why", Pane)
    reasons = getters.query_one("#reasons", Reading)
    checks = getters.query_one("#checks", ListPane)
    strip = getters.query_one("#strip", JobStrip)
    newest = getters.query_one(NewestBackups)

    def __init__(self) -> None:
        super().__init__()
        self._table = CheckTable((), ())
        self._missing: NoAnswer | None = None
        """The missing answer that the list reports; None for none."""
        self._lists_all: bool | None = None
        """Whether checks that are well are listed and not only counted; None to list them where there is room."""
        self.time: Strip | None = None
        """The timeline strip, loaded and mounted when there is room for it for the first time."""

    def body(self) -> Iterable[Widget]:
        names, words = self.app.queries.servers, [*map(self.app.environment_of, self.app.queries.servers)]
        most = _NAME_BESIDE_A_WORD if any(words) else _NAME_AT_MOST
        columns = [Column("server", min(most, max(map(width, names), default=8)), flexible=True)]
        if any(words):
            columns.append(Column("", min(10, max(map(width, words)))))
        columns += [Column("state", 9), Column("backup", 6, right=True), Column("restorable", 16), Column("checks", 10),
                    Column("WAL", 12, wide=True), Column("runs", 14, wide=True)]
        yield Bar(id="notice")
        with Container(id="upper"):
            with Vertical(id="stand"):
                yield ListPane("servers", columns, id="servers",
                               empty=_NO_SERVERS.format(path=self.app.queries.config.path))
                yield Pane("", Reading(id="reasons"), id="why")
            with Vertical(id="found"):
                yield ListPane("checks", (), id="checks", headed=False)
                yield Pane("jobs", JobStrip(id="strip"), id="jobs")
        yield NewestBackups(id="newest")

    def on_mount(self) -> None:
        super().on_mount()
        self.servers.listing.focus()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_checks)
        self.call_after_refresh(self._fit)

    def crumbs(self) -> list[str]:
        return list(filter(None, (self.app.server, "overview")))

    # Actions

    def why_not(self, action: str) -> str:
        if action in ("check-all", "open") and not self.app.server:
            return "no server is configured yet"
        return self.why_not_server(action)

    def command_words(self) -> list[str] | None:
        if not self.app.server:
            return None
        return ["check" if self.checks.has_focus_within else "status", self.app.server]

    def copyable(self) -> str:
        if self.checks.has_focus_within and (row := self._check_row):
            return row.text
        return f"{self.app.server}\n{self.reasons.text}"

    def do_check(self) -> None:
        self.app.check(self.app.server)

    def do_check_all(self) -> None:
        self.app.check("all")

    def on_listing_moved(self, event: Listing.Moved) -> None:
        if event.listing is self.servers.listing and event.key:
            self.app.select_server(event.key)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        if event.listing is self.servers.listing:
            self.app.switch_mode("backups")
        elif event.listing is self.newest.listing:
            self.newest.open()
        elif event.key == WELL:
            self._lists_all = not self._shows_all
            self._show_checks()
            self._fit()
        elif row := self._check_row:
            from pgvault.console.screens.text_box import TextBox

            self.app.push_screen(TextBox(row.title, row.text))

    # Display

    def world_changed(self, change: Change) -> None:
        if change in (Change.SHOWN, Change.VAULT, Change.CHECKS, Change.CLOCK, Change.JOBS):
            self._show_servers()
        if change is Change.SHOWN:
            self.servers.listing.go_to_key(self.app.server)
        if change is not Change.JOBS:
            self._show_reasons()
        if change in (Change.SHOWN, Change.SERVER, Change.CHECKS, Change.CLOCK):
            self._show_checks()
        self._show_jobs()
        self.app.notice = notice(self.app.options, self.app.queries.jobs)
        self.notice.display = bool(self.app.notice)
        self.notice.set([" ", Painted(self.app.notice, "accent")])
        self._fit()
        if change in (Change.SHOWN, Change.SERVER, Change.VAULT):
            self._show_below()

    def _show_servers(self) -> None:
        known = [(self.app.protections.get(name), self.app.checks.found.get(name)) for name in self.app.queries.servers]
        self.servers.retitle("  ".join(filter(None, ("servers", server_status.counted(known)))))
        self.servers.show(ItemRows(self.app.queries.servers, self._cells, str))

    def _cells(self, name: str) -> list[Part]:
        known, now = self.app.protections.get(name), self.app.queries.now()
        word: list[Part] = [Painted(self.app.environment_of(name), "accent")] if len(
            self.servers.listing.columns) > 7 else []
        runs = ", ".join(each.job.kind.value for each in self.app.queries.jobs.running if each.job.server == name)
        return [name, *word, server_status.state_part(known, self.app.checks.found.get(name), self.app.glyphs),
                server_status.last_backup(known, now), server_status.reach(known, now),
                server_status.check_part(self.app.checks, name, now), server_status.wal(known),
                Painted(runs, "accent") if runs else Painted("-", "dim")]

    def _show_reasons(self) -> None:
        server = self.app.server
        if not server:
            return
        word = self.app.environment_of(server)
        self.why.retitle(f"{server}  {word}".rstrip())
        self.reasons.show(self._reasons())

    def _reasons(self) -> Sequence[Field]:
        server, queries = self.app.server, self.app.queries
        if not server:
            return ()
        fields = server_status.status_fields(
            self.app.protections.get(server), queries.config.server(server), self.app.checks.found.get(server),
            self.app.checks.missing.get(server), queries.now(), read_only=self.app.options.read_only)
        return *fields, *(self.newest.about() if self._is_broad and self.size.height >= _HIGH else ())

    def _show_checks(self) -> None:
        server, checks, now = self.app.server, self.app.checks, self.app.queries.now()
        word = str(server_status.check_part(checks, server, now))
        if (missing := checks.missing.get(server)) and server not in checks.running:
            word = f"{word} {ago(missing.at, now)}; x asks again"
        self.checks.retitle(f"checks  {word}" if server else "checks")
        self.checks.listing.empty = self._no_checks()
        table = self._table = check_table(checks.found.get(server), missing, now, self._pane_width, self.app.glyphs,
                                          opened=self._shows_all)
        self.checks.listing.columns = table.columns
        self.checks.show(ItemRows(table.rows, lambda row: row.cells, lambda row: row.key, lambda row: row.text,
                                  every=table.every, whole=lambda row: row.title))
        if missing is not self._missing:  # it is the first row, wherever the cursor was
            self._missing = missing
            self.checks.listing.go_to(0)

    @property
    def _shows_all(self) -> bool:
        if self._lists_all is not None:
            return self._lists_all
        found = self.app.checks.found.get(self.app.server)
        return self._is_broad and found is not None and \
            len(found.findings) <= self.size.height - _AROUND - HIGHEST_STRIP - _BESIDE_CHECKS

    def _no_checks(self) -> str:
        server = self.app.server
        if server in self.app.checks.running:
            return "The server is asked; each finding comes with its cause and what to do."
        return "Not checked yet: x checks this server, a all of them." if server else ""

    def _show_jobs(self) -> None:
        jobs = self.app.queries.jobs
        living = jobs.running
        names = {each.job.id for each in living}
        ended = current(jobs.job(job_id) for job_id in jobs.ids[:_LOOKED_AT + len(names)] if job_id not in names)
        self.strip.show(living, ended[:_ENDED], self.app.queries.now(), empty=self._no_jobs())

    def _no_jobs(self) -> str:
        if problem := self.app.jobs_problem:
            return f"the jobs cannot be read: {problem.message}"
        return _NO_JOBS if self.app.queries.jobs.is_known else "the jobs are being read"

    @property
    def _check_row(self) -> CheckRow | None:
        """Return the check under the cursor."""
        listing = self.checks.listing
        rows = listing.rows.items if isinstance(listing.rows, ItemRows) else ()
        return rows[listing.index] if listing.index < len(rows) else None

    @property
    def _is_broad(self) -> bool:
        return self.size.width >= _BROAD and bool(self.app.server)

    @property
    def _pane_width(self) -> int:
        """Return the columns of a pane, which shares the screen with another one where it is broad."""
        return (self.size.width // 2 if self._is_broad else self.size.width) - 2

    def _fit(self) -> None:
        """Make each pane as high as its content, the most important first; without a server there is one pane."""
        if not self.is_attached or not self.size:
            return
        any_server = bool(self.app.server)
        self.set_class(self._is_broad, "-broad")
        lines = self.size.height - _AROUND - bool(self.app.notice)
        if not any_server:
            for each in (self.query_one("#jobs"), self.why, self.checks):
                each.display = False
            self.servers.styles.height = lines
            self.newest.display = False
            return
        heights = self._side_by_side(lines) if self._is_broad else self._stacked(lines)
        for part in ("servers", "why", "checks", "jobs"):
            pane = self.query_one(f"#{part}")
            pane.display = heights[part] > 0
            pane.styles.height = heights[part]
        had_room = self._has_room_for_time, self.newest.display
        self._give_time(heights["time"])
        self.newest.display = bool(heights["newest"])
        if had_room != (self._has_room_for_time, self.newest.display):
            self._show_below()

    @property
    def _has_room_for_time(self) -> bool:
        return self.time is not None and self.time.has_room

    def _give_time(self, lines: int) -> None:
        if self.time is None and lines:
            from pgvault.console.widgets.strip import Strip

            self.time = Strip("WAL: 3 looks closer", id="time")
            self.mount(self.time, before=self.newest)
        if self.time:
            self.time.give_room(lines)

    def _show_below(self) -> None:
        """Read and show the panes for which there is room."""
        if self.time and self.time.has_room:
            self.time.read(self.app.server)
        self.newest.read()

    def on_newest_backups_read(self, event: NewestBackups.Read) -> None:
        self._show_reasons()
        self._fit()

    def on_strip_read(self, event: Strip.Read) -> None:
        self._fit()

    def _stacked(self, lines: int) -> dict[str, int]:
        """Lay out all panes below each other. Jobs precede the checks if there is no room for both: the worst check is
        shown above.
        """
        stand, found, below = self._stand(), self._found(), self._below()
        if self.size.height < WHOLE[1] and self.app.queries.jobs.running:
            found[:2] = reversed(found[:2])
        heights = shared(lines, (*stand[:2], *found[:2], stand[2], found[2], *below[:2], stand[3], *found[3:],
                                 below[2]))
        if not heights["newest"]:
            heights["checks" if heights["checks"] else "why"] += lines - sum(heights.values())
        return heights

    def _side_by_side(self, lines: int) -> dict[str, int]:
        """Lay out the state of the servers to the left of checks and jobs, and the rest below them."""
        below = shared(lines - _UPPER, self._below()[:2])
        room = lines - sum(below.values())
        stand, found = shared(room, self._stand()), shared(room, self._found())
        upper = room if not below["newest"] else max(sum(stand.values()), sum(found.values()))
        if below["time"]:
            below["time"] += min(HIGHEST_STRIP - STRIP, lines - upper - sum(below.values()))
        stand["why"] += upper - sum(stand.values())
        found["checks"] += upper - sum(found.values())
        return {**stand, **found, **below}

    def _stand(self) -> list[Wish]:
        servers = len(self.app.queries.servers)
        reasons = len(laid_out(self._reasons(), self._pane_width))
        most = reasons if self._is_broad else _REASONS_HIGH if self.size.height >= _HIGH else _REASONS
        return [Wish("servers", min(servers, _SERVERS) + 3), Wish("why", _LEAST_REASONS + 2),
                Wish("why", min(reasons, most) + 2), Wish("servers", servers + 3)]

    def _found(self) -> list[Wish]:
        table, jobs = self._table, self.strip.wanted
        seen = min(table.urgent, max(_CHECKS, min(table.foremost, _CHECKS_WHOLE))) if table.rows else _NO_CHECKS
        return [Wish("checks", seen + 2, _LEAST), Wish("jobs", min(jobs, _JOBS) + 2, _LEAST),
                Wish("checks", table.urgent + 2, _LEAST), Wish("checks", len(table.rows) + 2, _LEAST),
                Wish("jobs", jobs + 2, _LEAST)]

    def _below(self) -> list[Wish]:
        known = self.app.protections.get(self.app.server)
        backups = known.backup_count if isinstance(known, Protection) else 0
        least = min(backups, _BACKUPS) + 3 if backups else 1
        time = STRIP if backups and not (self.time and self.time.has_nothing) else 0
        return [Wish("time", time, STRIP),
                Wish("newest", least * bool(backups), least), Wish("newest", (backups + 3) * bool(backups), least)]
