"""The acts that follow the proof: on the restored server, each with its key and its command.

Pure. Every name is quoted for its reader: by SQL's quoting for tables and, at the end, by the shell's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pgvault.console.recovery.draft import Draft, Then, What
from pgvault.model.identifier import sql_identifier
from pgvault.model.relation import RelationName, parse_relation

LOOK, BRING_BACK, OPEN, LIFT, THROW_AWAY, OTHER_POINT = \
    "look", "bring-back", "open-copy", "lift", "throw-away", "retry"
"""The names of the acts, as the console's keys have them."""
Shown = Callable[[Sequence[str]], str]
"""Formats the words after `pgvault` as a command line for a shell."""


@dataclass(frozen=True, slots=True)
class Next:
    """One act that is possible now."""

    action: str
    name: str
    says: str
    """Its purpose, in words."""
    words: tuple[str, ...] = ()
    """The words after `pgvault`; empty for an act of the console alone."""


def afterwards(draft: Draft, took: str) -> Iterator[Next]:
    """Yield the possible acts once the restored server runs and was queried; `took` is the duration of the restore."""
    job = draft.job
    for same in by_database(map(parse_relation, draft.expect)):
        names = ", ".join(f"{sql_identifier(each.schema)}.{sql_identifier(each.name)}" for each in same)
        what = "the rows as they were, beside" if draft.what in (What.ROWS, What.DEPLOY) else "as it was:"
        yield Next(BRING_BACK, "bring back", f"{what} {names} to {draft.server}; its plan is shown first",
                   ("bring-back", job, *map(str, same)))
    if not draft.expect:
        yield Next(BRING_BACK, "bring back", f"a table or a schema that you name, to {draft.server}",
                   ("bring-back", job, "DATABASE.SCHEMA.TABLE"))
    yield Next(LOOK, "look", "at the restored server: psql here, and back again", ("look", job))
    if draft.then is Then.PAUSE:
        yield Next(OPEN, "open it", "for use: replay ends here, on a timeline of its own", ("open", job))
        yield Next(OTHER_POINT, "new point", f"keeps your other answers; it is a restore again, and this one took "
                                             f"{took}. Throw this one away first, or choose another directory.")
    yield Next(LIFT, "let it act", "as the original does: removes the settings that the restore added against it",
               ("open", job, "--lift"))
    yield Next(THROW_AWAY, "throw away", "stop the restored server and remove its files",
               ("throw-away", job, "--remove", draft.directory))


def by_database(tables: Iterable[RelationName]) -> Iterator[list[RelationName]]:
    """Group the tables by database: those of one database are brought back together."""
    every = list(tables)
    for database in dict.fromkeys(table.database for table in every):
        yield [table for table in every if table.database == database]


def copied(steps: Iterable[Next], line: Shown) -> str:
    """Return the commands so that they can be pasted all at once: only those that bring tables back run, and they ask
    first. The others are comments; none removes files.
    """
    return "".join(f"# {each.name}\n{'' if each.action == BRING_BACK else '# '}{line(each.words)}\n"
                   for each in steps if each.words and each.action != THROW_AWAY)
