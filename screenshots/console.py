#!/usr/bin/env python3
"""Makes the pictures of the console, SVG, from a real sandbox: every view, and a lost table recovered to its proof.

    make screenshots

The sandbox is the demonstration's, with some more life in it before the table is dropped. Each picture is taken of
the running console at 80x24 and at 120x40; the recovery is a real one each time, into a directory of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from pgvault.config.load import load
from pgvault.console.app import ConsoleApp
from pgvault.console.dump import screen_text
from pgvault.console.options import Options
from pgvault.console.world import World
from pgvault.demo.commands import Commands
from pgvault.demo.directions import notice
from pgvault.demo.sandbox import PRIMARY, Sandbox, new_sandbox
from pgvault.demo.story import Loss, Story

HERE = Path(__file__).resolve().parent
SIZES = ((80, 24), (120, 40))
MEGABYTES = 60
SECONDS = 60.0
LIFE = """
SELECT pg_create_restore_point('before-deploy');
CREATE TABLE visits (id integer, page text);
INSERT INTO visits SELECT i, 'page ' || i % 90 FROM generate_series(1, 5000) i;
DELETE FROM orders WHERE state = 'returned' AND id % 3 = 0;
"""


def main() -> None:
    place = Path(tempfile.gettempdir()) / "pgvault-pictures"
    os.environ.update(XDG_STATE_HOME=str(place / "state"), COLORTERM="truecolor", LANG="C.UTF-8")
    sandbox = new_sandbox(place, MEGABYTES)
    try:
        loss = _lived(sandbox)
        for columns, lines in SIZES:
            asyncio.run(_pictures(sandbox, loss, columns, lines))
    finally:
        sandbox.remove()


def _lived(sandbox: Sandbox) -> Loss:
    """From nothing to a dropped table, with some weeks' work in some seconds."""
    def tell(happening: object) -> None:
        print(".", end="", flush=True)

    story, commands = Story(sandbox, tell), Commands(sandbox, tell)
    story.build(MEGABYTES)
    story.protect()
    for name in ("nightly", "before-deploy"):
        sandbox.primary.sql(LIFE if name == "nightly" else "UPDATE customers SET city = 'Porto' WHERE id % 20 = 0")
        commands.pgvault("switch-wal", PRIMARY, "--archive")
        commands.pgvault("backup", PRIMARY, "--name", name)
    loss = story.lose()
    print(file=sys.stderr)
    return loss


async def _pictures(sandbox: Sandbox, loss: Loss, columns: int, lines: int) -> None:
    options = Options(config=sandbox.config, notice=notice(loss))
    app = ConsoleApp(World(load(sandbox.config), config_argument=sandbox.config), options)
    async with app.run_test(size=(columns, lines), notifications=True) as pilot:
        camera = _Camera(pilot, f"{columns}x{lines}")
        await camera.take("overview", _shows("27", "OK <1m"))
        await camera.take("help", _shows("keys"), "question_mark")
        await pilot.press("escape")
        await camera.take("backup-plan", _shows("checkpoint"), "b")
        await pilot.press("escape")
        await camera.take("backups", _shows("retention", "valid"), "2")
        await camera.take("backup", _shows("PG_VERSION"), "enter")
        await pilot.press("escape")
        await camera.take("wal", _shows("window", "DROP TABLE"), "3", "e")
        await camera.take("jobs", _shows("backup main-db-server"), "4")
        await camera.take("job", _shows("copy"), "enter")
        await pilot.press("escape")
        await camera.take("logs", _shows("INFO"), "5")
        await camera.take("command-log", _shows("commands, newest first", "events"), "at")
        await pilot.press("escape", "1")
        await camera.take("palette", _shows("find an action", "open"), "ctrl+p")
        await pilot.press("escape")
        await _recover(camera, sandbox, columns)


async def _recover(camera: _Camera, sandbox: Sandbox, columns: int) -> None:
    """The wizard, step by step; the second time what the first one restored is set aside."""
    await camera.take("recover-1-what", _shows("a table was dropped"), "r")
    await camera.take("recover-2-point", _shows("proposed"), "enter")
    await camera.take("recover-3-where", lambda text: "goes to" in text and "looked up" not in text, "enter")
    await camera.take("recover-4-review", _shows("overwrites", "space"), "enter")
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
        svg = app.export_screenshot(title="pgvault")
        (HERE / f"{name}-{self._size}.svg").write_text(re.sub(r"@font-face\s*{[^}]*}\s*", "", svg))
        print(f"{name}-{self._size}.svg", flush=True)


if __name__ == "__main__":
    main()
