"""The application: its modes, the acts that work everywhere, and the screens that they open."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from pgvault.console.background import run_in_background
from pgvault.console.base import BaseConsole, BaseView
from pgvault.console.job_news import describe_news
from pgvault.console.pulse import watch

if TYPE_CHECKING:
    from pgvault.model.target import Target

def _mode(module: str, name: str) -> Callable[[], Screen[Any]]:
    """Return a mode's view, imported when it is first shown."""
    def make() -> Screen[Any]:
        from importlib import import_module

        return cast("Screen[Any]", getattr(import_module(f"pgvault.console.screens.{module}"), name)())
    return make


class ConsoleApp(BaseConsole):
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
    BINDINGS: ClassVar[list[Any]] = []

    # Life

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            with suppress(RuntimeError, ValueError):  # not the main thread, as in tests
                loop.add_signal_handler(number, self.end)
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        self.queries.log.on_change = self._commands_changed
        self.start_polling()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        """Start polling and checking once the first screen is up."""
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

    def leave(self) -> None:
        """Leave as the person wishes. They are asked first what becomes of a sandbox; cancelling that question keeps
        the console open, too.
        """
        from pgvault.console.screens.leave_demo import ask

        if self.options.sandbox is None:
            self.end()
        else:
            ask(self, self.options.sandbox)

    def end(self) -> None:
        """End the console. What runs continues, and the person reads how to see it again."""
        if self.keeps_sandbox is None:
            self.keeps_sandbox = bool(self.queries.jobs.running or self.starting)
        self.farewell = [f"job {each.job.id} continues: pgvault job watch {each.job.id}"
                         for each in self.queries.jobs.running]
        self.farewell += [f"{title} was being started: pgvault job list shows whether it runs"
                          for title in self.starting]
        self.exit()

    async def action_quit(self) -> None:
        """Handle Textual's own ctrl+q, which no screen gets to see: it leaves as every other key for leaving does."""
        self.leave()

    def get_loading_widget(self) -> Widget:
        return Static("reading", markup=False)

    def _commands_changed(self) -> None:
        """React to a noted command, in whichever thread it was noted."""
        self.call_later(self._show_commands)

    def _show_commands(self) -> None:
        if isinstance(self.screen, BaseView):
            self.screen.show_commands()

    def open_recovery(self, *, backup: str = "auto", target: Target | None = None, timeline: int | None = None,
                      partial: bool = False, expect: tuple[str, ...] = ()) -> None:
        from pgvault.console.wizard.opening import open_wizard

        open_wizard(self, self.server, backup=backup, target=target, timeline=timeline, partial=partial, expect=expect)

    # Acts that work everywhere

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
        """Show the view itself; what lies over it is closed, as by q."""
        await self.switch_mode(name)
        for _ in self.screen_stack[1:]:
            if (view := self.view) and not view.why_not("leave"):
                await view.do("leave")

    def do_leave(self) -> None:
        """Leave from a top screen; below it, q goes one level back."""
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
        if not self.paused:  # the breadcrumb's line shows the pause
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
