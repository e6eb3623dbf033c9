"""The settings by which a server acts on the world outside its data directory: pure rules on names and values.

A copy that runs beside its original must not archive, follow, log, schedule or replicate in the original's place.
Settings that a default makes harmless are commented out; background workers that act on the outside, or that run jobs
by themselves, are not loaded; and if the data cannot be read without the library, its workers are switched off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pgvault.model.restore_plan import SettingChange

NEUTRALISED: Final = frozenset({
    "archive_command", "archive_library", "archive_mode", "archive_cleanup_command", "recovery_end_command",
    "restore_command", "primary_conninfo", "primary_slot_name", "recovery_min_apply_delay", "promote_trigger_file",
    "recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn",
    "recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid",
    "data_directory", "external_pid_file", "synchronous_standby_names", "synchronized_standby_slots",
    "sync_replication_slots", "bonjour", "pg_partman_bgw.dbname", "squeeze.worker_autostart",
})
"""Settings that are commented out in every file."""
WRITTEN: Final = frozenset({"log_directory", "log_filename", "stats_temp_directory"})
"""Paths to which the server writes; relative ones are in the data directory, unless they lead out of it."""
PATHS: Final = frozenset({
    "hba_file", "ident_file", "krb_server_keyfile", "log_directory", "ssl_ca_file", "ssl_cert_file", "ssl_crl_dir",
    "ssl_crl_file", "ssl_dh_params_file", "ssl_key_file", "stats_temp_directory",
})
"""Paths that are moved with the data directory."""
REPORTED: Final = PATHS | {
    "dynamic_library_path", "huge_pages", "listen_addresses", "local_preload_libraries", "session_preload_libraries",
    "shared_preload_libraries", "ssl_passphrase_command", "unix_socket_directories", "unix_socket_group",
}
"""Settings that are left unchanged and reported: they may not fit another host."""
LIBRARIES: Final = "shared_preload_libraries"

ALWAYS: Final = {"max_logical_replication_workers": "0"}
"""Settings that are always written. A subscription's worker would take changes from the publisher's slot in the live
subscriber's place.
"""
WHY: Final = "so that the copy acts on nothing outside"
_REACH_OUT: Final = {
    "bdr": "replicates", "pglogical": "replicates", "spock": "replicates", "pg_failover_slots": "copies slots",
    "pg_cron": "runs jobs", "pg_partman_bgw": "runs jobs", "pg_squeeze": "runs jobs", "pg_task": "runs jobs",
    "pgpro_scheduler": "runs jobs", "pg_durable": "runs jobs", "pg_later": "runs jobs", "worker_spi": "runs jobs",
    "pg_net": "sends requests", "vectorize": "sends requests", "bgw_replstatus": "answers for the original",
    "pgautofailover": "watches other servers", "percona_pg_telemetry": "reports about the server",
}
"""Libraries whose workers act by themselves, and which are not needed to read the data."""
_SWITCHED_OFF: Final = {
    "timescaledb": {"timescaledb.max_background_workers": "0"},
    "citus": {"citus.recover_2pc_interval": "-1", "citus.distributed_deadlock_detection_factor": "-1",
              "citus.defer_shard_delete_interval": "-1"},
}
"""Libraries without which the data cannot be read, with the settings that stop their workers."""
_NAME = re.compile(r'\s*("(?:[^"]|"")*"|[^,]*?)\s*(?:,|$)')


def is_outside(name: str, value: str) -> bool:
    """Return whether a path to which the server writes, relative to its data directory, is outside of it."""
    if name == "log_filename":
        return "/" in value
    return value.startswith("/") or ".." in value.split("/")


def logs_elsewhere(value: str) -> bool:
    """Return whether this log_destination sends the log to the host's own, the same as the original's."""
    return bool({"syslog", "eventlog"} & {name.strip().strip('"').lower() for name in value.split(",")})


def without_workers(libraries: str) -> tuple[str, tuple[str, ...]]:
    """Return the list without the libraries whose workers act by themselves, and each removed one with what it does."""
    names = libraries_of(libraries)
    kept = [name for name in names if _library(name) not in _REACH_OUT]
    return ", ".join(kept), tuple(f"{name} {_REACH_OUT[name]}" for name in map(_library, names) if name in _REACH_OUT)


def switched_off(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the settings that stop the workers of the loaded libraries; a library that is not loaded has none of them.
    """
    for name in map(_library, libraries_of(values.get(LIBRARIES, ""))):
        yield from _SWITCHED_OFF.get(name, {}).items()


def lifted_by_reset(changes: Iterable[SettingChange]) -> tuple[str, ...]:
    """Return the settings that a restore added for this purpose alone: without them the configuration is the original's
    again.
    """
    return tuple(each.name for each in changes if not each.line and WHY in each.action)


def libraries_of(libraries: str) -> list[str]:
    """Return the names in such a list, without their quotes."""
    return [name for name in _NAME.findall(libraries) if name]


def _library(name: str) -> str:
    """Return the library's name: `pg_cron` for "$libdir/pg_cron.so"."""
    return name.strip('"').rpartition("/")[2].removesuffix(".so")
