"""The configured log file: a line for each job that starts or ends, and for each command that fails.

A log that cannot be written stops nothing; one warning reports it.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path

from pgvault.cli.context import Context
from pgvault.model.event import Event, JobFinished, JobStarted, Level, Noted
from pgvault.model.secrets import masked
from pgvault.model.text import visible

_LEVELS = {Level.INFO: logging.DEBUG, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


def open_log(context: Context) -> logging.Logger:
    """Return the logger of this call. It writes nowhere if no log file is configured or it cannot be opened."""
    log = logging.getLogger("pgvault.log")
    if log.handlers:
        return log
    log.propagate = False
    log.setLevel(context.log_level.upper())
    path = context.config.vault.log_file
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        try:
            _make_for_group(path)
            handler = WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            context.err.line(context.err.paint("warning: ", "warn"), f"could not open the log file {path}: ",
                             error.strerror or str(error))
    handler.setFormatter(_Line("%(asctime)s [%(process)d] %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    log.addHandler(handler)
    logging.raiseExceptions = False
    return log


def _make_for_group(path: Path) -> None:
    """Create a log file that only its owner and group may read, whatever the umask: it names databases and hosts."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        os.fchmod(descriptor, 0o640)
        os.close(descriptor)


class _Line(logging.Formatter):
    """Formats each record as one line, so that no line feed from outside can forge another record."""

    def converter(self, timestamp: float | None) -> time.struct_time:
        return time.gmtime(timestamp)

    def format(self, record: logging.LogRecord) -> str:
        return visible(masked(super().format(record)))


class JobLog:
    """An `Emit` that logs a job's start, its end and its warnings."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._job = log, ""

    def __call__(self, event: Event) -> None:
        match event:
            case JobStarted():
                self._job = event.job
                self._log.info("job %s started: %s", event.job, event.command)
            case JobFinished(error=None):
                self._log.info("job %s %s: %s", self._job, event.state.value, event.verdict)
            case JobFinished(error=failure) if failure:
                self._log.error("job %s %s: %s", self._job, event.state.value, failure.message)
            case Noted():
                self._log.log(_LEVELS[event.level], "job %s: %s", self._job, event.text)
