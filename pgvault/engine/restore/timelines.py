"""The timeline that a restored server takes when it promotes: one that nothing in the vault has, whatever was archived.

PostgreSQL takes the number after the highest one for which it finds a history file, counting upwards from the timeline
that it recovers along until one is missing. So a restore brings a history file for each number that is taken. Those
that the archive lacks are placeholders, which PostgreSQL only tests for existence, as long as the timeline to recover
along is named (`findNewestTimeLine`, `access/transam/timeline.c`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace

from pgvault.engine.restore.settings import AUTO_CONF, without_recovery
from pgvault.io.host import Host
from pgvault.model.errors import PgvaultError
from pgvault.model.event import Emit, Level, Noted
from pgvault.model.restore_plan import RestorePlan
from pgvault.vault import recoveries
from pgvault.vault.layout import ServerVault
from pgvault.vault.recoveries import Recovery


def reserve_timeline(server: ServerVault, plan: RestorePlan, job: str, emit: Emit) -> Recovery:
    """Reserve the number. In a vault that cannot be written to, the number is used without being recorded."""
    wanted = Recovery(0, plan.point.timeline, job, plan.destination.host, plan.destination.directory)
    try:
        return recoveries.reserve(server, wanted)
    except (OSError, PgvaultError) as error:
        number = recoveries.next_timeline(server, plan.point.timeline)
        emit(Noted(f"the vault cannot note that this recovery takes timeline {number} ({error}); a later one may take "
                   "the same", Level.WARNING, "timeline"))
        return replace(wanted, timeline=number)


def placeholders(recovery: Recovery, histories: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the content of a history file for each number that is taken and is in none of `histories`."""
    names = (f"{number:08X}.history" for number in range(recovery.follows + 1, recovery.timeline))
    return {name: b"# pgvault: another recovery has this timeline\n" for name in names if name not in histories}


async def follow_promotion(host: Host, directory: str, server: ServerVault, recovery: Recovery, timeline: int | None,
                           emit: Emit) -> None:
    """Complete a server that left its recovery: remove the recovery settings, and record its history in the vault."""
    await _end_recovery(host, directory, emit)
    await _note_promotion(host, directory, server, recovery, timeline, emit)


async def _end_recovery(host: Host, directory: str, emit: Emit) -> None:
    """Remove the recovery settings: the server no longer needs them, and a standby of it must not get them."""
    path = f"{directory}/{AUTO_CONF}"
    try:
        await host.write_file(path, without_recovery(await host.read_file(path)))
        emit(Noted("the recovery settings are taken out of postgresql.auto.conf again; until the server is restarted, "
                   "as for archive_mode it must be, it mentions them at each reload"))
    except PgvaultError as error:
        emit(Noted(f"could not take the recovery settings out of {path}: {error.message}; do so before you make a "
                   "standby of this server", Level.WARNING))


async def _note_promotion(host: Host, directory: str, server: ServerVault, recovery: Recovery, timeline: int | None,
                          emit: Emit) -> None:
    """Keep the history file that the promotion wrote; `timeline` is the one that the server reports, if it does."""
    number = timeline or recovery.timeline
    name = f"{number:08X}.history"
    path = f"{directory}/pg_wal/{name}"
    try:
        text = (await host.read_file(path)).decode()
        await asyncio.to_thread(recoveries.note_history, server, replace(recovery, timeline=number), text)
    except (PgvaultError, OSError, ValueError) as error:
        reason = error.message if isinstance(error, PgvaultError) else os.strerror(error.errno or 0) \
            if isinstance(error, OSError) else str(error)
        emit(Noted(f"could not note the history of timeline {number} in the vault: {reason}; before this server "
                   f"archives, bring it: pgvault put-wal {server.name} {name} < {path}", Level.WARNING, "timeline"))
        return
    emit(Noted(f"the vault keeps {name}: it joins the archive of {server.name} with the first WAL of this timeline",
               code="timeline"))
