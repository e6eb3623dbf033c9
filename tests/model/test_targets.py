"""What a target says: in words, as options of the command line, and to PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgvault.model.lsn import Lsn
from pgvault.model.target import (
    AtLsn,
    AtName,
    AtTime,
    AtXid,
    EndOfWal,
    Immediate,
    Target,
    describe,
    option,
    target_options,
    target_settings,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT = Lsn(0x1000028)


@pytest.mark.parametrize(("target", "told", "options"), [
    (AtTime(NOON), "just after the last commit at or before 2026-11-22 12:00:00+00",
     ["--target-time", "2026-11-22 12:00:00+00"]),
    (AtTime(NOON, False, "noon"), "just before the first commit at or after 2026-11-22 12:00:00+00 (typed noon)",
     ["--target-time", "2026-11-22 12:00:00+00", "--exclusive"]),
    (AtLsn(AT), "WAL position 0/1000028, inclusive", ["--target-lsn", "0/1000028"]),
    (AtLsn(AT, False), "WAL position 0/1000028, exclusive", ["--target-lsn", "0/1000028", "--exclusive"]),
    (AtXid(7), "just after the end of transaction 7", ["--target-xid", "7"]),
    (AtXid(7, False), "just before the end of transaction 7", ["--target-xid", "7", "--exclusive"]),
    (AtName("before"), "restore point before", ["--target-name", "before"]),
    (AtName("-x"), "restore point -x", ["--target-name=-x"]),
    (Immediate(), "the end of the backup, as soon as it is consistent", ["--target-immediate"]),
    (EndOfWal(), "the end of the archived WAL", ["--target-end"])])
def test_words_and_options(target: Target, told: str, options: list[str]) -> None:
    assert describe(target) == told
    assert target_options(target) == options


@pytest.mark.parametrize("target", [AtTime(NOON), AtLsn(AT), AtXid(7, False), AtName("before"), EndOfWal()])
@pytest.mark.parametrize("replayed", [True, False])
def test_what_was_found_is_given_as_its_position(target: Target, replayed: bool) -> None:
    """The end of the WAL too, where recovery has to stop before what it cannot pass."""
    settings = {"recovery_target_lsn": "0/1000028", "recovery_target_inclusive": "on" if replayed else "off"}
    assert target_settings(target, AT, replayed) == ({} if target == EndOfWal() and replayed else settings)


def test_what_needs_no_position() -> None:
    for replayed in (True, False):
        assert target_settings(Immediate(), None, replayed) == {"recovery_target": "immediate"}
    assert target_settings(EndOfWal(), None, True) == {}


@pytest.mark.parametrize("target", [AtXid(7), EndOfWal()])
def test_without_a_position_nothing_is_guessed(target: Target) -> None:
    with pytest.raises(ValueError, match=f"no position was found for {describe(target)}"):
        target_settings(target, None, False)


def test_a_value_that_looks_like_an_option_stays_one_word() -> None:
    assert option("--tablespace", "a=/b") == ["--tablespace", "a=/b"]
    assert option("--tablespace", "-a=/b") == ["--tablespace=-a=/b"]
