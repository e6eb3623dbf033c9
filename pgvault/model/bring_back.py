"""The plan of copying tables and schemas from a restored copy back into the live server.

Objects return to their original place if nothing there has their names. Otherwise the tables go into a schema of their
own, with their columns, keys and rows only.
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
"""Longest name in bytes, NAMEDATALEN - 1."""
_WORDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table",
          "S": "sequence"}


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of the restored copy."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind."""
    persistence: str = "p"
    bytes: int = 0
    """Size including indexes and TOAST."""
    owner: str = ""
    is_partition: bool = False
    is_below: bool = False
    """Whether its parent is copied as well."""

    @property
    def word(self) -> str:
        return "partition" if self.is_partition and self.kind == "r" else _WORDS.get(self.kind, "relation")

    @property
    def shown(self) -> str:
        """The qualified name as SQL writes it."""
        return f"{sql_identifier(self.schema)}.{sql_identifier(self.name)}"

    @property
    def holds_rows(self) -> bool:
        """Whether the relation has rows in files of its own."""
        return self.kind == "r"


@dataclass(frozen=True, slots=True)
class BringBackPlan:
    server: str
    """The live server."""
    copy: str
    """The job that restored the copy."""
    place: str
    """Where the copy is, described for people."""
    database: str
    schemas: tuple[SchemaName, ...]
    """Schemas that are copied whole."""
    tables: tuple[RelationName, ...]
    beside: str
    """The schema that receives the tables; empty when everything returns to its original place."""
    why: str
    """Why that schema is used, or why more is copied than was requested: a sentence without a full stop, or empty."""
    relations: tuple[Relation, ...]
    user: str
    """The role that logs in to the live server; empty for the configured one."""
    owners: bool
    privileges: bool
    preconditions: tuple[Precondition, ...]
    left: tuple[str, ...]
    """Sentences about what is not copied, and how to copy it."""

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
        """What the plan does, in words."""
        where = f"schema {sql_identifier(self.beside)}" if self.beside else "its place"
        return f"bring {self.what} into {where} in {sql_identifier(self.database)}"

    def to_argv(self) -> list[str]:
        """Return the command line that makes this same plan. It names the copy and the destination."""
        argv = ["pgvault", "bring-back", self.copy, *self.names,
                *(option("--beside", self.beside) if self.beside else ["--as-it-was"])]
        if self.user:
            argv += option("--user", self.user)
        return argv + ["--no-owner"] * (not self.owners) + ["--no-privileges"] * (not self.privileges)


def describe_bring_back(plan: BringBackPlan) -> Iterator[tuple[str, str]]:
    """Yield the plan as pairs of label and text."""
    yield "From", f"{plan.place}, the server of restore {plan.copy}"
    yield "Into", f"database {plan.database} of {plan.server}" + (
        f", schema {sql_identifier(plan.beside)}, beside what is there" if plan.beside else ", in its original place")
    yield "What", plan.what
    yield "Holds", f"{counted(plan.relations)}; {size(plan.bytes)} there, with indexes"
    if plan.why:
        yield "Why", f"{plan.why}."
    yield "Safe", "one transaction; rows are counted on both sides before it commits; nothing is overwritten"
    for number, each in enumerate(plan.left):
        yield ("" if number else "Left out"), each


def beside_name(schemas: Iterable[str], taken: Collection[str]) -> str:
    """Return an unused name for a new schema: `public_restored`, with a number if that name is taken."""
    known = list(dict.fromkeys(schemas))
    first = known[0] if len(known) == 1 else "restored"
    for number in range(1, len(taken) + 2):
        ending = "_restored" if len(known) == 1 else ""
        ending += f"_{number}" if number > 1 else ""
        room = _LONGEST - len(ending.encode())
        name = first.encode()[:room].decode("utf-8", "ignore") + ending
        if name not in taken:
            return name
    raise AssertionError("no free name")


def counted(relations: Collection[Relation]) -> str:
    """Count relations by kind: `2 tables, 1 view`. Sequences are counted only when there is nothing else."""
    words = [each.word for each in relations if each.kind != "S"] or [each.word for each in relations]
    numbers = {word: words.count(word) for word in (*_WORDS.values(), *words) if word in words}
    return ", ".join(f"{number} {word}{'s' * (number != 1)}" for word, number in numbers.items()) or "nothing"
