"""The command log: what a command is in a few words, and equal ones on one line."""

from __future__ import annotations

import asyncio
import shlex
from datetime import timedelta

import pytest
from desk import WIDE, Desk, press, screen, settle
from hypothesis import given
from hypothesis import strategies as st
from shelf import at

from pgvault.console.command_runs import command_fields, in_short, merged
from pgvault.console.command_words import PATH_COLUMNS, in_words, short_path
from pgvault.console.commands import Ran
from pgvault.console.queries import run_query
from pgvault.model.errors import Refused
from pgvault.model.text import width

NOW = at(23)
LOOK = "sh -c '# look at the destination ...' pgvault /srv/pg/data"


def ran(number: int, command: str = LOOK, where: str = "db2", status: int | None = 0,
        seconds: float | None = 1.0) -> Ran:
    return Ran(number, NOW + timedelta(seconds=number), where, command, seconds, status)


@pytest.mark.parametrize(("command", "said"), [
    (LOOK, "look at the destination /srv/pg/data"),
    ("sh -c '# read a file\ncat \"$1\"' pgvault /etc/x 65537", "read a file /etc/x"),
    ("sh -c '# write everything to disk'", "write everything to disk"),
    ("sh -c 'echo x'", "sh -c 'echo x'"), ("pgvault check main", "pgvault check main"), ("it's cut", "it's cut"),
    (f"sh -c '# look ...' pgvault /var/lib/{'x' * 30}/17/main", f"look .../{'x' * 20}"),
])
def test_a_command_in_few_words(command: str, said: str) -> None:
    if "xxx" in command:
        assert in_words(command) == "look .../17/main", "the end of a path tells it apart"
    else:
        assert in_words(command) == said


@given(st.text(st.sampled_from("/ab.…宽"), max_size=80))
def test_a_long_path_is_shown_by_its_end(path: str) -> None:
    command_fields = short_path(path)
    assert path.endswith(command_fields.removeprefix("..."))
    last = path.rsplit("/", 1)[-1]
    assert width(command_fields) <= max(PATH_COLUMNS, width(last) + 4)


@given(st.text(max_size=60))
def test_no_command_breaks_its_words(text: str) -> None:
    assert in_words(shlex.join(["sh", "-c", f"# {text}"])) is not None
    assert in_words(text) is not None


def test_equal_neighbours_are_one_row_and_nothing_else_is() -> None:
    log = [ran(1), ran(2), ran(3), ran(4, status=1), ran(5, where="db3"), ran(6, "tar -x"), ran(7),
           ran(8, seconds=None, status=None), ran(9, seconds=None, status=None)]
    rows = merged(reversed(log), "")
    assert [len(row.every) for row in rows] == [1, 1, 1, 1, 1, 1, 3], "what runs stands alone"
    assert rows[-1].key == "1", "it stays as more of them come"
    assert rows[-1].took == "3.0 s"
    assert in_short(rows[-1]) == "db2, 3 times, 2026-11-23 12:00:03Z, 3.0 s, exit 0"
    facts = {field.name: field.text for field in command_fields(rows[-1])}
    assert facts["command"] == LOOK
    assert facts["ran"] == "3 times, the first 2026-11-23 12:00:01Z, the last 2026-11-23 12:00:03Z"


def test_what_the_few_words_leave_out_is_told_in_full() -> None:
    pieces = [ran(number, f"sh -c '# read a piece ...' pgvault /x {number * 8} 8") for number in range(3)]
    [row] = merged(reversed(pieces), "")
    assert row.commands == [piece.command for piece in reversed(pieces)]


async def test_the_log_says_what_was_done_where_and_how_often(desk: Desk) -> None:
    async with desk.open(size=WIDE) as pilot:
        log = pilot.app.queries.log
        for _ in range(9):
            log.record(LOOK, "standby-db-server", desk.now, 0.5, 0)
        log.record("sh -c '# make the destination ready ...' pgvault /srv/pg/data", "standby-db-server",
                   desk.now + timedelta(seconds=1), 2.5, 1)
        await press(pilot, "at")
        first, second = screen(pilot).splitlines()[4:6]
        assert "make the destination ready /srv/pg/data" in first
        assert "standby-db-server" in second
        assert "4.5 s  0      x9 look at the destination /srv/pg/data" in second
        await press(pilot, "down")
        assert "9 times" in screen(pilot)
        assert f"command      {LOOK}" in screen(pilot)
        await press(pilot, "enter")
        assert "command: standby-db-server, 9 times" in screen(pilot)
        await press(pilot, "escape")
        log.record(LOOK, "standby-db-server", desk.now, 0.5, 0)
        await settle(pilot)
        assert "10 times" in screen(pilot), "the cursor stays where it was"


def test_an_error_that_is_drawn_has_no_secret() -> None:
    """Rule 31: here no verb's process has masked it."""
    def fail() -> None:
        raise Refused("cannot use password=hunter2", detail="It is postgresql://me:hunter2@db.",
                      hint="Try --token hunter2.")

    error = asyncio.run(run_query(fail))
    assert isinstance(error, Refused)
    assert "hunter2" not in str(error)
