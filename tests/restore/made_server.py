"""A restored server that answers as it is told to, in the place of `RestoredServer`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pgvault.engine.restore.ask import ANSWER_SECONDS, NotAnswered, Session

Answers = Mapping[str, Any]
"""By a part of the question, the first that fits: rows, a document, or how it fails."""


class MadeSession(Session):
    def __init__(self, answers: Answers, asked: list[tuple[str, float]]) -> None:
        self._answers, self._asked = answers, asked

    async def document(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> Any:
        self._asked.append((sql, seconds))
        answer = next(answer for part, answer in self._answers.items() if part in sql)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def rows(self, sql: str, *, seconds: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        return list(await self.document(sql, seconds=seconds))


class MadeServer:
    """`roles` are the sessions that can be had in any database, one after the other; `closed` says of databases why
    nobody gets in."""

    def __init__(self, answers: Answers | NotAnswered, *roles: Answers,
                 closed: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self.asked: list[tuple[str, float]] = []
        self.into: list[str] = []
        self._answers, self._roles, self._closed = answers, roles, closed or {}

    async def ask(self, sql: str) -> list[dict[str, Any]]:
        if isinstance(self._answers, NotAnswered):
            raise self._answers
        return await MadeSession(self._answers, self.asked).rows(sql)

    async def sessions(self, database: str) -> AsyncGenerator[Session, None]:
        self.into.append(database)
        if not self._roles:
            raise NotAnswered("nothing lets us in")
        for answers in self._roles:
            yield MadeSession(answers, self.asked)

    async def why_closed(self, database: str) -> str:
        return self._closed.get(database, "")


