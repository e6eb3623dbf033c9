"""The application: wires the screens to what they show. It draws nothing itself and does no work."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from pgvault.console.background import run_in_background
from pgvault.console.checks import Checks
from pgvault.console.driver import TerminalDriver
from pgvault.console.glyphs import ASCII, fitting
from pgvault.console.job_news import JobNews, describe_news
from pgvault.console.keys import in_textual
from pgvault.console.keystrokes import Keystrokes
from pgvault.console.options import Options
from pgvault.console.pulse import watch
from pgvault.console.queries import Queries, run_query
from pgvault.console.theme import THEMES, theme_for
from pgvault.console.widgets.sparing import SparingStylesheet
from pgvault.model.errors import PgvaultError
from pgvault.model.job import JobState

if TYPE_CHECKING:
    from pgvault.console.screens.view import View
    from pgvault.console.wizard.screen import RecoveryScreen
    from pgvault.model.protection import Protection
    from pgvault.model.target import Target

JOBS_SECONDS = 1.0
VAULT_SECONDS = 5.0


class Change(Enum):
    """What a screen may have to draw anew."""

    SHOWN = auto()
    """The screen came up."""
    SERVER = auto()
    """Another one was selected."""
    VAULT = auto()
    """What the vault says of the selected server, or of any."""
    JOBS = auto()
    CHECKS = auto()
    CLOCK = auto()
    """Ages have grown; nothing else."""


def _mode(module: str, name: str) -> Callable[[], Screen[Any]]:
    """A view, imported when it is first shown."""
    def make() -> Screen[Any]:
        from importlib import import_module

        return cast("Screen[Any]", getattr(import_module(f"pgvault.console.screens.{module}"), name)())
    return make


class ConsoleApp(Keystrokes):
    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "overview"
    MODES: ClassVar[dict[str, Any]] = {
        "overview": _mode("overview", "OverviewScreen"),
        "backups": _mode("backups", "BackupsScreen"),
        "wal": _mode("wal", "WalScreen"),
        "jobs": _mode("jobs", "JobsScreen"),
        "logs": _mode("logs", "LogsScreen"),
    }
    HORIZONTAL_BREAKPOINTS = [(0, "-small"), (60, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (15, "-low"), (24, "-high")]
    BINDINGS: ClassVar[list[Any]] = []

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
        """As the last look counted them; None before the first one, which is news in any case."""
        self.jobs_problem: PgvaultError | None = None
        """Why the jobs are not known, or no longer."""
        self.begun = False
        """The first screen stands, and what it shows is being read."""
        self.paused = False
        self.notice = options.notice
        self.farewell: list[str] = []
        self.starting = ""
        self.announced: dict[str, str] = {}
        """The jobs whose end is reported wherever one is then, with what was asked for."""
        """What is being started, so that nobody knows yet whether it runs."""
        self.recoveries: dict[str, RecoveryScreen] = {}
        """The recovery wizards that are open, by their servers: one each."""
        self.keeps_sandbox: bool | None = None
        """None: nobody said so. What runs in it is not ended with a terminal that goes away."""
        self.crash: Exception | None = None
        """What ended the console though it should not have."""
        self._stamps: dict[str, object] = {}
        for each in THEMES:
            self.register_theme(each)
        self.theme = theme
        self.stylesheet = SparingStylesheet(variables=self.get_css_variables())
        self.set_keymap(in_textual(self.keymap))

    # Life

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(RuntimeError, ValueError):  # not the main thread, as in tests
                loop.add_signal_handler(number, self.end)
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        self.queries.log.on_change = self._commands_changed
        self.set_interval(JOBS_SECONDS, self._poll_jobs)
        self.set_interval(VAULT_SECONDS, self._poll_vault)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Once the first screen stands."""
        self.begun = True
        run_in_background(self, "jobs", self._first_look, exclusive=False)
        run_in_background(self, "vault", self._read_all)

    async def _first_look(self) -> None:
        await self.read_jobs()
        if news := describe_news(self.job_news, self.queries.jobs):
            self.tell(news, "warning")

    async def _read_all(self) -> None:
        await self.read_vault(self.queries.servers)
        if self.options.check_at_start and self.queries.servers:
            await self.checks.run("all", self._checks_changed)
            watch(self)

    def check(self, server: str) -> None:
        """Check a server, or `all`; it goes on when another view is opened."""
        run_in_background(self, "checks", self.checks.run, server, self._checks_changed, exclusive=False)

    def leave(self) -> None:
        """As a person wishes it, who is asked first what becomes of a sandbox; leaving that question, too, keeps it."""
        from pgvault.console.screens.leave_demo import ask

        if self.options.sandbox is None:
            self.end()
        else:
            ask(self, self.options.sandbox)

    def end(self) -> None:
        """What runs goes on, and the person is told how to see it again."""
        if self.keeps_sandbox is None:
            self.keeps_sandbox = bool(self.queries.jobs.running or self.starting)
        self.farewell = [f"job {each.job.id} continues: pgvault job watch {each.job.id}"
                         for each in self.queries.jobs.running]
        if self.starting:
            self.farewell.append(f"{self.starting} was being started: pgvault job list tells whether it runs")
        self.exit()

    async def action_quit(self) -> None:
        """Textual's own ctrl+q, which no screen gets to see: it is left as by any other way."""
        self.leave()

    def _handle_exception(self, error: Exception) -> None:
        self.crash = self.crash or error
        super()._handle_exception(error)

    def stop_reading_keys(self) -> None:
        """Where the terminal went away before Textual had tidied up, its thread would read from nowhere for ever."""
        if event := getattr(self._driver, "exit_event", None):
            event.set()

    def _fatal_error(self) -> None:
        """Textual's own prints a traceback with the values of all variables, secrets among them."""
        self._close_messages_no_wait()

    def get_loading_widget(self) -> Widget:
        return Static("reading", markup=False)

    # What is known, and when it changes

    @property
    def view(self) -> View | None:
        """The view on the screen, or below the dialog that is."""
        from pgvault.console.screens.view import View

        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, View)), None)

    def select_server(self, server: str) -> None:
        if server and server != self.server:
            self.server = server
            self.tell_views(Change.SERVER)

    def tell_views(self, change: Change) -> None:
        """Every view on the screen's stack; the others look when they come up."""
        from pgvault.console.screens.view import View

        if not self.is_running:  # it is ending, and what stood on the screens is being taken away
            return
        for screen in self.screen_stack:
            if isinstance(screen, View) and screen.is_mounted:
                screen.world_changed(change)
                screen.update_frame()

    def _poll_jobs(self) -> None:
        if not self.paused:
            run_in_background(self, "jobs", self.read_jobs, exclusive=False)

    async def read_jobs(self) -> None:
        before = {each.job.id: each.job.server for each in self.queries.jobs.running}
        changed = await run_query(self.queries.jobs.look, "read the jobs")
        problem = changed if isinstance(changed, PgvaultError) else None
        if (problem is None and changed != self._job_changes) or str(problem) != str(self.jobs_problem):
            self._job_changes = changed
            self.jobs_problem = problem
            self.tell_views(Change.JOBS)
        self._announce_ends()
        if ended := before.keys() - {each.job.id for each in self.queries.jobs.running}:
            await self._look_at_vault()
            for server in self.checks.in_doubt & {before[job] for job in ended}:
                self.check(server)

    def _announce_ends(self) -> None:
        for job in [self.queries.jobs.job(each) for each in self.announced]:
            if job.state.final:
                title, is_done = self.announced.pop(job.id), job.state is JobState.SUCCEEDED
                self.tell(f"{title}: {job.verdict if is_done else f'{job.state.value}, see job {job.id}'}",
                          "information" if is_done else "error")

    def _poll_vault(self) -> None:
        self.tell_views(Change.CLOCK)
        if not self.paused:
            run_in_background(self, "vault-poll", self._look_at_vault)

    async def _look_at_vault(self) -> None:
        """Read again what has another stamp than when it was read, or is not well for a minute."""
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
            self._stamps[server] = await run_query(partial(self.queries.stamp, server))
            self.protections[server] = await run_query(partial(self.queries.protection, server))
            self.tell_views(Change.VAULT)

    def _checks_changed(self) -> None:
        self.tell_views(Change.CHECKS)

    def _commands_changed(self) -> None:
        """In whatever thread a command was noted."""
        self.call_later(self._show_commands)

    def _show_commands(self) -> None:
        from pgvault.console.screens.command_log import CommandLogScreen

        if isinstance(self.screen, CommandLogScreen):
            self.screen.show_commands()

    # What is said

    def environment_of(self, server: str) -> str:
        """The word that stands beside a server everywhere, such as PRODUCTION; empty for none."""
        config = self.queries.config.servers.get(server)
        return config.environment.upper() if config else ""

    def open_recovery(self, *, backup: str = "auto", target: Target | None = None, timeline: int | None = None,
                      partial: bool = False, expect: tuple[str, ...] = ()) -> None:
        """The recovery wizard for the selected server, with what is known of the point already.

        `partial`: only the unfinished last segment has it. `expect` are relations, as DATABASE.SCHEMA.TABLE, that have
        to be there when it is done.
        """
        from pgvault.console.wizard.opening import open_wizard

        open_wizard(self, self.server, backup=backup, target=target, timeline=timeline, partial=partial, expect=expect)

    # Acts that work everywhere

    def do_restore(self) -> None:
        """Where nothing more is selected than the server."""
        self.open_recovery()

    async def do_view_overview(self) -> None:
        await self._show_view("overview")

    async def do_view_backups(self) -> None:
        await self._show_view("backups")

    async def do_view_wal(self) -> None:
        await self._show_view("wal")

    async def do_view_jobs(self) -> None:
        await self._show_view("jobs")

    async def do_view_logs(self) -> None:
        await self._show_view("logs")

    async def _show_view(self, name: str) -> None:
        """The view itself: what lies over it there is closed, as by q."""
        await self.switch_mode(name)
        for _ in self.screen_stack[1:]:
            if (view := self.view) and not view.why_not("leave"):
                await view.do("leave")

    def do_leave(self) -> None:
        """Only from a top screen: below it, q goes one level back."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.leave()

    def do_quit(self) -> None:
        self.leave()

    def do_suspend(self) -> None:
        self.action_suspend_process()

    def do_pause(self) -> None:
        self.paused = not self.paused
        if not self.paused:  # that it is stands beside the breadcrumb
            self.tell("refreshing again")

    async def do_help(self) -> None:
        from pgvault.console.screens.entries_dialog import open_help

        await open_help(self)

    async def do_palette(self) -> None:
        from pgvault.console.screens.entries_dialog import open_palette

        await open_palette(self)

    def do_command_log(self) -> None:
        from pgvault.console.screens.command_log import CommandLogScreen

        self.push_screen(CommandLogScreen())

    def do_command(self) -> None:
        from pgvault.console.screens.text_box import TextBox

        line = self.view.command_line() if self.view else None
        if line is None:
            self.tell("nothing is selected that a command could show", "warning")
        else:
            self.push_screen(TextBox("the command that does the same", line))

    def do_copy(self) -> None:
        from pgvault.console.screens.text_box import TextBox

        if self.view:
            self.push_screen(TextBox("copied", self.view.copyable(), copy=True))

    def do_copy_path(self) -> None:
        from pgvault.console.screens.text_box import TextBox

        if self.view:
            self.push_screen(TextBox("copied", " / ".join(self.view.crumbs()), copy=True))

    def do_screenshot(self) -> None:
        from pgvault.console.dump import save_screen

        try:
            paths = save_screen(self, Path.cwd(), self.queries.now())
        except OSError as error:
            self.tell(f"could not save the screen: {error.strerror}: {error.filename}", "error")
        else:
            self.tell(f"saved {' and '.join(map(str, paths))}")
