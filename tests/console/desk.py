"""A console on a small real vault, with a clock that stands still and verbs that answer what the test says.

Tests read as stories: `async with desk.open() as pilot: await press(pilot, "2")`. What the console reads, it reads
from the vault; only the verbs, which would start processes, are played (`desk.says`), unless `desk.real_verbs` is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shelf import SIZE, Shelf, at, made_backup
from textual._compositor import LayoutUpdate
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets._toast import Toast
from textual.worker import WorkerCancelled

from pgvault.config.load import load
from pgvault.console.app import ConsoleApp
from pgvault.console.commands import Answer, CommandLog, Commands, Document
from pgvault.console.options import Options
from pgvault.console.queries import Queries
from pgvault.jobs.hold import hold, this_process
from pgvault.jobs.journal import EVENTS, Journal
from pgvault.jobs.registry import jobs_directory, next_id
from pgvault.model.backup import Backup
from pgvault.model.event import Event, Failure, JobFinished, JobStarted
from pgvault.model.job import JobKind, JobState
from pgvault.store.files import make_directory
from pgvault.vault import wal_index
from pgvault.vault.identity import Identity, claim

NOW = at(23)
"""The console's clock: noon of 23 November 2026."""
NARROW, WIDE = (80, 24), (120, 40)


class Played(Commands):
    """The verbs, answered from a list; what was asked is kept."""

    def __init__(self, config: Path | None, log: CommandLog, answers: Sequence[tuple[str, Answer]]) -> None:
        super().__init__(config, log)
        self.answers, self.asked = answers, list[tuple[str, ...]]()
        self.held: asyncio.Event | None = None
        """Set it to an event and no verb answers before that is set."""

    async def ask(self, *words: str, each: Callable[[Document], None] | None = None) -> Answer:
        self.asked.append(words)
        ran = self._log.begin(self.shown(words))
        if self.held:
            await self.held.wait()
        answer = next((answer for start, answer in reversed(self.answers) if " ".join(words).startswith(start)), None)
        assert answer, f"the test says no answer to: {' '.join(words)}"
        for document in answer.documents if each else ():
            each(document)
        self._log.end(ran, 0.1, answer.status)
        return answer


def failure(message: str, detail: str = "", hint: str = "", code: str = "failed", exit_code: int = 1) -> Answer:
    """A verb that fails."""
    return Answer(exit_code, (), Failure(message, detail, hint, code, exit_code))


@dataclass
class Desk:
    """The vault, what the verbs answer, and consoles on it."""

    shelf: Shelf
    now: datetime = NOW
    real_verbs: bool = False
    _answers: list[tuple[str, Answer]] = field(default_factory=list)
    _living: ExitStack = field(default_factory=ExitStack)

    # What is in the vault

    def serve(self, *servers: str, settings: str = "") -> None:
        """Configure these servers; their clusters are known, and nothing of them is stored yet."""
        self.shelf.configure(settings, servers)
        for server in servers:
            claim(self.shelf.server(server), Identity("7300000000000000001", SIZE))

    def protect(self, server: str = "main", *, days: Sequence[int] = (20, 21, 22), until: datetime | None = None,
                **facts: object) -> list[Backup]:
        """Backups of these days of November, WAL without a gap behind them, commits up to `until` (else 10 minutes
        ago)."""
        backups = [made_backup(at(day), server=server, segment=2 + 4 * number, **facts)
                   for number, day in enumerate(days)]
        self.shelf.put(*backups)
        last = 2 + 4 * len(backups)
        self.shelf.archive(1, 2, last, server=server)
        self.commit(server, last, until or self.now - timedelta(minutes=10))
        return backups

    def commit(self, server: str, segment: int, moment: datetime) -> None:
        """The last commit in an archived segment; it came in at that time, too."""
        microseconds = int(moment.timestamp() * 1_000_000)
        with wal_index.writing(self.shelf.server(server)) as index:
            index.connection.execute(
                "INSERT OR REPLACE INTO facts (timeline, number, joined, latest) VALUES (1, ?, 1, ?)",
                (segment, microseconds))
            index.connection.execute("UPDATE file SET accepted_at = ?", (microseconds,))

    def job(self, *events: Event, kind: JobKind = JobKind.BACKUP, server: str = "main", command: str = "",
            started: datetime | None = None, lives: bool = False) -> str:
        """A job with this journal behind its JobStarted; with `lives` its process is there, until the test ends."""
        started = started or self.now - timedelta(minutes=1)
        jobs = jobs_directory(self.shelf.home)
        make_directory(jobs)
        directory = jobs / next_id(max((path.name for path in jobs.iterdir()), default=None), started)
        directory.mkdir()
        held = hold(directory)
        held.say(**this_process())
        journal = Journal(directory)
        journal.emit(JobStarted(directory.name, kind.value, server, command or f"pgvault {kind.value} {server}",
                                started))
        for event in events:
            journal.emit(event)
        journal.close()
        if lives:
            self._living.callback(held.close)
        else:
            held.close()
        return directory.name

    def ended(self, verdict: str = "", *, state: JobState = JobState.SUCCEEDED, error: Failure | None = None,
              when: datetime | None = None) -> JobFinished:
        return JobFinished(state, verdict, error, when or self.now)

    def journal(self, job_id: str) -> Path:
        return jobs_directory(self.shelf.home) / job_id / EVENTS

    # The console

    def says(self, words: str, *documents: Document, answer: Answer | None = None) -> None:
        """What the verb that begins with these words answers; the newest saying counts."""
        self._answers.append((words, answer or Answer(0, documents, None)))

    def app(self, **options: object) -> ConsoleApp:
        """A console; `check_at_start` is off unless asked for."""
        queries = Queries(load(self.shelf.config), config_argument=self.shelf.config, clock=lambda: self.now)
        if not self.real_verbs:
            queries.commands = Played(self.shelf.config, queries.log, self._answers)
        console = ConsoleApp(queries, Options(**{"config": self.shelf.config, "check_at_start": False, **options}))
        console.animation_level = "none"  # as `prepare` has it
        console.NOTIFICATION_TIMEOUT = 3600.0  # no test depends on how long a toast stands
        return console

    @asynccontextmanager
    async def open(self, app: ConsoleApp | None = None, *, size: tuple[int, int] = NARROW,
                   **options: object) -> AsyncIterator[Pilot[None]]:
        """The console on a terminal of this size, once it has read everything."""
        app = app or self.app(**options)
        async with app.run_test(size=size, notifications=True) as pilot:
            await settle(pilot)
            yield pilot

    def close(self) -> None:
        self._living.close()


async def rest(app: App[Any]) -> None:
    """Until there is nothing to do but to wait, for a thread or a timer, and what changed is drawn."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(0)
        if loop._ready:  # type: ignore[attr-defined]
            continue
        if app.return_code is not None or not app.screen_stack:  # it is ending
            return
        undrawn = [screen for screen in app.screen_stack if is_undrawn(screen)]
        if not undrawn:
            return
        for screen in undrawn:
            screen._on_timer_update()


def is_undrawn(screen: Screen[Any]) -> bool:
    """Whether the next frame would change anything. One behind another calls itself undrawn for ever."""
    return screen.is_current and not screen.app._batch_count and bool(
        screen._layout_required or screen._scroll_required or screen._recompose_required or screen._dirty_widgets
        or screen._callbacks or (screen._repaint_required and screen.is_active))


async def settle(pilot: Pilot[None]) -> None:
    """Until everything that was begun is done, and what is drawn no longer changes."""
    app = pilot.app
    while not app.crash:
        await rest(app)
        if any(not worker.is_finished for worker in app.workers):
            with suppress(WorkerCancelled):  # something newer took its place
                await app.workers.wait_for_complete()
        elif app.return_code is not None or (app.begun and not app.taking_key and not awaits_timer(app)):
            return
        else:
            await asyncio.sleep(0.01)


def awaits_timer(app: App[Any]) -> bool:
    """Whether something happens once, after a moment: what was not to be done for each key of many."""
    return any(timer._repeat == 0 and timer._interval < 1 and timer._task and not timer._task.done()
               for node in (app, *app.screen.walk_children(with_self=True)) for timer in node._timers)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Each once what the one before it did is done."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def write(pilot: Pilot[None], text: str) -> None:
    """Type a text where the focus is."""
    await press(pilot, *("space" if char == " " else char for char in text))


def toasts(pilot: Pilot[None]) -> list[str]:
    """What is said in passing on the screen that is seen, from the top."""
    return [str(toast.render()) for toast in pilot.app.screen.query(Toast)]


def screen(pilot: Pilot[None]) -> str:
    """What stands on the screen, toasts included."""
    app = pilot.app
    drawn = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    assert isinstance(drawn, LayoutUpdate)
    return "".join("".join(strip.text for strip in line).rstrip() + "\n" for line in drawn.strips)


def words(pilot: Pilot[None]) -> str:
    """The text on the screen with single blanks and without the borders of boxes, wherever its lines are broken."""
    return " ".join(screen(pilot).translate(dict.fromkeys(range(0x2500, 0x2580), " ")).split())
