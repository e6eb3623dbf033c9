"""Brings tables and schemas back into the live server: one transaction there and one snapshot of the copy, or nothing.

Nothing is reported as done before the server has committed it, and it commits only what was counted on both sides.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pgvault.config.load import Config
from pgvault.engine.cancellation import to_its_end
from pgvault.engine.restore.ask import LoginPath
from pgvault.engine.restored import inventory
from pgvault.engine.restored.definitions import Definitions, dump_definitions
from pgvault.engine.restored.live import LONGEST, commit, open_live
from pgvault.engine.restored.plan import goes_beside
from pgvault.engine.restored.rows import Moved, Mover, with_rows
from pgvault.engine.restored.running import RunningCopy, open_copy
from pgvault.engine.restored.side import Side
from pgvault.model.bring_back import BringBackPlan, counted
from pgvault.model.errors import Cancelled, PgvaultError, Refused
from pgvault.model.event import Emit, PhaseStarted
from pgvault.model.identifier import sql_identifier
from pgvault.model.restored import RestoredCopy

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class BroughtBack:
    plan: BringBackPlan
    tables: tuple[Moved, ...]

    def __str__(self) -> str:
        named = [f"{each.table} ({each.rows} row{'s' * (each.rows != 1)})" for each in self.tables[:_MOST_NAMED]]
        more = len(self.tables) - len(named)
        rest = "" if self.plan.beside else f"; {counted(self.plan.relations)}"
        return (f"brought back into {self.plan.database} of {self.plan.server}: "
                f"{', '.join(named) or ', '.join(self.plan.names)}{f' and {more} more' if more else ''}{rest}")


async def bring_back(plan: BringBackPlan, copy: RestoredCopy, config: Config, emit: Emit) -> BroughtBack:
    """Execute the plan. After an error nothing was changed in the live server, unless the error says otherwise."""
    server, verdict = config.server(plan.server), None
    try:
        async with AsyncExitStack() as scope:
            running = await scope.enter_async_context(open_copy(copy, config, emit))
            source, login = await running.connect(scope, plan.database)
            live = await scope.enter_async_context(open_live(server, plan.database, plan.user))
            try:
                moved = BroughtBack(plan, tuple(await _Act(plan, running, login, source, live, emit).move()))
            except PgvaultError as error:
                error.detail = f"{error.detail} Nothing was changed in {plan.server}.".strip()
                raise
            emit(PhaseStarted("commit"))
            verdict = moved
            await to_its_end(commit(live, server, plan.user))
    except asyncio.CancelledError:
        if verdict:
            raise Cancelled("cancelled after it was done", detail=f"The result stays: {verdict}.") from None
        raise Cancelled(f"bringing back into {plan.server} was cancelled",
                        detail="Nothing was changed there.") from None
    return moved


@dataclass(frozen=True, slots=True)
class _Act:
    plan: BringBackPlan
    running: RunningCopy
    login: LoginPath
    source: Side
    live: Side
    emit: Emit

    async def move(self) -> list[Moved]:
        """Move everything into the live server's transaction, and count it."""
        plan, source = self.plan, self.source
        await source.run(f"SET statement_timeout = '{LONGEST:.0f}s'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = await inventory.relations(source, [each.name for each in plan.schemas], plan.tables)
        if {(each.oid, each.shown) for each in found} != {(each.oid, each.shown) for each in plan.relations}:
            raise Refused("the restored server has changed since the plan was made",
                          detail=f"It now has {counted(found)}.", hint="Run the command again for a new plan.")
        mover = Mover(source, self.live, self.emit)
        return await self._beside(mover) if plan.beside else await self._as_it_was(mover)

    async def _beside(self, mover: Mover) -> list[Moved]:
        plan = self.plan
        self.emit(PhaseStarted("copy", plan.bytes))
        if plan.beside not in await inventory.existing_schemas(self.live):
            await self.live.run(f"CREATE SCHEMA {sql_identifier(plan.beside)}")
        return [await mover.beside(each, plan.beside) for each in goes_beside(plan.relations)]

    async def _as_it_was(self, mover: Mover) -> list[Moved]:
        plan, emit = self.plan, self.emit
        emit(PhaseStarted("definitions"))
        definitions = await self._definitions()
        await self.live.run(definitions.before)
        emit(PhaseStarted("copy", plan.bytes))
        moved = [await mover.as_it_was(each) for each in with_rows(plan.relations)]
        for each in plan.relations:
            if each.kind == "S" and each.persistence == "p":
                await mover.sequence(each)
        emit(PhaseStarted("keys and indexes"))
        await self.live.run(definitions.behind)
        await self.live.run("RESET default_tablespace; RESET default_table_access_method")  # a pooler keeps settings
        moved += [await mover.refreshed(each) for each in plan.relations if each.kind == "m"]
        await self._must_be_whole()
        return moved

    async def _definitions(self) -> Definitions:
        [(snapshot,)] = await self.source.rows("SELECT pg_export_snapshot()")
        return await dump_definitions(self.running, self.login, self.plan, snapshot)

    async def _must_be_whole(self) -> None:
        """Check that each table, index, view and sequence of the copy now exists."""
        names = await inventory.names_of(self.source, self.plan.relations)
        if lacking := names - set(await inventory.taken(self.live, names)):
            schema, name = min(lacking)
            raise PgvaultError(f"{sql_identifier(schema)}.{sql_identifier(name)} did not come back",
                               detail=f"{len(lacking)} of {len(names)} names are missing.",
                               hint="Search the live server for what prevents it: an event trigger, an extension.")
