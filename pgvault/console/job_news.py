"""Remembers, for each vault, the jobs whose end a person has seen, in a file among that person's other state.

The file has the newest job, and those that ran when the jobs were last looked at. A job has ended unseen if it is
newer, or ran then. The file does not record who looked, and one that cannot be read or written is no error: then no job
counts as new.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvault.config.state import state_directory
from pgvault.console.jobbook import LOOKED_AT, JobBook
from pgvault.store.files import make_directory, write_durably


def state_file() -> Path:
    return state_directory() / "seen.json"


@dataclass(frozen=True, slots=True)
class SeenJobs:
    """The jobs as they were when somebody looked."""

    newest: str
    """The newest job's id; empty if there was none."""
    at_work: frozenset[str]

    def is_news(self, job_id: str) -> bool:
        """Return whether this job, which has ended, had not ended at that time."""
        return job_id > self.newest or job_id in self.at_work


class JobNews:
    """The last look at one vault's jobs."""

    def __init__(self, home: Path, file: Path | None = None) -> None:
        self._home, self._file = str(home), file or state_file()
        self._before = self._saved = self._read()

    @property
    def is_first(self) -> bool:
        """True before anybody has looked; then no job is news."""
        return self._before is None

    def is_news(self, job_id: str) -> bool:
        """Return whether a job, which has ended, had not ended at the look before this one."""
        return self._before is not None and self._before.is_news(job_id)

    def mark_seen(self, ids: Iterable[str], at_work: Iterable[str]) -> None:
        """Note that all jobs are being seen as they are now; what is news remains so until `turn`."""
        look = SeenJobs(max(ids, default=""), frozenset(at_work))
        if look != self._saved:
            self._saved = look
            self._write(look)

    def turn(self) -> None:
        """Note that the person has turned to something else, so that what they saw is no longer news."""
        self._before = self._saved

    def _read(self) -> SeenJobs | None:
        try:
            kept = _read_every(self._file)[self._home]
            return SeenJobs(str(kept["newest"]), frozenset(map(str, kept["at_work"])))
        except (KeyError, TypeError):
            return None

    def _write(self, look: SeenJobs) -> None:
        every = {**_read_every(self._file), self._home: {"newest": look.newest, "at_work": sorted(look.at_work)}}
        with suppress(OSError):
            make_directory(self._file.parent)
            write_durably(self._file, json.dumps(every, indent=1).encode())


def _read_every(file: Path) -> dict[str, Any]:
    """Return the jobs seen, of every vault; empty if they cannot be read."""
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def describe_news(news: JobNews, book: JobBook) -> str:
    """Describe the jobs that ended since the last look, in one line; empty if none did. At the very first look
    nothing is news.
    """
    if news.is_first:
        news.mark_seen(book.ids, (each.job.id for each in book.running))
        news.turn()
        return ""
    states = [book.job(job_id).state for job_id in book.ids[:LOOKED_AT]
              if news.is_news(job_id) and not book.followed(job_id)]
    if not states:
        return ""
    words = ", ".join(f"{states.count(state)} {state.value}" for state in dict.fromkeys(states))
    return f"ended since you last looked (4): {words}"
