"""Which error to tell a person, of all that an act may raise, and how a job tells it as its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pgvault.model.errors import Cancelled, PgvaultError, from_os_error
from pgvault.model.event import Failure, JobFinished
from pgvault.model.explanations import EXPLANATIONS
from pgvault.model.job import JobState

_LOST = Failure(
    "its process ended without saying how", "The machine was restarted, the process was killed, or memory ran out.",
    "Run the same command again: it clears or takes up what was begun.", "failed", 1)


def error_to_report(error: BaseException, doing: str) -> BaseException:
    """The error to tell a person: out of a group the one that says most, a failed system call in words."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, PgvaultError):
            return leaf
    for leaf in leaves:
        if isinstance(leaf, OSError):
            told = from_os_error(leaf, doing)
            told.__cause__ = leaf
            return told
    return error


def finished(error: PgvaultError, code: str) -> JobFinished:
    """The end of a job that this error ended; `code` is the error's own, or `internal`."""
    state = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
    return JobFinished(state, "", Failure(error.message, error.detail, error.hint, code, error.exit_code))


def failure_of(state: JobState, finished: JobFinished | None) -> Failure | None:
    """Why a job did not succeed, as far as that is known; None of one that did, or has not ended."""
    if state is JobState.LOST:
        return _LOST
    return _complete(finished.error) if finished and finished.error else None


def _complete(failure: Failure) -> Failure:
    """With a cause and a next step in any case: where none was told, by what its code means."""
    known = EXPLANATIONS.get(failure.code)
    usual = f"It was not told. Usually: {' '.join(known.causes)}" if known else ""
    return replace(failure, detail=failure.detail or usual, hint=failure.hint or (
        f"See what it usually means and what to do then: pgvault explain {failure.code}" if known else ""))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
