"""The items that one restore sends, in order: directories, then WAL and files, then what makes the cluster startable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from pgvault.config.conninfo import parse_conninfo
from pgvault.config.schema import HostConfig
from pgvault.engine.restore.files import conf_files, read_small
from pgvault.engine.restore.limits import replication_origins
from pgvault.engine.restore.sent_wal import SentWal
from pgvault.engine.restore.settings import (
    HEADING,
    WAL_DIRECTORY,
    Needs,
    SafeSettings,
    make_safe,
    recovery_additions,
)
from pgvault.engine.restore.stream import BackupFile, Item, SmallFile
from pgvault.engine.restore.timelines import placeholders
from pgvault.io.probe_script import MARKER
from pgvault.model.control_file import read_control_file
from pgvault.model.restore_plan import Point, RestoreDestination, RestorePlan, Source
from pgvault.model.target import target_settings
from pgvault.vault.layout import ServerVault
from pgvault.vault.manifest import Entry, Kind, Manifest
from pgvault.vault.packs import PackReader
from pgvault.vault.recoveries import Recovery

# Exit status 1 only if the file is certainly absent: PostgreSQL takes 1 to 125 as the end of all WAL.
# A standby asks again and streams the rest, also when the directory is gone: a copy of this one, for example.
RESTORE_COMMAND = (f'if [ -e "{WAL_DIRECTORY}/%f" ]; then cp "{WAL_DIRECTORY}/%f" "%p" || exit 200; '
                   f'elif [ -d {WAL_DIRECTORY} ] || [ -e standby.signal ]; then exit 1; else exit 200; fi')
RECOVERY_END_COMMAND = f"rm -rf {WAL_DIRECTORY}"

PG_CONTROL, _ORIGINS = "global/pg_control", "pg_logical/replorigin_checkpoint"
HELD_BACK = "global/pg_control.pgvault"
"""The name of pg_control until everything else is on disk: PostgreSQL cannot start without it."""
LOG_FILE = "pgvault-recovery.log"
"""The log of the restored server while it recovers."""
_LEFT_OUT = frozenset({"tablespace_map", "recovery.signal", "standby.signal", "backup_manifest",
                       MARKER, HELD_BACK, LOG_FILE})
"""Files that are not sent: the links are made from the plan; the manifest describes the files before they were made
safe; and a restored server may still have what its own restore left.
"""


def recovery_settings(source: Source, point: Point, destination: RestoreDestination) -> dict[str, str]:
    """Return the recovery settings in the order in which they are written to postgresql.auto.conf; values unquoted."""
    return dict(recovery_additions(
        target_settings(point.target, point.stop_lsn, point.stop_replayed), timeline=point.recovery_timeline(source),
        action=point.action.value, restore_command=RESTORE_COMMAND, recovery_end_command=RECOVERY_END_COMMAND,
        has_spaces_inside=destination.has_spaces_inside))


def safe_settings(source: Source, point: Point, destination: RestoreDestination, manifest: Manifest, packs: PackReader,
                  config: HostConfig | None, upstream: str, job: str) -> SafeSettings:
    """Return the configuration that the restored server will read."""
    backup, additions = source.backup, recovery_settings(source, point, destination)
    if point.standby and upstream:
        additions["primary_conninfo"] = upstream
    if port := destination.port or (config and config.port):
        additions["port"] = str(port)
    if config is not None and config.socket_directory:
        additions["unix_socket_directories"] = config.socket_directory
    return make_safe(lambda path: read_small(path, manifest, packs), lambda path: conf_files(path, manifest), additions,
                     old_directory=backup.data_directory, new_directory=destination.directory,
                     heading=f"{HEADING} backup {backup.id} of {backup.server}, job {job}",
                     needs=_needs(source, manifest, packs))


def _needs(source: Source, manifest: Manifest, packs: PackReader) -> Needs:
    """Return the limits of the backup's pg_control, and larger ones from the WAL that is replayed."""
    control = read_control_file(read_small(PG_CONTROL, manifest, packs) or b"")
    limits = dict((control and control.limits) or {})
    for name, needed in (asdict(source.limits) if source.limits else {}).items():
        limits[name] = max(needed, limits.get(name, 0))
    return Needs(source.backup.major, limits,
                 replication_origins(read_small(_ORIGINS, manifest, packs) or b""))


class RestoredCluster:
    """The items that one restore sends."""

    def __init__(self, plan: RestorePlan, server: ServerVault, manifest: Manifest, config: HostConfig | None,
                 upstream: str, job: str, recovery: Recovery) -> None:
        self._plan, self._server, self._manifest, self._recovery = plan, server, manifest, recovery
        with PackReader(server) as packs:
            self._settings = safe_settings(plan.source, plan.point, plan.destination, manifest, packs, config, upstream,
                                           job)

    def directories(self) -> Iterator[Item]:
        """Yield all directories first, so that parallel streams find them."""
        links = {f"pg_tblspc/{space.oid}" for space in self._plan.destination.placed}
        for entry in self._manifest.entries():
            if entry.kind is Kind.DIRECTORY and entry.path not in links and not _is_old_wal(entry):
                yield BackupFile(entry.path, entry)
        yield SmallFile(f"{WAL_DIRECTORY}/.keep", b"")

    def files(self) -> Iterator[Item]:
        yield from self._wal()
        for entry in self._manifest.entries():
            if entry.kind is Kind.FILE and not self._later(entry):
                yield BackupFile(entry.path, entry)

    def last(self) -> Iterator[Item]:
        """Yield the configuration, the signal file, and the file that PostgreSQL cannot start without."""
        for path, content in self._settings.files.items():
            yield SmallFile(path, content)
        yield SmallFile("standby.signal" if self._plan.point.standby else "recovery.signal", b"")
        if (control := self._manifest.find(PG_CONTROL)) is not None:
            yield BackupFile(HELD_BACK, control)

    def _later(self, entry: Entry) -> bool:
        return (entry.path == PG_CONTROL or entry.path in _LEFT_OUT or entry.path in self._settings.files
                or _is_old_wal(entry))

    def _wal(self) -> Iterator[Item]:
        source = self._plan.source
        if self._plan.point.recovery_timeline(source).isdigit():  # a recovery to the latest timeline reads them
            for name, text in placeholders(self._recovery, source.wal.histories).items():
                yield SmallFile(f"{WAL_DIRECTORY}/{name}", text)
        yield from SentWal(self._server, source.wal, source.backup.segment_size).items(WAL_DIRECTORY)


def _is_old_wal(entry: Entry) -> bool:
    """Return whether it is from the restore that created the server which was backed up."""
    return entry.path == WAL_DIRECTORY or entry.path.startswith(f"{WAL_DIRECTORY}/")


def upstream_conninfo(text: str) -> str:
    """Return a primary_conninfo for a standby of the server to which this connection string leads."""
    known = {k: v for k, v in parse_conninfo(text).items() if k not in ("dbname", "application_name", "password")}
    return " ".join(f"{key}='" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for key, value in known.items())
