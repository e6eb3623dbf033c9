"""Rule 48: which timeline a standby follows, and whether its primary goes on from where the archive leads it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pgvault.engine.restore.choose import Choice
from pgvault.engine.restore.follow import follow_condition, timeline_to_follow
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import Precondition
from pgvault.model.timeline import Ancestor, History

PRIMARY = History(4, (Ancestor(1, Lsn(0x3000000), ""), Ancestor(2, Lsn(0x5000000), "")))
NAME = "timeline of the original server"


@pytest.mark.parametrize(("known", "followed"), [
    ({1, 2, 3, 4}, 4), ({1, 2, 3}, 2), ({1, 3}, 1), ({3}, None), (set(), None)])
def test_the_newest_of_its_own_path_that_the_archive_has(known: set[int], followed: int | None) -> None:
    assert timeline_to_follow(PRIMARY, known) == followed


def choice(timeline: int, stop_timeline: int, lsn: int) -> Choice:
    return cast("Choice", SimpleNamespace(history=History(timeline, ()),
                                          stop=SimpleNamespace(timeline=stop_timeline, lsn=Lsn(lsn))))


@pytest.mark.parametrize(("chosen", "expected"), [
    (choice(4, 4, 0x6000000), (Outcome.OK, "4", "")),
    (choice(2, 2, 0x4000000), (Outcome.OK, "4, which goes on from timeline 2", "")),
    (choice(2, 2, 0x6000000), (
        Outcome.FAILED, "The server is on timeline 4, and the archived WAL of timeline 2 leads to 0/6000000, which is "
        "not on its path.", "Follow the server's own: leave --target-timeline out, and have its WAL and its history "
        "file archived.")),
    (choice(3, 3, 0x6000000), (
        Outcome.FAILED, "The server is on timeline 4, and the archived WAL of timeline 3 leads to 0/6000000, which is "
        "not on its path.", "Follow the server's own: leave --target-timeline out, and have its WAL and its history "
        "file archived.")),
])  # fmt: skip
def test_the_primary_has_to_go_on_from_there(chosen: Choice, expected: tuple[Outcome, str, str]) -> None:
    assert follow_condition(chosen, PRIMARY) == Precondition(NAME, *expected)


def test_a_primary_that_does_not_answer_leaves_it_open() -> None:
    assert follow_condition(choice(2, 2, 0x4000000), PgvaultError("main cannot be reached")) == Precondition(
        NAME, Outcome.WARNING, "It was not learnt: main cannot be reached. The standby follows timeline 2.",
        "Be sure that the server is on it: SELECT timeline_id FROM pg_control_checkpoint(); or name its own: "
        "--target-timeline N")
