"""Plans what is brought back. It queries both servers and changes nothing on either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from pgvault.config.load import Config
from pgvault.engine.restored import inventory
from pgvault.engine.restored.live import open_live
from pgvault.engine.restored.running import RunningCopy, open_copy, program
from pgvault.engine.restored.side import Side, SideFacts
from pgvault.model.bring_back import BringBackPlan, Relation, beside_name, counted
from pgvault.model.check import Outcome
from pgvault.model.errors import NotFound, Refused
from pgvault.model.event import Emit
from pgvault.model.identifier import sql_identifier
from pgvault.model.relation import RelationName, SchemaName
from pgvault.model.restore_plan import Precondition, fails, holds
from pgvault.model.restored import RestoredCopy

_MOST_NAMED = 3
_BARE = ("Only columns, keys and rows are brought, to view, compare and repair them by SQL. Defaults, foreign keys, "
         "other indexes, triggers, owners and privileges are left out.")


@dataclass(frozen=True, slots=True)
class BringBackRequest:
    copy: RestoredCopy
    database: str
    schemas: tuple[SchemaName, ...] = ()
    tables: tuple[RelationName, ...] = ()
    beside: str = ""
    """The schema for the tables; empty for their original place, if nothing there has their names."""
    as_it_was: bool = False
    """Refuse rather than use another schema."""
    user: str = ""
    owners: bool = True
    privileges: bool = True


async def plan_bring_back(request: BringBackRequest, config: Config, emit: Emit) -> BringBackPlan:
    async with AsyncExitStack() as scope:
        running = await scope.enter_async_context(open_copy(request.copy, config, emit))
        there, _ = await running.connect(scope, request.database)
        live = await scope.enter_async_context(
            open_live(config.server(request.copy.server), request.database, request.user))
        return await _Planning(request, running, there, live).plan()


@dataclass(frozen=True, slots=True)
class _Planning:
    request: BringBackRequest
    running: RunningCopy
    there: Side
    """The session with the restored copy."""
    live: Side

    async def plan(self) -> BringBackPlan:
        request = self.request
        known = await inventory.existing_schemas(self.live)
        gone = dict.fromkeys(SchemaName(request.database, each.schema) for each in request.tables
                             if each.schema not in known and not request.beside)
        schemas = tuple(dict.fromkeys([*request.schemas, *gone]))
        tables = tuple(each for each in dict.fromkeys(request.tables)
                       if SchemaName(request.database, each.schema) not in schemas)
        whole = [each.name for each in schemas]
        found = await inventory.relations(self.there, whole, tables)
        await self._must_have(schemas, tables, found)
        taken = await self._taken(whole, known, found)
        beside = request.beside or (beside_name([each.schema for each in found if not each.is_below] or whole, known)
                                    if taken and not request.as_it_was else "")
        why = f"{request.copy.server} has {_some(taken)} already" if beside and taken else \
            f"{_some([f'schema {sql_identifier(each.name)}' for each in gone])} is gone from {request.copy.server}, " \
            f"too: it comes back whole, with {counted(found)}" if gone else ""
        plan = BringBackPlan(request.copy.server, request.copy.job, request.copy.place, request.database, schemas,
                             tables, beside, why, tuple(found), request.user, request.owners, request.privileges, (),
                             ())
        conditions = [each async for each in self._conditions(plan, taken, known)]
        return replace(plan, preconditions=tuple(conditions), left=tuple(await self._left(plan)))

    async def _taken(self, whole: Collection[str], known: Collection[str], found: Collection[Relation]) -> list[str]:
        """Return the names that the live server has already: schemas, then tables, else only dependent names."""
        names = await inventory.taken(self.live, await inventory.names_of(self.there, found))
        tables = {(each.schema, each.name) for each in found if each.kind != "S"}
        return [*(f"schema {sql_identifier(each)}" for each in whole if each in known),
                *(f"{sql_identifier(schema)}.{sql_identifier(name)}" for schema, name in
                  [each for each in names if each in tables] or names)]

    async def _must_have(self, schemas: Collection[SchemaName], tables: Collection[RelationName],
                         found: Collection[Relation]) -> None:
        has = await inventory.existing_schemas(self.there)
        names = {(each.schema, each.name) for each in found}
        lacking = [f"schema {each}" for each in schemas if each.name not in has] + \
                  [f"table {each}" for each in tables if (each.schema, each.name) not in names]
        if lacking:
            raise NotFound(f"{self.request.copy.called} has no {lacking[0]}",
                           detail=f"Searched in {self.request.copy.place}.",
                           hint="If it was created later, or dropped before the target of the restore, restore to "
                                f"another target: pgvault events {self.request.copy.server}")

    async def _conditions(self, plan: BringBackPlan, taken: Collection[str],
                          known: Collection[str]) -> AsyncIterator[Precondition]:
        here, live = await self.there.facts(), await self.live.facts()
        yield holds("restored server", f"PostgreSQL {here.version} in {plan.place}")
        yield _live(plan, here, live)
        yield await self._names(plan, taken, known)
        if plan.beside and not goes_beside(plan.relations):
            yield fails("rows", f"Nothing there has rows to bring beside: {counted(plan.relations)}.",
                        "What is no table comes back only to its original place, if that is free: --as-it-was")
        if not plan.beside:
            yield await self._program()
            yield await self._roles(plan)
        yield await self._rights(plan, known)

    async def _names(self, plan: BringBackPlan, taken: Collection[str], known: Collection[str]) -> Precondition:
        if plan.beside:
            names = {(plan.beside, each.name) for each in goes_beside(plan.relations)}
            twice = len(names) < len(goes_beside(plan.relations))
            in_the_way = [name for _, name in await inventory.taken(self.live, names)]
            if twice or in_the_way:
                return fails("names", "Two of the tables have the same name." if twice else
                             f"Schema {sql_identifier(plan.beside)} has {_some(in_the_way)} already.",
                             "Bring back one at a time, or choose another schema: --beside SCHEMA")
            new = "" if plan.beside in known else ", which is created"
            return holds("names", f"beside what is there, in schema {sql_identifier(plan.beside)}{new}")
        if taken:
            return fails("names", f"{plan.server} has {_some(taken)} already.",
                         "Omit --as-it-was: the tables then go into another schema.")
        return holds("names", f"{plan.server} has none of these names")

    async def _program(self) -> Precondition:
        try:
            return holds("pg_dump", await program(self.running, "pg_dump"))
        except Refused as error:
            return fails("pg_dump", f"{error.message}. {error.detail}", error.hint)

    async def _roles(self, plan: BringBackPlan) -> Precondition:
        wanted = await inventory.roles_of(self.there, plan.relations, [each.name for each in plan.schemas]) \
            if plan.owners and plan.privileges else {each.owner for each in plan.relations} if plan.owners else set()
        if lacking := await inventory.missing_roles(self.live, wanted):
            return fails("roles", f"{plan.server} has no role {_some(lacking)}.",
                         "Create it there, or let the role that logs in own the objects: --no-owner --no-privileges")
        return holds("roles", "owners and grantees exist" if plan.owners else
                     "the role that logs in owns the objects")

    async def _rights(self, plan: BringBackPlan, known: Collection[str]) -> Precondition:
        into = {plan.beside} if plan.beside else {each.schema for each in plan.relations}
        lacking = await inventory.missing_rights(
            self.live, creates=bool(into - set(known)), schemas=sorted(into & set(known)),
            owners=sorted({each.owner for each in plan.relations}) if plan.owners and not plan.beside else ())
        if lacking:
            return fails("rights", f"{'; '.join(lacking)}.", "Log in as a role that may: --user ROLE; its password "
                         "comes from ~/.pgpass")
        return holds("rights", f"{self.live.sql.info.user} may create everything")

    async def _left(self, plan: BringBackPlan) -> list[str]:
        large = await inventory.large_objects(self.there)
        left_there = [f"Large objects are not brought: {large:,} of database {plan.database} stay in the copy, "
                      "whatever refers to them."] if large else []
        if plan.beside:
            others = [each.shown for each in plan.relations if each.kind in "vf"]
            bare = [f"Left out, since they have no rows: {', '.join(others)}."] if others else []
            return [_BARE, *bare, *left_there]
        dependents = await inventory.lost_dependents(self.there, plan.relations)
        return [*_hints(plan, dependents), *left_there]


def _hints(plan: BringBackPlan, dependents: Mapping[str, list[tuple[str, ...]]]) -> Iterator[str]:
    for table, name, definition in dependents["keys"]:
        yield f"The foreign key of {table} was dropped with it: ALTER TABLE {table} ADD CONSTRAINT {name} {definition};"
    for schema, name in dependents["views"]:
        view = RelationName(plan.database, schema, name)
        yield f"View {view} used it and was dropped with it: pgvault bring-back {plan.copy} '{view}'"
    for publication, table in dependents["published"]:
        yield f"It was published: ALTER PUBLICATION {publication} ADD TABLE {table};"
    if unlogged := [each.shown for each in plan.relations if each.persistence == "u"]:
        yield f"Unlogged, and therefore empty after a recovery: {', '.join(unlogged)}."


def goes_beside(relations: Collection[Relation]) -> list[Relation]:
    """Return the tables with rows; a partitioned table counts as one."""
    return [each for each in relations if each.kind in "rpm" and not (each.is_partition and each.is_below)]


def _live(plan: BringBackPlan, here: SideFacts, live: SideFacts) -> Precondition:
    if live.started == here.started:
        return fails("live server", f"The conninfo of {plan.server} leads to the restored server itself.",
                     f"Correct the conninfo of {plan.server}.")
    if live.in_recovery:
        return fails("live server", f"The conninfo of {plan.server} leads to a standby, which accepts no "
                     "writes.", "Set it to the primary, for instance with target_session_attrs=primary.")
    if live.system_identifier != here.system_identifier:
        return Precondition("live server", Outcome.WARNING, f"PostgreSQL {live.version}; it is not the cluster that "
                            "was backed up", "Make sure that this is intended.")
    return holds("live server", f"PostgreSQL {live.version}")


def _some(names: Collection[str]) -> str:
    """Name the first few of them."""
    shown = list(names)[:_MOST_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
