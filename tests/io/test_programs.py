"""A host's own PostgreSQL says what it lacks for a cluster, before the cluster is there; nothing is written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.installation import installation

from pgvault.io.local_host import LocalHost
from pgvault.io.programs import ProgramAnswers, ask_programs


def ask(programs: Path | str, **asked) -> ProgramAnswers:
    async def act() -> ProgramAnswers:
        async with LocalHost() as host:
            return await ask_programs(host, str(programs), **asked)

    return asyncio.run(act())


def test_what_the_programs_of_each_major_know(major: int, tmp_path: Path) -> None:
    programs = installation(major).bin
    say = ask(programs, locales=["C", "xx_XX.UTF-8", "it's \"odd\""], libraries=["/nowhere/a", "pg_nothing_of_ours"],
              files=[str(tmp_path), "/nowhere/hba"],
              settings={"max_connections": "60", "a.b": "it's $HOME", "lc_time": "C"})
    assert (say.block_size, say.wal_block_size, say.is_big_endian) == (8192, 8192, False)
    assert say.locales == ("xx_XX.UTF-8", "it's \"odd\"")
    assert "/nowhere/a" in say.libraries
    assert say.files == ("/nowhere/hba",)
    assert say.refused == ""


@pytest.mark.parametrize(("settings", "refused"), [
    ({"no_such_setting": "1"}, 'unrecognized configuration parameter "no_such_setting"'),
    ({"TimeZone": "Mars/Base"}, 'invalid value for parameter "TimeZone": "Mars/Base"'),
    ({"lc_messages": "xx_XX", "max_connections": "60"}, 'invalid value for parameter "lc_messages": "xx_XX"'),
    ({"max_connections": "many"}, 'invalid value for parameter "max_connections": "many"'),
])  # fmt: skip
def test_the_first_setting_that_they_do_not_take_is_named(settings: dict[str, str], refused: str) -> None:
    assert ask(installation().bin, settings=settings).refused == refused


def test_programs_that_are_not_there_say_nothing() -> None:
    say = ask("/nowhere", locales=["xx_XX"], libraries=["pg_cron"], settings={"x": "y"})
    assert (say.block_size, say.locales, say.libraries, say.refused) == (None, (), (), "")
