"""The definitions of tables and schemas as the host's own pg_dump writes them: before the rows, and behind them.

pg_dump knows what belongs to a thing: types, defaults, keys, indexes, triggers, comments, owners, privileges. Its text
goes to the server as it is, but for its head, in whose place are settings for one transaction, and for psql's
\\restrict around it. Rows are not in it: see `rows`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from pgvault.engine.restore.ask import LoginPath
from pgvault.engine.restored.running import RunningCopy, program
from pgvault.model.bring_back import BringBackPlan
from pgvault.model.errors import PgvaultError
from pgvault.model.identifier import sql_identifier

_SECONDS: Final = 600.0
# A password comes by the input, so that no list of processes shows it.
_DUMP: Final = """# have pg_dump write the definitions
IFS= read -r PGPASSWORD
[ -z "$PGPASSWORD" ] || export PGPASSWORD
unset PGOPTIONS PGSERVICE
exec "$@" </dev/null
"""
_FIRST: Final = b"\n--\n-- Name: "
"""Where the first thing begins behind the head."""
_RESTRICT: Final = re.compile(rb"^\\restrict (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definitions:
    """SQL for one transaction."""

    before: bytes
    behind: bytes


async def dump_definitions(running: RunningCopy, way: LoginPath, plan: BringBackPlan, snapshot: str) -> Definitions:
    """PgvaultError with pg_dump's own words when it fails."""
    argv = [await program(running, "pg_dump"), *running.words(way, plan.database), "-w", f"--snapshot={snapshot}",
            "--strict-names", "--encoding=UTF8", "--lock-wait-timeout=10s", "--no-publications", "--no-subscriptions",
            *(["--no-owner"] * (not plan.owners)), *(["--no-privileges"] * (not plan.privileges)), *_chosen(plan)]
    password = f"{os.environ.get(_password_name(running, way), '')}\n".encode()

    async def section(name: str) -> bytes:
        return body(await running.host.must_run(
            ["sh", "-c", _DUMP, "pgvault", *argv, f"--section={name}"], input=password, timeout=_SECONDS,
            doing=f"have pg_dump write the definitions ({name}) of {', '.join(plan.names)}"))

    return Definitions(await section("pre-data"), await section("post-data"))


def _chosen(plan: BringBackPlan) -> list[str]:
    """Schemas, or tables with all that is below them: pg_dump takes tables alone where both are named."""
    if plan.schemas:
        return [f"--schema={sql_identifier(each.name)}" for each in plan.schemas]
    return [f"--table={each.shown}" for each in plan.relations if each.kind != "S"]


def _password_name(running: RunningCopy, way: LoginPath) -> str:
    copy, config = running.copy, running.config
    if way.place is None:
        return config.host(copy.host).password_environment or ""
    return config.server(copy.server).password_environment or ""


def body(text: bytes) -> bytes:
    """What pg_dump wrote without its head and without psql's own commands around it."""
    head, first, rest = text.partition(_FIRST)
    if not first:
        return b""
    key = _RESTRICT.search(head)
    if key:
        before, ending, _ = rest.rpartition(b"\n\\unrestrict " + key[1] + b"\n")
        if not ending:
            raise PgvaultError("what pg_dump wrote ends too early", detail="It has no \\unrestrict at its end.",
                               hint="Run this again.")
        rest = before + b"\n"
    return first + rest
