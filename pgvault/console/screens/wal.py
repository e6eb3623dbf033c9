"""The WAL view: the archive on a timeline, the place under the cursor, and the recovery that begins there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.events import DescendantFocus, Resize
from textual.timer import Timer
from textual.widget import Widget

from pgvault.console.background import run_in_background
from pgvault.console.base import Change
from pgvault.console.fields import Field, failed, laid_out
from pgvault.console.queries import Queries, run_query
from pgvault.console.recovery.accident import marks
from pgvault.console.recovery.draft import What
from pgvault.console.recovery.search import Search, Stand, search_words
from pgvault.console.screens.server_view import ServerView
from pgvault.console.screens.text_box import TextBox
from pgvault.console.screens.view import bindings
from pgvault.console.screens.wal_lists import NearbyPane
from pgvault.console.screens.wal_states import nothing_archived, reading, remark, title
from pgvault.console.timeline.around import COUNT, find
from pgvault.console.timeline.axis import microseconds, moment
from pgvault.console.timeline.chart import Chart, chart_of
from pgvault.console.timeline.cursor import Cursor, cursor_fields, position, reach_of, recovery_point
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.timeline import TimelineView
from pgvault.console.widgets.too_small import WHOLE
from pgvault.model.errors import NotFound, PgvaultError
from pgvault.model.lsn import Lsn
from pgvault.model.protection import Protection
from pgvault.model.restore_request import point_options
from pgvault.model.times import utc
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import Vault

_DETAILS, _LEAST_DETAILS = 5, 3
"""The lines of details below the timeline: as a rule, and at least."""
_LEAST_LIST = 6
"""The least lines of the list, with its border."""
_REST = 0.2
"""The seconds that the cursor has to rest before the WAL there is read."""
_PROGRESS = 0.3
"""The seconds between two drawings of what a search found."""


class WalScreen(ServerView):
    view = "wal"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("wal")]
    pane = getters.query_one("#wal-timeline", Pane)
    timeline = getters.query_one(TimelineView)
    details = getters.query_one("#wal-details", LineView)
    nearby = getters.query_one("#wal-list", NearbyPane)

    def __init__(self) -> None:
        super().__init__()
        self._server = ""
        self._stamp: object = None
        self._problem: PgvaultError | None = None
        """Why the WAL could not be read, or not again."""
        self._is_read = False
        """True once the vault was asked about this server."""
        self._accidents: dict[str, Search] = {}
        """The search for accidents of each server."""
        self._rest: Timer | None = None
        self._progress: Timer | None = None

    def body(self) -> Iterable[Widget]:
        yield Pane("wal", TimelineView(id="wal-lanes"), LineView(id="wal-details"), id="wal-timeline")
        yield NearbyPane(id="wal-list")

    def crumbs(self) -> list[str]:
        return [self.app.server, "wal", *(["accidents"] if self.nearby.shows_accidents else [])]

    # State

    @property
    def chart(self) -> Chart | None:
        """Return the chart; None before it was read, and if there is no WAL to show."""
        return self.timeline.chart

    def world_changed(self, change: Change) -> None:
        if self.app.server != self._server:
            self._server, self._stamp, self._problem, self._is_read = self.app.server, None, None, False
            self.nearby.around, self.nearby.search = None, self._accidents.setdefault(self._server, Search())
            self.timeline.clear()
            self._draw()
        if change in (Change.SHOWN, Change.SERVER, Change.VAULT):
            run_in_background(self, "wal", self._read)
        elif change is Change.CLOCK:
            self._draw()

    async def _read(self) -> None:
        server, queries = self._server, self.app.queries
        if not server:
            return
        stamp = await run_query(lambda: queries.stamp(server))
        if stamp == self._stamp:
            return
        chart = await run_query(lambda: _chart(queries, server))
        if server != self._server:
            return
        self._problem, self._is_read = chart if isinstance(chart, PgvaultError) else None, True
        if isinstance(chart, Chart):
            self._stamp = stamp
            self._show(chart)
            if chart.picture.unread and not self.app.options.read_only and not self._is_busy("wal-facts"):
                run_in_background(self, "wal-facts", self._read_on, server)
        self._draw()

    async def _read_on(self, server: str) -> None:
        """Have the verb read archived WAL that was not read yet, a portion at a time; the view follows the vault's
        change.
        """
        await self.app.queries.commands.ask("wal", server)

    def _is_busy(self, group: str) -> bool:
        return any(worker.group == group and worker.node is self and not worker.is_finished for worker in self.workers)

    def _show(self, chart: Chart) -> None:
        accidents = marks(self.nearby.search.newest_first)
        self.timeline.show(chart.with_accidents(accidents), microseconds(self.app.queries.now()))
        if around := self.nearby.around:  # more may have arrived since
            self.nearby.around = replace(around, is_last=False)
            self.timeline.set_exact(around.exact(self.timeline.cursor.timeline))

    @property
    def _is_receiving(self) -> bool:
        protection = self.app.protections.get(self._server)
        return isinstance(protection, Protection) and protection.receiver is not None and not protection.unheard

    # Display

    def _draw(self) -> None:
        chart, now = self.chart, self.app.queries.now()
        is_shown = chart is not None and any(lane.slots.numbers for lane in chart.lanes)
        for widget in (self.timeline, self.nearby):
            widget.display = is_shown
        self.pane.styles.height = "auto" if is_shown else "1fr"
        self.details.styles.height = self._room_for_details if is_shown else "1fr"
        if chart and is_shown:
            self._arrange()
            self.timeline.set_receiving(microseconds(now) if self._is_receiving else None)
            self.pane.retitle(title(chart, self.timeline.cursor, self.timeline.frame, self.timeline.is_whole))
            self.pane.say(remark(chart, self._problem, now))
            self._show_details(self._cursor_fields(chart))
            if self.focused is None and self.is_current:
                self.timeline.focus()
        else:
            self.pane.retitle(self._server or "wal")
            self.pane.say("")
            self._show_details(failed(self._problem) if self._problem else
                               nothing_archived(self._server) if self._is_read else reading(self._server))
        self.update_frame()

    def _cursor_fields(self, chart: Chart) -> list[Field]:
        zone = self.app.queries.config.server(self._server).timezone
        fields = list(cursor_fields(chart, self.timeline.cursor, self.timeline.frame.step, zone))
        columns = self.details.size.width or 80
        for dispensable in ("", "position", "here"):
            if len(laid_out(fields, columns)) > self._room_for_details:
                fields = [field for field in fields if field.text and field.name != dispensable]
        return fields

    @property
    def _is_low(self) -> bool:
        return self.size.height < WHOLE[1]

    @property
    def _room_for_details(self) -> int:
        """Give the room, if it is too little for both, to the focused one of the timeline and the list below it."""
        if self._is_low:
            return 0 if self.nearby.listing.has_focus else _LEAST_DETAILS
        return _DETAILS

    def _show_details(self, fields: Iterable[Field]) -> None:
        self.details.set_lines(laid_out(fields, self.details.size.width or 78))

    def _arrange(self) -> None:
        """Show as many lanes as leave room for the list."""
        least = 2 if self._is_low else _LEAST_LIST
        self.timeline.set_room(self.size.height - 3 - 2 - max(self._room_for_details, _LEAST_DETAILS) - least)
        self.timeline.styles.height = self.timeline.height_wanted

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._draw)

    def on_timeline_view_moved(self, event: TimelineView.Moved) -> None:
        self._draw()
        self.nearby.put(self.timeline.cursor)
        if self._rest:
            self._rest.stop()
        if not self.nearby.shows_accidents:
            self._rest = self.set_timer(_REST, self.read_around)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Take over the row under the list's cursor as soon as the list is entered."""
        if self.nearby.listing.has_focus:
            self._follow(self.nearby.listing.key)
        if self._is_low:
            self._draw()
        self.update_frame()

    # The transactions around the cursor

    def read_around(self) -> None:
        """Read the WAL around the cursor, unless it was read."""
        chart, cursor = self.chart, self.timeline.cursor
        if chart and chart.lanes and not (self.nearby.around and self.nearby.around.holds(cursor)):
            run_in_background(self, "wal-around", self._look_around, chart, cursor)

    async def _look_around(self, chart: Chart, cursor: Cursor) -> None:
        place = chart.place(chart.lane_of(cursor.timeline), cursor.at)
        guess = place.lsn if place.lsn is not None else Lsn(0)
        queries, server = self.app.queries, self._server
        found = await run_query(lambda: find(lambda lsn: queries.transactions(server, cursor.timeline, lsn, COUNT),
                                             cursor, guess), "read the WAL")
        if server != self._server:
            return
        self.nearby.problem = found if isinstance(found, PgvaultError) else None
        self.nearby.around = None if isinstance(found, PgvaultError) else found
        around = self.nearby.around
        self.timeline.set_exact(around.exact(self.timeline.cursor.timeline) if around else None)
        if not self.nearby.shows_accidents:
            self.nearby.refill(self.timeline.cursor)

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Take over the row under the list's cursor, as it is by now: rows arrive meanwhile."""
        if event.listing.has_focus:
            self._follow(event.listing.key)

    def _follow(self, key: str) -> None:
        """Move the timeline's cursor to the list's row."""
        if self.chart and (cursor := self.nearby.place(key)):
            self.timeline.go(cursor)

    def on_listing_opened(self, event: Listing.Opened) -> None:
        """Show the whole row: Enter does so everywhere; r recovers from it."""
        self.app.push_screen(TextBox(*self.nearby.details(event.key)))

    @property
    def goes_back(self) -> bool:
        return self.nearby.shows_accidents or super().goes_back

    # Accidents

    def do_accidents(self) -> None:
        """Show the findings, and search unless a search is running."""
        search = self.nearby.search
        if search.stand is not Stand.RUNS:
            search.begin()
            run_in_background(self, f"wal-accidents {self._server}", self._search, search, _search_words(self._server))
        self.nearby.turn_to(self.timeline.cursor, accidents=True)
        self.nearby.listing.focus()

    async def _search(self, search: Search, words: list[str]) -> None:
        await search.run(self.app.queries.commands, words, self._found_more)
        self._show_progress()

    def _found_more(self) -> None:
        if self._progress is None:
            self._progress = self.set_timer(_PROGRESS, self._show_progress)

    def _show_progress(self) -> None:
        self._progress = None
        if self.is_attached:
            self.timeline.mark_accidents(marks(self.nearby.search.newest_first))
            if self.nearby.shows_accidents:
                self.nearby.refill(self.timeline.cursor)

    def do_back(self) -> None:
        if self.nearby.clear_filter():
            return
        if self.nearby.shows_accidents:
            self.workers.cancel_group(self, f"wal-accidents {self._server}")
            self.nearby.search.stop()
            self.set_focus(self.timeline)
            self.nearby.turn_to(self.timeline.cursor, accidents=False)
            self.read_around()
        else:
            super().do_back()

    # The other keys

    def why_not(self, action: str) -> str:
        if reason := self.why_not_server(action):
            return reason
        if action not in ("restore", "open", "zoom-in", "zoom-out", "zoom-all", "next-mark", "previous-mark",
                          "accidents", "filter"):
            return ""
        chart = self.chart
        if chart is None or not any(lane.slots.numbers for lane in chart.lanes):
            return "no WAL of this server is known" if self._is_read else "the WAL index of this server is being read"
        if action == "open" and not self.nearby.listing.has_focus:
            return "tab goes to the list, where enter shows all of a row; r recovers from here"
        if action == "restore":
            found = reach_of(chart, self.timeline.cursor)
            return "" if found.backup or self._is_partial else f"this instant cannot be restored: {found.reason}"
        if action == "zoom-in" and self.timeline.is_closest:
            return "nothing is closer than this: a column is a microsecond"
        if action in ("zoom-out", "zoom-all") and self.timeline.is_whole:
            return "the whole archive is shown"
        return ""

    @property
    def _is_partial(self) -> bool:
        """Return whether the cursor is on an accident that only the unfinished segment has, which the picture lacks."""
        accident = self.nearby.accident_at(self.timeline.cursor)
        return accident is not None and accident.point.partial

    def do_restore(self) -> None:
        chart, cursor = self.chart, self.timeline.cursor
        if chart is None:
            return
        accident = self.nearby.accident_at(cursor)
        target, backup = recovery_point(chart, cursor)
        self.app.open_recovery(backup=backup, target=target, timeline=cursor.timeline,
                               partial=self._is_partial, expect=accident.expect if accident else ())

    def do_zoom_in(self) -> None:
        self.timeline.zoom()

    def do_zoom_out(self) -> None:
        self.timeline.zoom(out=True)

    def do_zoom_all(self) -> None:
        self.timeline.show_all()

    def do_next_mark(self) -> None:
        self._go_to_mark(back=False)

    def do_previous_mark(self) -> None:
        self._go_to_mark(back=True)

    def _go_to_mark(self, *, back: bool) -> None:
        """Go to a mark of the timeline, which leads from then on; the list follows it."""
        self.set_focus(self.timeline)
        if not self.timeline.go_to_mark(back=back):
            self.app.tell(f"there is no mark {'earlier' if back else 'later'} than this")

    def command_words(self) -> list[str] | None:
        chart, cursor = self.chart, self.timeline.cursor
        if chart is None or not self._server:
            return ["wal", self._server] if self._server else None
        if self.nearby.shows_accidents and not self.nearby.listing.key:
            return _search_words(self._server)
        target, backup = recovery_point(chart, cursor)
        return ["restore", self._server, *([backup] if backup != "auto" else []), "--choices",
                *point_options(target, cursor.timeline)]

    def copyable(self) -> str:
        cursor = self.timeline.cursor
        if self.chart is None:
            return super().copyable()
        where = position(cursor)
        return str(where) if where is not None and self.nearby.has_focus_within else utc(moment(cursor.at))


def _chart(queries: Queries, server: str) -> Chart | None:
    """Return the chart; None if the vault has nothing of the server yet."""
    try:
        return chart_of(queries.picture(server))
    except NotFound:
        vault = queries.vault_of(server)
        if read_identity(vault) or not Vault(queries.home).is_there:  # the vault itself is missing
            raise
        return None


def _search_words(server: str) -> list[str]:
    return search_words(server, What.DEPLOY.kinds)
