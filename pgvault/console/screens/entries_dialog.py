"""Help and palette: one dialog in which typing finds an entry, and Enter carries it out.

Help has the keys of the view below it. The palette has every action of every view, the servers, their backups and the
jobs. Both come from the one table of keys, and what is unavailable now is shown with the reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import getters
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.background import run_in_background
from pgvault.console.entries import Entry, matching
from pgvault.console.fields import wrapped
from pgvault.console.jobline import job_name
from pgvault.console.keys import ACTIONS, EVERYWHERE, MOVES, VIEWS, Action, keys_of, shown
from pgvault.console.queries import run_query
from pgvault.console.screens.dialog import Dialog
from pgvault.console.widgets.lineview import LineView
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import placeholder
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.model.errors import PgvaultError
from pgvault.model.text import Painted, Part, ago, size

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole, BaseView

_COLUMNS = (Column("", 11), Column("", 20), Column("", 20, flexible=True))
_BESIDE_LISTING = 10
"""The lines of the screen that the entries cannot use."""
More = Callable[[], Awaitable[Sequence[Entry]]]


class EntriesDialog(Dialog[Entry]):
    """Dismissed with the chosen entry. `more` yields entries that take a moment to find."""

    DEFAULT_CSS = """
    EntriesDialog Listing { height: 13; margin-top: 1; }
    EntriesDialog.-wide Listing { height: 24; }
    EntriesDialog #about { height: 2; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False, id="finder-up"),
        Binding("down", "move(1)", show=False, id="finder-down"),
        Binding("pageup", "page(-1)", show=False, id="finder-page-up"),
        Binding("pagedown", "page(1)", show=False, id="finder-page-down"),
    ]
    keys = ("type", "to find"), ("enter", "do it"), ("esc", "back")
    listing = getters.query_one(Listing)
    about = getters.query_one("#about", LineView)

    def __init__(self, title: str, entries: Sequence[Entry], more: More | None = None) -> None:
        super().__init__()
        self.title_text, self._entries, self._more = title, list(entries), more
        self._typed = ""
        self._is_complete = more is None

    def fit(self) -> None:
        super().fit()
        self.listing.styles.max_height = max(3, self.app.size.height - _BESIDE_LISTING)

    def body(self) -> Iterable[Widget]:
        typed = Input(placeholder=placeholder("a key or a word"))
        typed.cursor_blink = False
        yield typed
        yield Listing(_COLUMNS, headed=False)
        yield LineView(id="about")

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._show()
        if self._more:
            run_in_background(self, "more", self._find_more, self._more)

    async def _find_more(self, more: More) -> None:
        self._entries += await more()
        self._is_complete = True
        self._show()

    def _show(self) -> None:
        self.listing.empty = "Nothing fits." if self._is_complete else \
            "Nothing that was read so far fits; the backups are being read."
        self.listing.show(ItemRows(matching(self._entries, self._typed), _cells, lambda entry: entry.key))
        self._show_about()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._typed = event.value
        self._show()
        self.listing.go_to(0)

    def on_listing_moved(self, event: Listing.Moved) -> None:
        self._show_about()

    def _show_about(self) -> None:
        entry, count = self.entry, len(self.listing.rows)
        self.query_one(".dialog").border_subtitle = Content(f"{self.listing.index + 1}/{count}" if count else "")
        text = "" if entry is None else f"not now: {entry.why_not}" if entry.why_not else entry.meaning
        self.about.set_lines([Painted(line, "warn" if entry and entry.why_not else "dim")]
                             for line in wrapped(text, self.columns))

    @property
    def entry(self) -> Entry | None:
        """Return the entry under the cursor."""
        key = self.listing.key
        return next((entry for entry in self._entries if entry.key == key), None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._choose()

    def on_listing_opened(self, event: Listing.Opened) -> None:
        self._choose()

    def _choose(self) -> None:
        entry = self.entry
        if entry and entry.why_not:
            self.console.tell(entry.why_not, "warning")
        elif entry:
            self.dismiss(entry)

    def action_move(self, by: int) -> None:
        self.listing.action_move(by)

    def action_page(self, by: int) -> None:
        self.listing.action_page(by)


def _cells(entry: Entry) -> Sequence[Part]:
    if entry.why_not:
        return [Painted(entry.keys, "dim"), Painted(entry.label, "dim"), Painted(f"({entry.why_not})", "dim")]
    return [Painted(entry.keys, "accent"), Painted(entry.label, "bold"), entry.meaning]


async def open_help(app: BaseConsole) -> None:
    if view := app.view:
        _open(app, EntriesDialog(f"keys of {view.view}", list(help_entries(view))))


async def open_palette(app: BaseConsole) -> None:
    async def backups() -> Sequence[Entry]:
        return [entry for server in app.queries.servers for entry in await _backups(app, server)]

    _open(app, EntriesDialog("find an action, a server, a backup or a job", list(palette_entries(app)), backups))


def _open(app: BaseConsole, dialog: EntriesDialog) -> None:
    def chosen(entry: Entry | None) -> None:
        if entry:  # by the app, once the dialog is gone: it may go to another screen
            run_in_background(app, "found", _run, entry, exclusive=False)

    app.push_screen(dialog, chosen)


async def _run(entry: Entry) -> None:
    result = entry.run()
    if inspect.isawaitable(result):
        await result


# Entries


def help_entries(view: BaseView) -> Iterator[Entry]:
    """Return the keys of a view: its own first, then those for moving, then those that work everywhere."""
    actions = list(view.actions())
    own = [action for action in actions if EVERYWHERE not in action.where]
    for action in own:
        yield _here(view, action)
    for move in MOVES:
        yield Entry(f"move {move.label}", move.keys, move.label, move.meaning, lambda: None)
    for action in actions:
        if action not in own:
            yield _here(view, action)


def palette_entries(app: BaseConsole) -> Iterator[Entry]:
    """Return every action, those of the view first; then the servers and the jobs."""
    view = app.view
    here = [] if view is None else list(view.actions())
    if view:
        for action in here:
            yield _here(view, action)
    for action in ACTIONS:
        if action not in here and not (action.mutates and app.options.read_only):
            yield _elsewhere(app, action)
    for server in app.queries.servers:
        config = app.queries.config.server(server)
        yield Entry(f"server {server}", "", server, f"server {config.description}".rstrip(),
                    partial(_go_to_server, app, server))
    for number, job_id in enumerate(app.queries.jobs.ids):
        yield Entry(f"job {job_id}", "", job_id, _job_meaning(app, job_id, number),
                    partial(_go_to_job, app, job_id))


def _here(view: BaseView, action: Action) -> Entry:
    return Entry(action.id, _keys(view.app, action), action.label, action.meaning, lambda: view.do(action.id),
                 view.why_not(action.id))


def _elsewhere(app: BaseConsole, action: Action) -> Entry:
    place = next((name for name in action.where if name in VIEWS), "")

    async def go_and_do() -> None:
        await app.switch_mode(place)
        if view := app.view:
            await view.do(action.id)

    meaning = f"{action.meaning} ({place})" if place else action.meaning
    return Entry(action.id, _keys(app, action), action.label, meaning, go_and_do,
                 "" if place else f"works in: {', '.join(action.where)}")


def _keys(app: BaseConsole, action: Action) -> str:
    return " ".join(map(shown, keys_of(action, app.keymap)))


async def _go_to_server(app: BaseConsole, server: str) -> None:
    """Select a server, and show it in a view of servers."""
    app.select_server(server)
    if app.view is None or app.view.view not in ("overview", "backups", "wal"):
        await app.switch_mode("overview")


def _go_to_job(app: BaseConsole, job_id: str) -> None:
    from pgvault.console.screens.job import JobScreen

    app.push_screen(JobScreen(job_id))


def _job_meaning(app: BaseConsole, job_id: str, number: int) -> str:
    """Describe a job; one that was not read yet is only called a job: there may be tens of thousands."""
    from pgvault.console.jobbook import LOOKED_AT

    if number >= LOOKED_AT:
        return "job"
    job = app.queries.jobs.job(job_id)
    return f"job {job_name(job)}, {job.state.value}"


async def _backups(app: BaseConsole, server: str) -> list[Entry]:
    """Yield the backups; none of a server with an unreadable catalogue, whose view shows why."""
    catalogue = await run_query(lambda: app.queries.catalogue(server))
    if isinstance(catalogue, PgvaultError):
        return []
    return [Entry(f"backup {server} {each.backup.id}", "", each.backup.id,
                  f"backup of {server}, {size(each.backup.size_bytes)}, "
                  f"{ago(each.backup.started_at, app.queries.now())}",
                  partial(_go_to_backup, app, server, each.backup.id))
            for each in catalogue.backups]


async def _go_to_backup(app: BaseConsole, server: str, backup: str) -> None:
    app.select_server(server)
    await app.switch_mode("backups")
    if view := app.view:
        view.show_item(backup)
