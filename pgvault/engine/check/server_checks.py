"""The checks of the server itself: reachable, supported, the right one, and the privileges of the roles."""

from __future__ import annotations

from pgvault.engine.check.facts import ServerState
from pgvault.model.check import Finding, failed, not_applicable, ok, warning
from pgvault.model.errors import PgvaultError
from pgvault.model.identifier import sql_identifier
from pgvault.model.majors import NEWEST

BACKUP_SENDERS = 2
"""WAL senders that a backup uses: one sends the files, the other the WAL written meanwhile."""


def finding_of(error: PgvaultError) -> Finding:
    """Return a failed finding for the error that replaces the facts."""
    return failed(error.message, error.detail, error.hint)


def postgresql(state: ServerState) -> Finding:
    if isinstance(state.sql, PgvaultError):
        return finding_of(state.sql)
    if not state.sql.refusal:
        return ok("through a connection pooler" if state.sql.is_pooled else "")
    return warning(f"queried in database {state.sql.database}: {state.sql.refusal}",
                   "The database of conninfo rejects this role, but pgvault can use another one.",
                   f"Correct dbname in conninfo of [servers.{state.server.name}], or let role {state.sql.user} connect "
                   "to that database.")


def version(state: ServerState) -> Finding:
    server = state.sql_facts.server
    if server.tested:
        return ok(server.version)
    return warning(
        f"{server.version}, this pgvault was tested up to PostgreSQL {NEWEST}",
        "Backups, archiving and restores to the end of WAL do not depend on it. WAL records are not read, so "
        "events, and targets before an event, are unknown.", "Install a newer pgvault.")


def system_identifier(state: ServerState) -> Finding:
    theirs, ours = state.sql_facts.server, state.vault.identity
    if ours is None or ours.system_identifier == theirs.system_identifier:
        return ok(theirs.system_identifier)
    return failed(
        f"the vault holds {ours.system_identifier}, the server is {theirs.system_identifier}",
        "This is another cluster than the one in the vault: conninfo leads to the wrong server, or the cluster was "
        "recreated.", f"Correct conninfo of [servers.{state.server.name}], or give the new cluster a name of its own.")


def not_in_recovery(state: ServerState) -> Finding:
    if not state.sql_facts.server.in_recovery:
        return ok()
    return failed("the server is a standby", "A standby writes no WAL of its own, so a backup cannot "
                  "end here.", f"Set conninfo of [servers.{state.server.name}] to the primary.")


def replication_rights(state: ServerState) -> Finding:
    if state.sql_facts.may_replicate is None:
        if isinstance(state.streaming, PgvaultError):
            return not_applicable("the name of streaming_conninfo's role is not known")
        return ok()
    if state.sql_facts.may_replicate:
        return ok()
    role = state.sql_facts.streaming_user
    return failed(f"role {role} has no REPLICATION", "Base backups and streamed WAL need it.",
                  f"ALTER ROLE {sql_identifier(role)} REPLICATION;")


def max_wal_senders(state: ServerState) -> Finding:
    most = int(state.sql_facts.settings.get("max_wal_senders", "0"))
    if most == 0:
        return failed("max_wal_senders = 0", "Streaming from this server is disabled.",
                      "ALTER SYSTEM SET max_wal_senders = 10;  -- then restart PostgreSQL")
    in_use = state.sql_facts.wal_senders
    if most - in_use >= BACKUP_SENDERS:
        return ok()
    return warning(f"{in_use} of {most} are in use", f"A backup needs {BACKUP_SENDERS}.",
                   f"ALTER SYSTEM SET max_wal_senders = {most + 5};  -- then restart PostgreSQL")


def max_replication_slots(state: ServerState) -> Finding:
    most = int(state.sql_facts.settings.get("max_replication_slots", "0"))
    if most > state.sql_facts.slots:
        return ok()
    return warning(
        f"{state.sql_facts.slots} of {most} are in use", "A backup retains its WAL with a temporary slot.",
        f"ALTER SYSTEM SET max_replication_slots = {most + 5};  -- then restart PostgreSQL\n"
        "or drop an unused slot: SELECT slot_name FROM pg_replication_slots WHERE NOT active;")


def streaming(state: ServerState) -> Finding:
    if isinstance(state.streaming, PgvaultError):
        return finding_of(state.streaming)
    theirs = state.sql_facts.server.system_identifier
    if state.streaming.system_identifier != theirs:
        return failed(f"it leads to {state.streaming.system_identifier}, conninfo to {theirs}",
                      "streaming_conninfo and conninfo reach two different clusters.",
                      f"Correct streaming_conninfo of [servers.{state.server.name}].")
    return ok()


def ssh(state: ServerState) -> Finding:
    if state.ssh is None:
        return not_applicable("not configured: only a restore in place needs it")
    if isinstance(state.ssh, PgvaultError):
        return finding_of(state.ssh)
    return ok("PostgreSQL server")


def data_checksums(state: ServerState) -> Finding:
    if state.sql_facts.settings.get("data_checksums") != "off":
        return ok()
    directory = state.sql_facts.server.data_directory or state.server.data_directory or "DATA_DIRECTORY"
    return warning("off", "Pages damaged by the server's disk are backed up unnoticed.",
                   f"pg_checksums --enable -D {directory}   # with PostgreSQL stopped")


def sql_rights(state: ServerState) -> Finding:
    facts, missing, grants = state.sql_facts, [], []
    role = sql_identifier(facts.user)
    if not facts.may_switch_wal:
        missing.append("execute pg_switch_wal() (for switch-wal)")
        grants.append(f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {role};  "
                      f"-- in database {facts.database}")
    if not facts.server.data_directory and not state.server.data_directory:
        missing.append("see data_directory (for a restore in place)")
        grants.append(f"GRANT pg_read_all_settings TO {role};")
    if not missing:
        return ok()
    return warning(f"role {facts.user} may not {' nor '.join(missing)}",
                   "Backups and archiving work without this, but these operations do not.", "\n".join(grants))
