"""What lists of jobs show besides the line of `jobline`: two lines for a running job, and times in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pgvault.console.glyphs import Glyphs
from pgvault.console.jobbook import Followed
from pgvault.console.jobline import job_name, silence, state_part
from pgvault.model.job import Job, JobState
from pgvault.model.text import Painted, Part, elapsed, width

_INDENT = "   "


def took(job: Job, now: datetime) -> str:
    """Return how long it ran, or runs; `-` if that is not known."""
    if job.state is JobState.LOST:
        return "-"
    return elapsed(job.started_at, job.finished_at or now)


def short_time(moment: datetime, now: datetime) -> str:
    """Format in twelve columns: `11-24 20:19Z`, or the day alone if the year is another."""
    here = moment.astimezone(UTC)
    return f"{here:%m-%d %H:%MZ}" if here.year == now.year else f"{here:%Y-%m-%d}"


def live(followed: Followed, now: datetime, columns: int, glyphs: Glyphs) -> list[Sequence[Part]]:
    """Return two lines of a running job: what it is and for how long, and how far it is."""
    job = followed.job
    left: list[Part] = [" ", state_part(job.state, glyphs), f"  {job_name(job)}  ", Painted(job.id, "dim")]
    room = columns - sum(width(str(part)) for part in left)
    heard = _heard(followed, now)
    lengths = [f"{took(job, now)}{word}{end} " for word, end in ((" elapsed", heard), ("", heard), (" elapsed", ""))]
    right = next((each for each in lengths if len(each) < room), lengths[-1])
    room -= len(right)
    return [[*left, " " * max(1, room), right], _news(followed, now, columns, glyphs)]


def _heard(followed: Followed, now: datetime) -> str:
    """Return when its last event came, unless the silence since is shown."""
    if followed.heard_at is None or silence(followed, now):
        return ""
    return f", heard {elapsed(followed.heard_at, now)} ago"


def current(jobs: Iterable[Job]) -> list[Job]:
    """Return the ended jobs, newest first, that no newer success of the same kind has superseded."""
    kept, done = [], set()
    for job in jobs:
        what = job.kind, job.server
        if job.state is JobState.SUCCEEDED:
            done.add(what)
        elif what in done:
            continue
        kept.append(job)
    return kept


def brief(followed: Followed) -> str:
    """Return a running job in brief, such as `copy 34%`."""
    share = followed.progress.share if followed.progress else None
    return " ".join(filter(None, (followed.phase, f"{share:.0%}" if share is not None else "")))


def _news(followed: Followed, now: datetime, columns: int, glyphs: Glyphs) -> Sequence[Part]:
    """Return the progress or, if it has not moved for long, that fact, what the job waits for, and its last text about
    it.
    """
    if quiet := silence(followed, now):
        share = followed.progress.share if followed.progress else None
        far = f" {share:.0%}" if share is not None else ""
        last = f"; last command: {followed.command}" if followed.command else ""
        return [_INDENT, Painted(f"{followed.phase}{far}: {followed.note}" if followed.note else f"{quiet}{far}{last}",
                                 "warn")]
    if followed.progress:
        return [_INDENT, followed.progress.line(columns - len(_INDENT) - 1, glyphs.filled, glyphs.empty)]
    since = f" for {elapsed(followed.phase_at, now)}" if followed.phase_at else ""
    return [_INDENT, f"{followed.phase or 'beginning'}{since}"]
