"""What is brought from a restored copy back into the live server: told first, and exactly what is then done.

Things come back as they were where nothing of their names is; else the tables come beside what is there, into a schema
of their own, with their columns, keys and rows alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from pgvault.model.check import Outcome
from pgvault.model.identifier import sql_identifier
from pgvault.model.relation import RelationName, SchemaName
from pgvault.model.restore_plan import Precondition
from pgvault.model.target import option
from pgvault.model.text import size

_LONGEST = 63
"""Bytes of a name, NAMEDATALEN - 1."""
_WORDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table",
          "S": "sequence"}


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of the restored copy."""

    oid: int
    schema: str
    name: str
    kind: str
    """As in pg_class.relkind."""
    persistence: str = "p"
    bytes: int = 0
    """With indexes and long values."""
    owner: str = ""
    is_partition: bool = False
    is_below: bool = False
    """Its parent is brought, too."""

    @property
    def word(self) -> str:
        return "partition" if self.is_partition and self.kind == "r" else _WORDS.get(self.kind, "relation")

    @property
    def shown(self) -> str:
        """As SQL names it."""
        return f"{sql_identifier(self.schema)}.{sql_identifier(self.name)}"

    @property
    def holds_rows(self) -> bool:
        """In files of its own."""
        return self.kind == "r"


@dataclass(frozen=True, slots=True)
class BringBackPlan:
    server: str
    """The live one."""
    copy: str
    """The job of the restore."""
    place: str
    """Where the copy is, in words."""
    database: str
    schemas: tuple[SchemaName, ...]
    """Those that come whole."""
    tables: tuple[RelationName, ...]
    beside: str
    """The schema into which the tables go; empty where all comes back as it was."""
    why: str
    """Why it goes there, or why more comes than was asked for; a sentence without a full stop, or empty."""
    relations: tuple[Relation, ...]
    user: str
    """That is to log in to the live server; empty for the configured one."""
    owners: bool
    privileges: bool
    preconditions: tuple[Precondition, ...]
    left: tuple[str, ...]
    """What does not come along, and how it is brought: sentences."""

    @property
    def failed(self) -> tuple[Precondition, ...]:
        return tuple(each for each in self.preconditions if each.outcome is Outcome.FAILED)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.relations)

    @property
    def names(self) -> tuple[str, ...]:
        return *map(str, self.schemas), *map(str, self.tables)

    @property
    def what(self) -> str:
        return ", ".join([*(f"schema {sql_identifier(each.name)}" for each in self.schemas),
                          *(f"{sql_identifier(each.schema)}.{sql_identifier(each.name)}" for each in self.tables)])

    @property
    def act(self) -> str:
        """The real effect, in words."""
        where = f"schema {sql_identifier(self.beside)}" if self.beside else "its place"
        return f"bring {self.what} into {where} in {sql_identifier(self.database)}"

    def to_argv(self) -> list[str]:
        """The command line that makes this very plan: the copy, and where to, are named."""
        argv = ["pgvault", "bring-back", self.copy, *self.names,
                *(option("--beside", self.beside) if self.beside else ["--as-it-was"])]
        if self.user:
            argv += option("--user", self.user)
        return argv + ["--no-owner"] * (not self.owners) + ["--no-privileges"] * (not self.privileges)


def describe_bring_back(plan: BringBackPlan) -> Iterator[tuple[str, str]]:
    """The plan as fields: names and texts."""
    yield "From", f"{plan.place}, the server of restore {plan.copy}"
    yield "Into", f"database {plan.database} of {plan.server}" + (
        f", schema {sql_identifier(plan.beside)}, beside what is there" if plan.beside else ", as it was")
    yield "What", plan.what
    yield "Holds", f"{counted(plan.relations)}; {size(plan.bytes)} there, with indexes"
    if plan.why:
        yield "Why", f"{plan.why}."
    yield "Safe", "one transaction, counted on both sides before it is committed; nothing is overwritten"
    for number, each in enumerate(plan.left):
        yield ("" if number else "Left out"), each


def beside_name(schemas: Iterable[str], taken: Collection[str]) -> str:
    """A schema of its own for what was in these: `public_restored`, with a number where that is taken."""
    known = list(dict.fromkeys(schemas))
    first = known[0] if len(known) == 1 else "restored"
    for number in range(1, len(taken) + 2):
        ending = "_restored" if len(known) == 1 else ""
        ending += f"_{number}" if number > 1 else ""
        room = _LONGEST - len(ending.encode())
        name = first.encode()[:room].decode("utf-8", "ignore") + ending
        if name not in taken:
            return name
    raise AssertionError("one of so many is free")


def counted(relations: Collection[Relation]) -> str:
    """`2 tables, 1 view`; sequences belong to what is counted."""
    words = [each.word for each in relations if each.kind != "S"] or [each.word for each in relations]
    numbers = {word: words.count(word) for word in (*_WORDS.values(), *words) if word in words}
    return ", ".join(f"{number} {word}{'s' * (number != 1)}" for word, number in numbers.items()) or "nothing"
