"""The table of checks in display order; each follows those that it needs.

The names in the first column are documented and stable. Those that exist in Barman have its names.
"""

from __future__ import annotations

from pgvault.engine.check import server_checks, vault_checks, wal_checks
from pgvault.engine.check.facts import ServerState
from pgvault.model.check import Check

CHECKS: tuple[Check[ServerState], ...] = (
    Check("PostgreSQL", server_checks.postgresql),
    Check("PostgreSQL version", server_checks.version, ("PostgreSQL",)),
    Check("system identifier", server_checks.system_identifier, ("PostgreSQL",)),
    Check("archive_mode", wal_checks.archive_mode, ("PostgreSQL",)),
    Check("wal_level", wal_checks.wal_level, ("PostgreSQL",)),
    Check("archive_command", wal_checks.archive_command, ("archive_mode",)),
    Check("continuous archiving", wal_checks.continuous_archiving, ("archive_command", "wal_level")),
    Check("max_wal_senders", server_checks.max_wal_senders, ("wal_level",)),
    Check("max_replication_slots", server_checks.max_replication_slots, ("wal_level",)),
    Check("replication rights", server_checks.replication_rights, ("PostgreSQL",)),
    Check("PostgreSQL streaming", server_checks.streaming, ("max_wal_senders", "replication rights")),
    Check("replication slot", wal_checks.replication_slot, ("archive_mode", "PostgreSQL streaming")),
    Check("receive-wal running", wal_checks.receive_wal, ("replication slot",)),
    Check("directories", vault_checks.directories),
    Check("WAL arriving", wal_checks.arriving,
          ("system identifier", "continuous archiving", "receive-wal running", "directories")),
    Check("WAL gaps", wal_checks.gaps, ("directories",)),
    Check("WAL that recovery can pass", wal_checks.breaks, ("directories",)),
    Check("timeline histories", wal_checks.histories, ("directories",)),
    Check("WAL quarantine", wal_checks.quarantine, ("directories",)),
    Check("space in the vault", vault_checks.space, ("directories",)),
    Check("retention policy settings", vault_checks.retention_policy),
    Check("backup facts", vault_checks.readable_backups, ("directories",)),
    Check("backup maximum age", vault_checks.backup_age, ("directories",)),
    Check("compression settings", vault_checks.compression),
    Check("minimum redundancy requirements", vault_checks.redundancy, ("directories",)),
    Check("ssh", server_checks.ssh),
    Check("not in recovery", server_checks.not_in_recovery, ("PostgreSQL",)),
    Check("data checksums", server_checks.data_checksums, ("PostgreSQL",)),
    Check("SQL rights", server_checks.sql_rights, ("PostgreSQL",)),
)
