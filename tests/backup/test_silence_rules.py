"""How long a silence in the middle of a backup may last, by what the server says of itself. Nobody waits here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest

from pgvault.engine.backup import silence
from pgvault.engine.backup.silence import ASK_SECONDS, SILENCE_SECONDS, Silence
from pgvault.model.errors import Cancelled, Unreachable

MAIN, WISH = SimpleNamespace(name="main"), object()


class Server:
    """Answers what it is to answer, and counts how often it was asked."""

    def __init__(self, answer: tuple[str | None, str | None, int] | Exception | None) -> None:
        self.answer, self.asked = answer, []

    @contextmanager
    def session(self, server: object, *, seconds: float, cancelled: object) -> Iterator[Server]:
        assert (server, cancelled) == (MAIN, WISH)
        assert 0 < seconds < ASK_SECONDS
        if isinstance(self.answer, Exception):
            raise self.answer
        yield self

    def execute(self, query: str, given: tuple[int]) -> Server:
        assert "pg_stat_progress_basebackup" in query
        self.asked.append(given)
        return self

    def fetchone(self) -> object:
        return self.answer


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch):
    def make(answer, copying: bool = False) -> tuple[Silence, Server]:
        server = Server(answer)
        monkeypatch.setattr(silence, "session", server.session)
        found = Silence(MAIN, 4711, WISH)
        if copying:
            found.copying = True
        return found, server
    return make


def ends_at(found: Silence) -> float:
    """The second at which a silence that goes on and on is too long."""
    for second in range(0, 400_000, 10):
        try:
            found(float(second))
        except Unreachable:
            return second
    raise AssertionError("it never ends")


CHECKPOINT = "waiting for checkpoint to finish"
COPY = "streaming database files"


@pytest.mark.parametrize(("answer", "copying", "end"), [
    (None, False, SILENCE_SECONDS),
    (psycopg.OperationalError("gone"), False, SILENCE_SECONDS),
    (Unreachable("gone"), True, SILENCE_SECONDS),
    (("IO", COPY, 300), False, 580 + SILENCE_SECONDS),
    (("IO", COPY, 300), True, 580 + SILENCE_SECONDS),
    (("IO", CHECKPOINT, 300), True, 580 + SILENCE_SECONDS),
    (("Client", COPY, 300), True, SILENCE_SECONDS),
    ((None, COPY, 300), False, SILENCE_SECONDS),
    ((None, CHECKPOINT, 300), False, 3580 + SILENCE_SECONDS),
    ((None, None, 300), False, 3580 + SILENCE_SECONDS),
    ((None, CHECKPOINT, 86400), False, 3 * 86400 - 20 + SILENCE_SECONDS)])
def test_a_silence_lasts_as_long_as_the_server_is_seen_at_work(silent, answer, copying: bool, end: float) -> None:
    assert ends_at(silent(answer, copying)[0]) == end


def test_the_server_is_asked_of_its_process_now_and_then(silent) -> None:
    found, server = silent((None, CHECKPOINT, 300))
    for second in range(int(3 * ASK_SECONDS) + 1):
        found(second)
    assert server.asked == [(4711,)] * 3


def test_the_same_second_is_the_same_silence(silent) -> None:
    found, server = silent(("IO", COPY, 300), copying=True)
    found(500.0)
    found(500.0)
    assert len(server.asked) == 1


def test_too_long_a_silence_is_told_with_what_to_do(silent) -> None:
    with pytest.raises(Unreachable) as told:
        silent(None)[0](60.4)
    assert (told.value.message, told.value.detail, told.value.hint) == (
        "main has been silent for 60 seconds in the middle of the backup",
        "Nothing arrives on the connection, and no sign shows that the server works on the backup.",
        "Check the network between here and the server, and that the server is not stuck; then run the backup again.")


def test_another_silence_begins_anew(silent) -> None:
    found, server = silent(("IO", COPY, 300), copying=True)
    found(500.0)
    server.answer = None
    found(1.0)
    assert ends_at(found) == SILENCE_SECONDS


def test_whoever_cancels_is_not_kept(silent) -> None:
    with pytest.raises(Cancelled):
        silent(Cancelled("cancelled"))[0](ASK_SECONDS)
