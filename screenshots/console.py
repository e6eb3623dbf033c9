"""The pictures of the console, from a real sandbox: every view, and a lost table recovered to its proof.

Each picture is taken of the running console at 80x24 and at 120x40; the recovery is a real one each time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from life import MEGABYTES, lived, with_short_paths
from textual.pilot import Pilot

from pgvault.config.load import load
from pgvault.console import head
from pgvault.console.app import ConsoleApp
from pgvault.console.dump import screen_picture, screen_text
from pgvault.console.options import Options
from pgvault.console.queries import Queries
from pgvault.demo.interruption import Interruption
from pgvault.demo.sandbox import Sandbox, new_sandbox
from pgvault.demo.story import Loss, notice

HERE = Path(__file__).resolve().parent
PLACE = Path("/tmp/pgv")
"""Short, as its paths are in the pictures."""
SIZES = ((80, 24), (120, 40))
SECONDS = 60.0
"""Only ends what would hang."""


def main() -> None:
    os.environ.update(XDG_STATE_HOME=str(PLACE / "state"), TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8")
    for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR", "PGVAULT_THEME"):
        os.environ.pop(name, None)
    head.operator = lambda: "dba@ops1"  # whoever makes them
    with Interruption() as interruption:
        sandbox = new_sandbox(PLACE, MEGABYTES)
        try:
            sandbox = with_short_paths(sandbox)
            loss = lived(sandbox)
            for columns, lines in SIZES:
                asyncio.run(_pictures(sandbox, loss, columns, lines))
                interruption.resume()  # the console has a way of its own to end
        finally:
            interruption.hold()
            sandbox.remove()


async def _pictures(sandbox: Sandbox, loss: Loss, columns: int, lines: int) -> None:
    options = Options(config=sandbox.config, notice=notice(loss))
    app = ConsoleApp(Queries(load(sandbox.config), config_argument=sandbox.config), options)
    async with app.run_test(size=(columns, lines), notifications=True) as pilot:
        camera = _Camera(pilot, f"{columns}x{lines}")
        await camera.take("overview", _shows("checks  OK"))
        await camera.take("help", _shows("keys"), "question_mark")
        await pilot.press("escape")
        await camera.take("backup-plan", _shows("checkpoint"), "b")
        await pilot.press("escape")
        await camera.take("backups", _shows("retention", "valid"), "2")
        await camera.take("backup", _shows("PG_VERSION"), "enter")
        await pilot.press("escape")
        await camera.take("wal", lambda text: "DROP TABLE" in text and "searching" not in text, "3", "e")
        await camera.take("jobs", _shows("backup main-db-server"), "4")
        await _go_to_the_failed_one(camera)
        await camera.take("job", _shows("explain"), "enter")
        await pilot.press("escape")
        await camera.take("logs", _shows("INFO"), "5")
        await camera.take("command-log", _shows("commands, newest first", "events"), "at")
        await pilot.press("escape", "1")
        await camera.take("palette", _shows("find an action", "open"), "ctrl+p")
        await pilot.press("escape")
        await _recover(camera, sandbox, columns)


async def _go_to_the_failed_one(camera: _Camera) -> None:
    for _ in range(10):
        if "▸✗ failed" in screen_text(camera.pilot.app):
            return
        await camera.pilot.press("down")
        await camera.pilot.pause(0.2)


async def _recover(camera: _Camera, sandbox: Sandbox, columns: int) -> None:
    """The wizard, step by step; the second time what the first one restored is set aside."""
    await camera.take("recover-1-what", _shows("a table was dropped", "mytesttable2"), "r")
    await camera.take("recover-2-point", lambda text: "DROP TABLE" in text and "looked up" not in text, "enter")
    await camera.take("recover-3-where", lambda text: "goes to" in text and "looked up" not in text, "enter")
    await camera.take("recover-4-review", _shows("conditions", "command"), "enter")
    await camera.take("recover-5-run", _shows("the restore runs", "done"), "enter")
    await camera.take("recover-6-proof", _shows("is there: 1500 rows"))
    restored = sandbox.restored
    restored.stop()
    restored.data.rename(restored.data.with_name(f"restored-{columns}"))
    await camera.pilot.press("enter")


def _shows(*texts: str) -> Callable[[str], bool]:
    return lambda text: all(each in text for each in texts)


class _Camera:
    def __init__(self, pilot: Pilot[None], size: str) -> None:
        self.pilot, self._size = pilot, size

    async def take(self, name: str, ready: Callable[[str], bool], *keys: str) -> None:
        """Press the keys, wait until the screen is as it should be, and keep it."""
        if keys:
            await self.pilot.press(*keys)
        app = self.pilot.app
        for _ in range(int(SECONDS / 0.1)):
            await self.pilot.pause(0.1)
            if ready(screen_text(app)):
                break
        else:
            raise SystemExit(f"{name} at {self._size} never was as expected:\n{screen_text(app)}")
        app.clear_notifications()
        await self.pilot.pause(0.3)
        (HERE / f"{name}-{self._size}.svg").write_text(screen_picture(app), "utf-8")
        print(f"{name}-{self._size}.svg", flush=True)
