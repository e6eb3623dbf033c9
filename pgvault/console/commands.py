"""Runs `pgvault` verbs as a person would, and reads their answers: so the console asks servers and hosts.

A verb runs in a process of its own, so that an unreachable server blocks nothing, a question that is no longer asked
ends with its process, and the console needs none of the libraries that connect. Every command is recorded in the
command log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pgvault.io.quoting import join
from pgvault.model.event import Failure, now
from pgvault.model.secrets import masked

REMEMBERED = 1000
_MOST_BYTES = 64 << 20
"""The most bytes of an answer; no verb that is asked here prints as much."""
Document = dict[str, Any]
_PROGRAM = (sys.executable, "-P", "-m", "pgvault")


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run, by the console or by a job."""

    number: int
    at: datetime
    where: str
    """The host's name; empty for this machine."""
    command: str
    """The command line joined for a shell, with secrets masked."""
    seconds: float | None = None
    """How long the command ran, in seconds; None while it runs."""
    status: int | None = None
    """The exit code; None while the command runs, or if it was ended because its answer was no longer wanted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb printed as JSON, and its error when it failed."""

    status: int
    documents: tuple[Document, ...]
    failure: Failure | None

    @property
    def document(self) -> Document:
        """Return the first document, as a rule the only one; empty if there is none."""
        return self.documents[0] if self.documents else {}


@dataclass(slots=True)
class CommandLog:
    """The newest commands, oldest first; listeners are notified when one begins or ends."""

    ran: deque[Ran] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    on_change: Callable[[], None] = lambda: None
    _count: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while the log changes: threads that read the jobs record commands, too."""

    def begin(self, command: str, where: str = "") -> Ran:
        return self._append(now(), where, command)

    def record(self, command: str, where: str, at: datetime, seconds: float, status: int) -> None:
        """Record a command that has ended, such as one in a job's journal; `at` is when it began."""
        self._append(at, where, command, seconds, status)

    @property
    def newest_first(self) -> list[Ran]:
        with self._turn:
            return sorted(self.ran, key=lambda ran: (ran.at, ran.number), reverse=True)

    def end(self, ran: Ran, seconds: float, status: int | None) -> None:
        ended = replace(ran, seconds=seconds, status=status)
        with self._turn:
            for index in range(len(self.ran) - 1, -1, -1):
                if self.ran[index].number == ran.number:
                    self.ran[index] = ended
        self.on_change()

    def _append(self, at: datetime, where: str, command: str, seconds: float | None = None,
                status: int | None = None) -> Ran:
        with self._turn:
            self._count += 1
            ran = Ran(self._count, at, where, masked(command), seconds, status)
            self.ran.append(ran)
        self.on_change()
        return ran


class Commands:
    """The verbs of one configuration."""

    def __init__(self, config: Path | None, log: CommandLog) -> None:
        self._config, self._log = config, log

    def shown(self, words: Sequence[str]) -> str:
        """Return the command line as a person types it; `words` come after `pgvault`."""
        return join(["pgvault", *self._where(), *words])

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return the same command line with this very installation's program."""
        return [*_PROGRAM, *self._where(), *words]

    async def ask(self, *words: str, each: Callable[[Document], None] | None = None) -> Answer:
        """Run a verb to its end; `each` gets every document as it comes. Cancelling ends the process."""
        ran, began = self._log.begin(self.shown(words)), time.monotonic()
        status: int | None = None
        try:
            answer = await _run([*self._where(), "--format", "json", *words], each)
            status = answer.status
            return answer
        finally:
            self._log.end(ran, time.monotonic() - began, status)

    def _where(self) -> list[str]:
        return ["--config", str(self._config)] if self._config else []


async def _run(words: Sequence[str], each: Callable[[Document], None] | None) -> Answer:
    process = await asyncio.create_subprocess_exec(
        *_PROGRAM, *words, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True, limit=_MOST_BYTES)
    assert process.stdout
    assert process.stderr
    documents: list[Document] = []
    try:
        error_output = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            document = _document(line)
            if document is not None:
                documents.append(document)
                if each:
                    each(document)
        text = await error_output
        status = await process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        raise
    return Answer(status, tuple(documents), _failure(text, status))


def _document(line: bytes) -> Document | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _failure(error_output: bytes, status: int) -> Failure | None:
    """Return the error that a verb wrote to standard error, or one made of its other output if it wrote none."""
    for line in reversed(error_output.splitlines()):
        document = _document(line)
        if document and isinstance(error := document.get("error"), dict):
            return Failure(str(error.get("message", "")), str(error.get("detail", "")), str(error.get("hint", "")),
                           str(error.get("code", "")), int(error.get("exit_code", status)))
    if status in (0, 3):
        return None
    text = error_output.decode("utf-8", "backslashreplace").strip()
    return Failure("the command ended without saying why", text[-2000:], "Run the same command in a terminal.",
                   "failed", status)
