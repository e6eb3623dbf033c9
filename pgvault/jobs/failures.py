"""Selects the error to report of those that an operation raised, and turns it into the end of a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pgvault.model.errors import Cancelled, PgvaultError, from_os_error
from pgvault.model.event import Failure, JobFinished
from pgvault.model.explanations import EXPLANATIONS
from pgvault.model.job import JobState

_LOST = Failure(
    "its process ended without reporting a result",
    "The machine was restarted, the process was killed, or memory ran out.",
    "Run the same command again: it clears or resumes what was begun.", "failed", 1)


def error_to_report(error: BaseException, doing: str) -> BaseException:
    """Return the error to report: the most specific one of a group, with failed system calls described in words."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, PgvaultError):
            return leaf
    for leaf in leaves:
        if isinstance(leaf, OSError):
            error_in_words = from_os_error(leaf, doing)
            error_in_words.__cause__ = leaf
            return error_in_words
    return error


def finished(error: PgvaultError, code: str) -> JobFinished:
    """Return the final event of a job that this error ended. `code` is the error's own, or `internal`."""
    state = JobState.CANCELLED if isinstance(error, Cancelled) else JobState.FAILED
    return JobFinished(state, "", Failure(error.message, error.detail, error.hint, code, error.exit_code))


def failure_of(state: JobState, finished: JobFinished | None) -> Failure | None:
    """Return why a job did not succeed, as far as it is known; None if it succeeded or has not ended."""
    if state is JobState.LOST:
        return _LOST
    return _complete(finished.error) if finished and finished.error else None


def _complete(failure: Failure) -> Failure:
    """Add a cause and a next step if they are missing, from the explanation of the error's code."""
    known = EXPLANATIONS.get(failure.code)
    usual = f"No cause was reported. Usual causes: {' '.join(known.causes)}" if known else ""
    return replace(failure, detail=failure.detail or usual, hint=failure.hint or (
        f"See what it usually means and what to do then: pgvault explain {failure.code}" if known else ""))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
