"""A session that answers as it is told to, in the place of one with a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg

Answer = Sequence[tuple[Any, ...]] | Exception


class MadeSql:
    """`answers` by a part of the query, the first that fits: rows, how it fails, or by the values that are given."""

    def __init__(self, answers: Mapping[str, Answer | Mapping[Any, Answer]]) -> None:
        self._answers = answers
        self._rows: list[tuple[Any, ...]] = []
        self.asked: list[tuple[str, Any]] = []
        self.opened: list[Any] = []
        """What each session was asked for with."""
        self.closed = 0
        self.broken = False
        self.encoding = "UTF8"
        self.loaders: list[tuple[str, type]] = []
        self.adapters = SimpleNamespace(register_loader=lambda *each: self.loaders.append(each))

    @property
    def info(self) -> Any:
        return SimpleNamespace(server_version=180001, parameter_status=lambda name: {
            "server_encoding": self.encoding}.get(name))

    def connect(self, *server: Any, **how: Any) -> MadeSql:
        self.opened.append((*server, how))
        return self

    @contextmanager
    def session(self, *server: Any, **how: Any) -> Iterator[MadeSql]:
        self.opened.append((*server, how))
        yield self

    def execute(self, query: str | bytes, values: Any = ()) -> MadeSql:
        text = query.decode() if isinstance(query, bytes) else query
        self.asked.append((text, values))
        answer = next((answer for part, answer in self._answers.items() if part in text), ())
        if isinstance(answer, Mapping):
            answer = answer[values]
        if isinstance(answer, Exception):
            raise answer
        self._rows = list(answer)
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows[0] if self._rows else None

    def close(self) -> None:
        self.closed += 1


def denied(what: str) -> psycopg.Error:
    return psycopg.errors.InsufficientPrivilege(f"permission denied for {what}")
