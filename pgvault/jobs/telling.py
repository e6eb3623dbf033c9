"""Which error to tell a person, of all that an act may raise."""

from __future__ import annotations

from collections.abc import Iterator

from pgvault.model.errors import PgvaultError, from_os_error


def told_error(error: BaseException, doing: str) -> BaseException:
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


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
