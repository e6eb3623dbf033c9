"""A job on one line: what it does, how far it is, and for how long it has been silent.

Pure. For a running job the most important part comes first, and a part without room is left out whole, never half of a
value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pgvault.console.glyphs import Glyphs
from pgvault.console.jobbook import Followed
from pgvault.model.job import Job, JobState
from pgvault.model.pace import Progress
from pgvault.model.text import Painted, Part, ago, elapsed, size, span, visible, width

Line = Sequence[Part]
_GAP = 2
_LEAST_BAR, _MOST_BAR = 8, 30
_ENDED: Mapping[JobState, tuple[str, str]] = {
    JobState.SUCCEEDED: ("good", "good"), JobState.FAILED: ("failed", "bad"), JobState.LOST: ("failed", "bad"),
    JobState.CANCELLED: ("skipped", "dim")}
"""The name of the glyph, and the style."""


class _Piece(NamedTuple):
    part: Part
    rank: int
    """The part's rank: the lower it is, the longer the part is kept."""


def job_line(followed: Followed, now: datetime, glyphs: Glyphs, columns: int) -> Line:
    """Return a running job in at most that many columns: `» backup main-db copy 42% 110.0 MiB/s 12 s left`."""
    job = followed.job
    lead = Painted(f"{glyphs.running} {job_name(job)}", "accent")
    pieces = [_Piece(lead, 0), *_state(job), *_how_far(followed, now)]
    kept = _fitting(pieces, columns)
    if followed.progress and followed.progress.share is not None and not silence(followed, now):
        room = min(_MOST_BAR, columns - _columns(kept) - _GAP)
        if room >= _LEAST_BAR:
            place = next((i for i, piece in enumerate(kept) if str(piece.part).endswith("%")), len(kept))
            kept.insert(place, _Piece(bar(followed.progress.share, room, glyphs), 0))
    return _joined(kept)


def ended_lines(jobs: Sequence[Job], now: datetime, glyphs: Glyphs) -> list[Line]:
    """Return ended jobs, one below the other: `✓ backup main-db succeeded 2h ago 20261122T120000Z is DONE`."""
    names = _even([job_name(job) for job in jobs])
    states = _even([job.state.value for job in jobs])
    ages = _even([ago(job.finished_at or job.started_at, now) for job in jobs])
    return [[state_part(job.state, glyphs, before=name), state[len(job.state.value):], " " * _GAP,
             Painted(age, "dim"), " " * _GAP, job.verdict]
            for job, name, state, age in zip(jobs, names, states, ages, strict=True)]


def _even(texts: Sequence[str]) -> list[str]:
    """Pad each text with blanks to the width of the widest."""
    widths = [width(visible(text)) for text in texts]
    return [text + " " * (max(widths) - columns) for text, columns in zip(texts, widths, strict=True)]


def state_part(state: JobState, glyphs: Glyphs, before: str = "") -> Painted:
    """Return the state's word with its symbol; `before` comes between the two, as in `✓ backup main-db succeeded`."""
    name, style = _ENDED.get(state, ("running", "warn" if state is JobState.CANCELLING else "accent"))
    return Painted(" ".join(filter(None, (getattr(glyphs, name), f"{before} " * bool(before), state.value))), style)


def job_name(job: Job) -> str:
    return f"{job.kind.value} {job.server}".rstrip()


def silence(followed: Followed, now: datetime) -> str:
    """Return `no news for 12 s, waits on: copy`; empty while the job advances."""
    return ", ".join(_silence(followed, now))


def _silence(followed: Followed, now: datetime) -> Iterator[str]:
    if quiet := followed.stillness(now):
        yield quiet
        if followed.phase:
            yield f"waits on: {followed.phase}"


def bar(share: float, columns: int, glyphs: Glyphs) -> str:
    done = int(min(max(share, 0.0), 1.0) * columns)
    return glyphs.filled * done + glyphs.empty * (columns - done)


def _state(job: Job) -> Iterator[_Piece]:
    if job.state is not JobState.RUNNING:
        yield _Piece(Painted(job.state.value, "warn" if job.state is JobState.CANCELLING else "accent"), 1)


def _how_far(followed: Followed, now: datetime) -> Iterator[_Piece]:
    quiet = silence(followed, now)
    if followed.phase and not quiet:
        yield _Piece(followed.phase, 4)
    if followed.progress:
        yield from _progress(followed.progress, moving=not quiet)
    elif not quiet:
        since = followed.phase_at or followed.job.started_at
        yield _Piece(f"for {elapsed(since, now)}", 2)
    for text, rank in zip(_silence(followed, now), (1, 6), strict=False):
        yield _Piece(Painted(text, "warn"), rank)


def _progress(progress: Progress, *, moving: bool) -> Iterator[_Piece]:
    """Return the parts of the progress; the rate only with `moving`, since that of a silent job is past."""
    if progress.share is not None:
        yield _Piece(f"{progress.share:.0%}", 1)
    yield _Piece(size(progress.done) + (f" of {size(progress.total)}" if progress.total else ""),
                 5 if progress.total else 1)
    if moving and progress.rate:
        yield _Piece(f"{size(round(progress.rate))}/s", 3)
    if moving and progress.seconds_left is not None:
        yield _Piece(f"{span(round(progress.seconds_left))} left", 2)


def _fitting(pieces: Sequence[_Piece], columns: int) -> list[_Piece]:
    """Return the parts without the least important ones, so many that the rest has room."""
    kept = list(pieces)
    while len(kept) > 1 and _columns(kept) > columns:
        worst = max(kept[1:], key=lambda piece: piece.rank)
        kept.remove(worst)
    return kept


def _columns(pieces: Sequence[_Piece]) -> int:
    return sum(width(visible(str(piece.part))) for piece in pieces) + _GAP * (len(pieces) - 1)


def _joined(pieces: Sequence[_Piece]) -> Line:
    line: list[Part] = []
    for piece in pieces:
        line += [" " * _GAP, piece.part] if line else [piece.part]
    return line
