"""The base of the console for widgets and screens: its state, what it reads and when, and the base of its views.

`app.py` completes it with modes, actions and the screens that they open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Set
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import getters
from textual.screen import Screen

from pgvault.console.background import is_busy, run_in_background
from pgvault.console.checks import Checks
from pgvault.console.glyphs import ASCII, fitting
from pgvault.console.job_news import JobNews
from pgvault.console.keys import ACTIONS, EVERYWHERE, Action, in_textual, require_methods
from pgvault.console.keystrokes import Keystrokes
from pgvault.console.options import Options
from pgvault.console.queries import Queries, run_query
from pgvault.console.textual_private import SparingStylesheet, TerminalDriver
from pgvault.console.theme import THEMES, theme_for
from pgvault.model.errors import PgvaultError
from pgvault.model.job import JobState

if TYPE_CHECKING:
    from pgvault.model.protection import Protection
    from pgvault.model.target import Target

JOBS_SECONDS = 1.0
VAULT_SECONDS = 5.0


class Change(Enum):
    """The changes after which a screen may have to be drawn again."""

    SHOWN = auto()
    """The screen came up."""
    SERVER = auto()
    """Another server was selected."""
    VAULT = auto()
    """The vault's answers about the selected server, or about any, have changed."""
    JOBS = auto()
    CHECKS = auto()
    CLOCK = auto()
    """Ages have grown; nothing else."""


class BaseConsole(Keystrokes):
    """The console without its screens."""

    HORIZONTAL_BREAKPOINTS = [(0, "-small"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (15, "-low"), (24, "-high")]

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        require_methods(cls, (each for each in ACTIONS if EVERYWHERE in each.where), BaseView)

    def __init__(self, queries: Queries, options: Options) -> None:
        theme = theme_for(os.environ)
        super().__init__(driver_class=TerminalDriver, ansi_color=True if theme.startswith("ansi") else None)
        self.queries, self.options = queries, options
        self.glyphs = ASCII if options.ascii_only else fitting(os.environ)
        self.keymap: Mapping[str, str] = queries.config.keys
        self.server = queries.servers[0] if queries.servers else ""
        self.protections: dict[str, Protection | PgvaultError] = {}
        self.checks = Checks(queries)
        self.job_news = JobNews(queries.home)
        self._job_changes: object = None
        """The number of changes at the last look; None before the first one, which always counts as a change."""
        self.jobs_problem: PgvaultError | None = None
        """Why the jobs could not be read; None while they can be."""
        self.begun = False
        """True once the first screen is up and its contents are being read."""
        self.paused = False
        self.notice = options.notice
        self.farewell: list[str] = []
        self.starting: list[str] = []
        """What is being started, in words, before it is known whether it runs; empty for none."""
        self.announced: dict[str, str] = {}
        """The jobs that are reported on every screen when they end, with what was asked for."""
        self.recoveries: dict[str, BaseView] = {}
        """The open recovery wizards by server, one each."""
        self.keeps_sandbox: bool | None = None
        """Whether the person keeps the sandbox; None before they chose. What runs in it is not ended with a terminal
        that goes away.
        """
        self._stamps: dict[str, object] = {}
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme
        self.stylesheet = SparingStylesheet(variables=self.get_css_variables())
        self.set_keymap(in_textual(self.keymap))

    # What the console opens and ends, see app.py

    def open_recovery(self, *, backup: str = "auto", target: Target | None = None, timeline: int | None = None,
                      partial: bool = False, expect: tuple[str, ...] = ()) -> None:
        """Open the recovery wizard for the selected server, with what is known of the point already.

        With `partial`, only the unfinished last segment has the point. `expect` are relations, as
        DATABASE.SCHEMA.TABLE, that have to be there when the restore is done.
        """
        raise NotImplementedError

    def leave(self) -> None:
        """Leave the console, after a question to the person where one is needed."""
        raise NotImplementedError

    def end(self) -> None:
        """End the console at once; jobs run on."""
        raise NotImplementedError

    # State, and its changes

    @property
    def view(self) -> BaseView | None:
        """Return the view on the screen, or the one below the open dialog."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, BaseView)), None)

    def select_server(self, server: str) -> None:
        if server and server != self.server:
            self.server = server
            self.notify_views(Change.SERVER)

    def notify_views(self, change: Change) -> None:
        """Notify every view on the screen's stack; other views read the state when they come up."""
        if not self.is_running:  # it is ending, and its screens are being removed
            return
        for screen in self.screen_stack:
            if isinstance(screen, BaseView) and screen.is_mounted:
                screen.world_changed(change)
                screen.update_frame()

    def start_polling(self) -> None:
        """Begin to poll for changes."""
        self.set_interval(JOBS_SECONDS, self._poll_jobs)
        self.set_interval(VAULT_SECONDS, self._poll_vault)

    def _poll_jobs(self) -> None:
        """Read the jobs, unless the previous reading still runs."""
        if not self.paused and not is_busy(self, "jobs"):
            run_in_background(self, "jobs", self.read_jobs, exclusive=False)

    async def read_jobs(self) -> None:
        before = {each.job.id: each.job.server for each in self.queries.jobs.running}
        changed = await run_query(self.queries.jobs.look, "read the jobs")
        problem = changed if isinstance(changed, PgvaultError) else None
        if (problem is None and changed != self._job_changes) or str(problem) != str(self.jobs_problem):
            self._job_changes = changed
            self.jobs_problem = problem
            self.notify_views(Change.JOBS)
        self._announce_ends()
        if ended := before.keys() - {each.job.id for each in self.queries.jobs.running}:
            run_in_background(self, "vault-poll", self._look_after, {before[job] for job in ended}, exclusive=False)

    async def _look_after(self, servers: Set[str]) -> None:
        """Read what ended jobs of these servers may have changed."""
        await self._look_at_vault()
        for server in self.checks.in_doubt & servers:
            self.check(server)

    def _announce_ends(self) -> None:
        for job in [self.queries.jobs.job(each) for each in self.announced]:
            if job.state.final:
                title, is_done = self.announced.pop(job.id), job.state is JobState.SUCCEEDED
                self.tell(f"{title}: {job.verdict if is_done else f'{job.state.value}, see job {job.id}'}",
                          "information" if is_done else "error")

    def _poll_vault(self) -> None:
        self.notify_views(Change.CLOCK)
        if not self.paused and not is_busy(self, "vault-poll"):  # on a slow vault each reading would end the one before
            run_in_background(self, "vault-poll", self._look_at_vault)

    async def _look_at_vault(self) -> None:
        """Read again what the vault has changed since it was read, or what has not been well for a minute."""
        moved, now = [], self.queries.now()
        for server in self.queries.servers:
            stamp = await run_query(partial(self.queries.stamp, server))
            known = self.protections.get(server)
            is_doubtful = not isinstance(known, PgvaultError | None) and known.is_doubtful(now)
            if server in self._stamps and (stamp != self._stamps[server] or is_doubtful):
                moved.append(server)
        await self.read_vault(moved)

    async def read_vault(self, servers: Iterable[str]) -> None:
        for server in servers:
            stamp = await run_query(partial(self.queries.stamp, server))
            self.protections[server] = await run_query(partial(self.queries.protection, server))
            self._stamps[server] = stamp  # not before: after an abandoned reading it would never be read again
            self.notify_views(Change.VAULT)

    def _checks_changed(self) -> None:
        self.notify_views(Change.CHECKS)

    def check(self, server: str) -> None:
        """Check a server, or `all`; the check goes on when another view is opened."""
        run_in_background(self, "checks", self.checks.run, server, self._checks_changed, exclusive=False)

    def environment_of(self, server: str) -> str:
        """Return the word that is shown with a server on every screen, such as PRODUCTION; empty for none."""
        config = self.queries.config.servers.get(server)
        return config.environment.upper() if config else ""


class BaseView(Screen[None]):
    """A view as the console knows it; `screens.view.View` is what every view is made of."""

    app = getters.app(BaseConsole)
    view: ClassVar[str] = ""
    """The view's name in the table of keys."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        require_methods(cls, (each for each in ACTIONS if cls.view in each.where))

    def crumbs(self) -> list[str]:
        """Return the path to this view, beginning with the server."""
        return [self.view]

    def why_not(self, action: str) -> str:
        """Return why an action cannot be done now, as a sentence without a full stop; empty if it can."""
        return ""

    def command_line(self) -> str | None:
        """Return what `c` shows: a line that runs in a shell as it is; None if there is none."""
        return None

    def copyable(self) -> str:
        """Return what `y` copies: what is under the cursor."""
        return " / ".join(self.crumbs())

    def show_item(self, key: str) -> None:
        """Put the cursor on a row of the first list by its key: the palette goes to a backup with it."""

    def world_changed(self, change: Change) -> None:
        """Draw what differs; called when something that may be shown here has changed, or the screen came up."""

    def show_commands(self) -> None:
        """Draw the log of commands where it is shown; called when a command was noted or has ended."""

    def update_frame(self) -> None:
        """Draw head, breadcrumb and keys as they are now."""

    def actions(self) -> Iterable[Action]:
        """Return the actions that work here, in the order of the footer."""
        return ()

    async def do(self, action_id: str) -> None:
        """Carry out an action, or report why it cannot be done."""

    # Acts that work in every view

    def do_back(self) -> None:
        """Go one level back; never quit."""

    def do_next_pane(self) -> None:
        self.focus_next()

    def do_previous_pane(self) -> None:
        self.focus_previous()
