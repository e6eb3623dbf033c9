"""A backup that is told before it is begun, and not begun."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from station import NAME, Station
from support.postgres import Server


def test_a_plan_tells_what_will_be_and_does_nothing(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    told = here.backup("--dry-run")
    assert "all of it in a first backup" in told.text
    assert "the time is not known before the first backup" in told.text
    assert not here.home.exists()
    here.backup()
    before = sorted(here.home.rglob("*"))
    told = here.backup("--dry-run", "--name", "before upgrade", "--bwlimit", "50MB")
    assert f"reads   : all of {NAME}, about " in told.text
    assert "takes   : about " in told.text
    assert "at most : 50MB/s" in told.text
    assert sorted(here.home.rglob("*")) == before


def test_its_command_makes_the_same_plan(small: Server, station: Callable[..., Station]) -> None:
    here = station(small)
    here.backup()
    plan = here.backup("--dry-run", "--format", "json", "--name", "it's mine", "--jobs", "3", "--full").json()
    last = here.newest()
    assert (plan["plan"], plan["expected_bytes"], plan["expected_stored_bytes"]) == \
        ("backup", last.size_bytes, last.stored_bytes)
    program, verb, server, *options = shlex.split(plan["command"])
    assert (program, verb, server) == ("pgvault", "backup", NAME)
    assert here.backup("--dry-run", "--format", "json", *options).json() == plan
