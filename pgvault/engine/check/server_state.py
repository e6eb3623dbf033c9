"""Queries a server: one SQL session, one replication session, and one ssh login if configured, at the same time.

Nothing is changed on the server, and each of them ends within `LOOK_SECONDS`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.engine.check import vault_state
from pgvault.engine.check.facts import SETTINGS, Archiver, ServerState, Slot, SqlFacts, StreamingFacts, or_error
from pgvault.io.patience import run, within
from pgvault.io.postgres import Connection, connect, connection_parameters, session
from pgvault.io.postgres_failure import translated
from pgvault.io.server_facts import read_facts
from pgvault.model.backup import BackupStatus
from pgvault.model.errors import Unreachable
from pgvault.model.lsn import Lsn
from pgvault.vault.layout import Vault

_DOING = "reach the server"
PATIENCE = 3
"""Timeout of a statement or a command in seconds: they are answered at once."""
LOOK_SECONDS = 7.0
"""Timeout of all queries of a server: monitoring gives up after ten seconds."""

_SEGMENTS_READ = 16
"""Unread segments whose records are read; this many take about a second."""

_STATE = """
SELECT session_user::text, current_database()::text,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,
       (SELECT timeline_id FROM pg_control_checkpoint()), coalesce(%(streaming)s, session_user)::text,
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = coalesce(%(streaming)s, session_user)),
       has_function_privilege('pg_switch_wal()', 'EXECUTE'),
       (SELECT count(*) FROM pg_stat_replication), (SELECT count(*) FROM pg_replication_slots)"""
_ARCHIVER = """
SELECT coalesce(last_archived_wal, ''), last_archived_time, coalesce(last_failed_wal, ''), last_failed_time,
       failed_count FROM pg_stat_archiver"""
_SLOT = """
SELECT slot_name::text, slot_type, active, restart_lsn::text, coalesce(wal_status, '') FROM pg_replication_slots
WHERE slot_name = %s"""


def probe_server(server: ServerConfig, home: Path) -> ServerState:
    """Return all facts about one server at this time."""
    vault = Vault(home).server(server.name)
    backups, unreadable = vault_state.read_backups(vault)
    ask_size = not any(backup.status is BackupStatus.DONE for backup in backups)
    with ThreadPoolExecutor(max_workers=3, thread_name_prefix=f"check {server.name}") as threads:
        sql = threads.submit(or_error, lambda: ask(server, size=ask_size), _DOING)
        streaming = threads.submit(or_error, lambda: ask_walsender(server), _DOING)
        ssh = threads.submit(or_error, lambda: log_in(server), _DOING) if server.ssh else None
    return ServerState(server=server, at=datetime.now(UTC), sql=sql.result(), streaming=streaming.result(),
                       ssh=ssh.result() if ssh else None,
                       vault=vault_state.read_vault(vault, home, backups, unreadable, segments=_SEGMENTS_READ))


def ask(server: ServerConfig, *, size: bool = False) -> SqlFacts:
    """Query by SQL. PgvaultError if the server cannot be reached, does not answer, or is too old."""
    with session(server, settings={"statement_timeout": f"{PATIENCE}s"}, seconds=LOOK_SECONDS) as connection:
        facts = read_facts(connection)
        state = connection.execute(_STATE, {"streaming": _streaming_user(server)}).fetchone()
        archiver = connection.execute(_ARCHIVER).fetchone()
        assert state
        assert archiver
        user, database, lsn, segment, timeline, streaming_user, may_replicate, may_switch, senders, slots = state
        slot = connection.execute(_SLOT, (server.slot_name,)).fetchone()
        return SqlFacts(
            server=facts, user=user, database=database, settings=_settings(connection), lsn=Lsn.parse(lsn or "0/0"),
            timeline=int(segment[:8], 16) if segment else timeline, streaming_user=streaming_user,
            may_replicate=may_replicate, may_switch_wal=may_switch, wal_senders=senders, slots=slots,
            archiver=Archiver(*archiver), slot=_slot(slot) if slot else None,
            cluster_bytes=_cluster_bytes(connection) if size else None, is_pooled=connection.is_pooled,
            refusal=connection.refusal)


def ask_walsender(server: ServerConfig) -> StreamingFacts:
    """Query with the replication protocol's IDENTIFY_SYSTEM."""
    connection = connect(server, replication=True, seconds=LOOK_SECONDS)
    try:
        row = connection.execute("IDENTIFY_SYSTEM").fetchone()
        assert row
        return StreamingFacts(row[0], int(row[1]))
    except psycopg.Error as error:
        raise translated(server.name, error, "query by the replication protocol", replicating=True) from error
    finally:
        connection.close()


def log_in(server: ServerConfig) -> str:
    """Log in to the server's host by ssh and run only `true`. Return a description of the host."""
    from pgvault.io.hosts import open_host

    async def attempt() -> str:
        host = await open_host(server.name, server.ssh, identity_file=server.identity_file,
                               known_hosts=server.known_hosts)
        async with host:
            await host.must_run(["true"], doing="run a command", timeout=PATIENCE)
            return host.description

    try:
        return within(LOOK_SECONDS, lambda: run(attempt()))
    except TimeoutError:
        raise Unreachable(f"could not log in to the host of {server.name}",
                          detail=f"No answer came in {LOOK_SECONDS:.0f} seconds.",
                          hint="Check the network, firewalls and name servers between here and the host.") from None


def _settings(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, coalesce(setting, '') FROM pg_settings WHERE name = ANY(%s)",
                              (list(SETTINGS),)).fetchall()
    settings: dict[str, str] = dict(rows)
    if settings.get("archive_mode") == "off":
        settings["archive_command"] = ""  # PostgreSQL shows "(disabled)"
    return settings


def _slot(row: tuple[Any, ...]) -> Slot:
    name, kind, active, restart, status = row
    return Slot(name, kind, active, Lsn.parse(restart) if restart else None, status)


def _streaming_user(server: ServerConfig) -> str | None:
    """Return the role that streams, if it differs from that of the SQL session."""
    sql, streaming = (connection_parameters(text, server.password_environment).get("user")
                      for text in (server.conninfo, server.streaming_conninfo))
    return streaming if streaming != sql else None


def _cluster_bytes(connection: Connection) -> int | None:
    try:
        row = connection.execute("SELECT sum(pg_database_size(oid))::bigint FROM pg_database").fetchone()
    except psycopg.Error:  # too many files to measure in time, or databases that this role may not read
        return None
    return row[0] if row else None
