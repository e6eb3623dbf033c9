"""Sessions with a restored server and with the live one: what is in the way is named with its next step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from pgvault.engine.restored import opening, throwing_away
from pgvault.engine.restored.running import when_locked
from pgvault.engine.restored.side import Side
from pgvault.model.errors import Cancelled, Refused
from pgvault.model.event import discard


class Answers:
    """A connection that replays states: recovers, paused, timeline."""

    def __init__(self, *states: tuple[bool, bool, int | None]) -> None:
        self.states, self.resumed = list(states), 0

    async def execute(self, query: bytes, _: Any = None) -> Answers:
        self.resumed += query == opening._RESUME.encode()
        return self

    async def fetchall(self) -> list[Any]:
        return [self.states.pop(0)]


class Locked:
    async def execute(self, *_: Any) -> None:
        raise psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")


def test_a_lock_that_replay_holds_leads_to_opening_the_server() -> None:
    side: Any = Side("the restored main", Locked(), "read the restored main", when_locked("20261123T110000Z-01"))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="could not read the restored main: it is locked there") as refused:
        asyncio.run(side.rows("SELECT 1"))
    assert "pgvault open 20261123T110000Z-01 ends the recovery" in refused.value.hint


def test_one_paused_before_its_target_is_resumed_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def alive(*_: Any) -> Any:
        return SimpleNamespace(alive=True)

    monkeypatch.setattr(opening, "observe_server", alive)
    monkeypatch.setattr(opening, "_POLL_SECONDS", 0)
    running: Any = SimpleNamespace(host=None, copy=SimpleNamespace(directory=""), programs="")
    answers = Answers((True, True, None), (True, False, None), (True, True, None), (False, False, 2))
    assert asyncio.run(opening._promoted(running, Side("it", answers, "ask it"))) == 2  # type: ignore[arg-type]
    assert answers.resumed == 2


async def cancelled(*_: Any, **__: Any) -> Any:
    raise asyncio.CancelledError


def test_a_removal_that_is_cancelled_says_what_may_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def reach(*_: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(run_script=cancelled), "", SimpleNamespace(alive=False)

    async def judged(*_: Any) -> Any:
        return SimpleNamespace(failed=(), directory="/srv/copy")

    monkeypatch.setattr(throwing_away, "reach_copy", reach)
    monkeypatch.setattr(throwing_away, "plan_throw_away", judged)
    plan: Any = SimpleNamespace(directory="/srv/copy", place="host:/srv/copy", tablespaces=(),
                                to_argv=lambda: ["pgvault", "throw-away", "1", "--remove", "/srv/copy"])
    copy: Any = SimpleNamespace(host="", major=18, job="1", is_whole=True)
    with pytest.raises(Cancelled) as told:
        asyncio.run(throwing_away.throw_away(plan, copy, None, discard))  # type: ignore[arg-type]
    assert "some of its files may be removed" in told.value.detail
    assert told.value.hint.endswith("pgvault throw-away 1 --remove /srv/copy")


def test_a_directory_that_leads_elsewhere_by_now_is_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def judged(*_: Any) -> Any:
        return SimpleNamespace(failed=(), directory="/srv/other", to_argv=lambda: ["pgvault", "throw-away", "1"])

    monkeypatch.setattr(throwing_away, "plan_throw_away", judged)
    shown: Any = SimpleNamespace(directory="/srv/copy")
    copy: Any = SimpleNamespace(directory="/srv/link")
    with pytest.raises(Refused, match="/srv/link leads to /srv/other now"):
        asyncio.run(throwing_away.throw_away(shown, copy, None, discard))  # type: ignore[arg-type]


def test_an_opening_that_is_cancelled_says_that_it_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: Any) -> Any:
        return Side("it", Answers(), "ask it"), None  # type: ignore[arg-type]

    async def waits(*_: Any) -> tuple[str, int]:
        return "", 0

    @asynccontextmanager
    async def reach(*_: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(connect=connect, copy=SimpleNamespace(databases=()))

    monkeypatch.setattr(opening, "open_copy", reach)
    monkeypatch.setattr(opening, "_why_not_opened", waits)
    monkeypatch.setattr(opening, "_promoted", cancelled)
    copy: Any = SimpleNamespace(called="the restored server of job 1", job="1")
    with pytest.raises(Cancelled) as told:
        asyncio.run(opening.open_for_use(copy, None, discard))  # type: ignore[arg-type]
    assert "may still open, or be open already" in told.value.detail
