"""Which jobs a person has seen the end of: kept beside their other state, for each vault.

What is kept are the newest job and those at work when the jobs were last looked at; a job has ended unseen when it is
newer than that, or was at work then. Nothing is kept of who looked, and a state that cannot be read or written is no
reason to stop: then nothing counts as new.
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
    """How the jobs stood when somebody looked."""

    newest: str
    """A job's id; empty when there was none."""
    at_work: frozenset[str]

    def is_news(self, job_id: str) -> bool:
        """Return whether this job, which has ended, had not ended then."""
        return job_id > self.newest or job_id in self.at_work


class JobNews:
    """The last look at one vault's jobs."""

    def __init__(self, home: Path, file: Path | None = None) -> None:
        self._home, self._file = str(home), file or state_file()
        self._before = self._kept = self._read()

    @property
    def is_first(self) -> bool:
        """Nobody looked yet: then nothing is news."""
        return self._before is None

    def is_news(self, job_id: str) -> bool:
        """Return whether a job, which has ended, had not at the look before this one."""
        return self._before is not None and self._before.is_news(job_id)

    def mark_seen(self, ids: Iterable[str], at_work: Iterable[str]) -> None:
        """Note that all jobs are being looked at as they are now; what is news stays so until `turn`."""
        look = SeenJobs(max(ids, default=""), frozenset(at_work))
        if look != self._kept:
            self._kept = look
            self._write(look)

    def turn(self) -> None:
        """Whoever looked has turned to something else."""
        self._before = self._kept

    def _read(self) -> SeenJobs | None:
        try:
            kept = _kept(self._file)[self._home]
            return SeenJobs(str(kept["newest"]), frozenset(map(str, kept["at_work"])))
        except (KeyError, TypeError):
            return None

    def _write(self, look: SeenJobs) -> None:
        every = {**_kept(self._file), self._home: {"newest": look.newest, "at_work": sorted(look.at_work)}}
        with suppress(OSError):
            make_directory(self._file.parent)
            write_durably(self._file, json.dumps(every, indent=1).encode())


def _kept(file: Path) -> dict[str, Any]:
    """Return the jobs seen, of every vault; empty if they cannot be read."""
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def describe_news(news: JobNews, book: JobBook) -> str:
    """Describe what ended since the last look, in one line; empty if nothing did. At the very first look nothing is
    news."""
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
