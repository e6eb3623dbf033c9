"""Definitions of tables and schemas from the host's own pg_dump: before the rows, and after them.

pg_dump knows what belongs to an object: types, defaults, keys, indexes, triggers, comments, owners, privileges. Its
output is sent to the server unchanged, except for its head, which is replaced by settings for one transaction, and for
psql's \\restrict around it. It contains no rows: see `rows`.
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
# The password is passed on standard input, so that no process list shows it.
_DUMP: Final = """# have pg_dump write the definitions
IFS= read -r PGPASSWORD
[ -z "$PGPASSWORD" ] || export PGPASSWORD
unset PGOPTIONS PGSERVICE
exec "$@" </dev/null
"""
_FIRST: Final = b"\n--\n-- Name: "
"""The start of the first object after the head."""
_RESTRICT: Final = re.compile(rb"^\\restrict (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Definitions:
    """SQL for one transaction."""

    before: bytes
    behind: bytes


async def dump_definitions(running: RunningCopy, login: LoginPath, plan: BringBackPlan, snapshot: str) -> Definitions:
    """Run pg_dump; PgvaultError with its own message if it fails."""
    argv = [await program(running, "pg_dump"), *running.words(login, plan.database), "-w", f"--snapshot={snapshot}",
            "--strict-names", "--encoding=UTF8", "--lock-wait-timeout=10s", "--no-publications", "--no-subscriptions",
            *(["--no-owner"] * (not plan.owners)), *(["--no-privileges"] * (not plan.privileges)), *_chosen(plan)]
    password = f"{os.environ.get(_password_name(running, login), '')}\n".encode()

    async def section(name: str) -> bytes:
        return body(await running.host.must_run(
            ["sh", "-c", _DUMP, "pgvault", *argv, f"--section={name}"], input=password, timeout=_SECONDS,
            doing=f"dump the definitions ({name}) of {', '.join(plan.names)}"))

    return Definitions(await section("pre-data"), await section("post-data"))


def _chosen(plan: BringBackPlan) -> list[str]:
    """Return options for schemas, or for tables and all their children. pg_dump ignores schemas if both are given."""
    if plan.schemas:
        return [f"--schema={sql_identifier(each.name)}" for each in plan.schemas]
    return [f"--table={each.shown}" for each in plan.relations if each.kind != "S"]


def _password_name(running: RunningCopy, login: LoginPath) -> str:
    copy, config = running.copy, running.config
    if login.place is None:
        return config.host(copy.host).password_environment or ""
    return config.server(copy.server).password_environment or ""


def body(text: bytes) -> bytes:
    """Return pg_dump's output without its head and without psql's own commands around it."""
    head, first, rest = text.partition(_FIRST)
    if not first:
        return b""
    key = _RESTRICT.search(head)
    if key:
        before, ending, _ = rest.rpartition(b"\n\\unrestrict " + key[1] + b"\n")
        if not ending:
            raise PgvaultError("the output of pg_dump is incomplete", detail="It does not end with \\unrestrict.",
                               hint="Run this again.")
        rest = before + b"\n"
    return first + rest
