"""Every setting, once: its key, the kind of its value, its default, where it may stand, and what it means.

The three dataclasses are the table. Reading (`pgvault.config.load`), `config show` and the help (`reference`) all come
from their fields, so a setting is added by adding a field. A setting that `inherits` may also stand in [vault], where
it is the default of all servers (and hosts, where they have it).
"""
# ruff: noqa: RUF009  (each call in a class body makes a dataclass field)

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgvault.config import kinds
from pgvault.config.address import SshAddress
from pgvault.config.kinds import Kind, optional
from pgvault.model.retention_policy import RetentionPolicy

_STORED = "the vault stores zstd, which is smaller and faster"
_FIX = 'Write compression = "zstd", or leave the line out.'
_REFUSED_COMPRESSION = dict.fromkeys(
    ("gzip", "pigz", "bzip2", "pybzip2", "pygzip", "lz4", "snappy", "xz", "custom", "none", ""), (_STORED, _FIX))
_REUSE = 'Write reuse_backup = "link", or leave the line out.'
_REFUSED_REUSE = {
    "copy": ("what an earlier backup stored is shared, not copied again", _REUSE),
    "off": ("every backup is complete by itself already; to read everything anew, take it with --full", _REUSE),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    key: str
    kind: Kind
    meaning: str
    """One or two sentences, with the unit where there is one."""
    required: bool
    default: str
    """As the help shows it."""
    inherits: bool


def _setting(kind: Kind, meaning: str, *, default: Any = MISSING, factory: Callable[[], Any] | None = None,
             shown: str | None = None, inherits: bool = False) -> Any:
    """A dataclass field that is a setting; `shown` is the default in words where its value would not tell."""
    if shown is None:
        shown = "" if default is MISSING else str(kind.write(default)).lower()
    metadata = {"kind": kind, "meaning": meaning, "shown": shown, "inherits": inherits}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """[vault]: the repository itself. Server settings may stand here too, as defaults of all servers."""

    home: Path = _setting(kinds.LOCAL_PATH, "The directory that holds everything of all servers.")
    configuration_files_directory: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "A directory whose *.toml files, in the order of their names, hold further "
        "[servers.NAME] and [hosts.NAME] tables.", default=None)
    log_file: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "Where messages go besides standard error.", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """[servers.NAME]: one PostgreSQL cluster to protect."""

    name: str
    description: str = _setting(kinds.LABEL, "Free text of one line, shown beside the name.", default="")
    conninfo: str = _setting(
        kinds.CONNINFO, "How to connect for SQL: a libpq connection string or URI, without a password.")
    streaming_conninfo: str = _setting(
        kinds.CONNINFO, "How to connect for replication: base backups and streamed WAL.", default="",
        shown="the conninfo")
    password_environment: str | None = _setting(
        optional(kinds.ENVIRONMENT_NAME), "The environment variable that holds the password, for both connections.",
        default=None, inherits=True)
    slot_name: str = _setting(
        kinds.SLOT_NAME, "The physical replication slot that WAL is streamed through.", default="pgvault")
    ssh: SshAddress | None = _setting(
        optional(kinds.SSH), "The server's host, as [user@]host[:port]; needed to restore in place and to read logs.",
        default=None)
    identity_file: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "The private key for ssh.", default=None, shown="ssh's own choice", inherits=True)
    known_hosts: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "The file with the host keys that ssh trusts.", default=None,
        shown="ssh's own choice", inherits=True)
    immediate_checkpoint: bool = _setting(
        kinds.BOOLEAN, "Start a backup with a checkpoint at full speed, rather than wait for a spread one.",
        default=False, inherits=True)
    basebackup_retry_times: int = _setting(
        kinds.whole_number(0, 100), "How often a failed copy is tried again.", default=3, inherits=True)
    basebackup_retry_sleep: timedelta = _setting(
        kinds.PAUSE, "The pause before each further try: seconds, or text such as \"2 min\".",
        default=timedelta(seconds=30), inherits=True)
    last_backup_maximum_age: timedelta | None = _setting(
        optional(kinds.AGE), "The check fails when the newest good backup is older, as in \"1 DAYS\".",
        default=None, inherits=True)
    retention_policy_mode: str = _setting(
        kinds.only("auto", {}), "Backups and WAL expire by the policy, in the maintenance run.", default="auto",
        inherits=True)
    retention_policy: RetentionPolicy | None = _setting(
        optional(kinds.RETENTION), "What is kept: \"REDUNDANCY n\", or \"RECOVERY WINDOW OF n DAYS\" (WEEKS, MONTHS of "
        "31 days). Without one nothing expires.", default=None, inherits=True)
    wal_retention_policy: str = _setting(
        kinds.only("main", {}), "WAL is kept for as long as the backups that need it.", default="main", inherits=True)
    minimum_redundancy: int = _setting(
        kinds.whole_number(0, 10_000), "Never fewer good backups than this, whatever the policy or a delete says.",
        default=0, inherits=True)
    parallel_jobs: int = _setting(
        kinds.whole_number(1, 256), "How many workers read, compress and write.", factory=_cores,
        shown="the machine's cores", inherits=True)
    bandwidth_limit: int | None = _setting(
        optional(kinds.RATE), "The most that is transferred per second, as in \"50MB/s\" (1MB is 1024kB).",
        default=None, inherits=True)
    timezone: str | None = _setting(
        optional(kinds.TIME_ZONE), "The zone that times without one are taken in, as in \"Europe/Paris\". Without it "
        "such times are refused.", default=None, inherits=True)
    compression: str = _setting(
        kinds.only("zstd", _REFUSED_COMPRESSION), "The stored form.", default="zstd", inherits=True)
    compression_level: int = _setting(
        kinds.whole_number(1, 19), "From 1, fast, to 19, small and slow.", default=3, inherits=True)
    reuse_backup: str = _setting(
        kinds.only("link", _REFUSED_REUSE), "What an earlier backup stored is not stored again.", default="link",
        inherits=True)
    data_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The cluster's directory on its host, for a restore in place.", default=None,
        shown="what the server reports", inherits=True)
    bin_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The directory of PostgreSQL's programs on the server's host.", default=None,
        shown="searched for", inherits=True)
    start_command: str | None = _setting(
        optional(kinds.COMMAND), "Starts the server: a line for the host's sh.", default=None, shown="pg_ctl start",
        inherits=True)
    stop_command: str | None = _setting(
        optional(kinds.COMMAND), "Stops the server: a line for the host's sh.", default=None, shown="pg_ctl stop",
        inherits=True)

    def __post_init__(self) -> None:
        if not self.streaming_conninfo:
            object.__setattr__(self, "streaming_conninfo", self.conninfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """[hosts.NAME]: a machine to restore to."""

    name: str
    local: bool = _setting(kinds.BOOLEAN, "This machine itself; ssh is then not used.", default=False)
    ssh: SshAddress | None = _setting(
        kinds.SSH, "The host, as [user@]host[:port]. Required unless local = true.", default=None)
    identity_file: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "The private key for ssh.", default=None, shown="ssh's own choice", inherits=True)
    known_hosts: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "The file with the host keys that ssh trusts.", default=None,
        shown="ssh's own choice", inherits=True)
    data_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "Where a restore goes unless a directory is given.", default=None)
    bin_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The directory of PostgreSQL's programs on the host.", default=None,
        shown="searched for")
    start_command: str | None = _setting(
        optional(kinds.COMMAND), "Starts the restored server: a line for the host's sh.", default=None,
        shown="pg_ctl start")
    stop_command: str | None = _setting(
        optional(kinds.COMMAND), "Stops the server: a line for the host's sh.", default=None, shown="pg_ctl stop")
    port: int | None = _setting(
        optional(kinds.whole_number(1, 65535)), "The port that a server restored here is given.", default=None,
        shown="the one in the restored configuration")
    socket_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The directory that a server restored here is given for its Unix socket.",
        default=None, shown="the one in the restored configuration")
    conninfo: str | None = _setting(
        optional(kinds.CONNINFO), "How to reach the restored server for the proof.", default=None,
        shown="through the ssh connection")
    password_environment: str | None = _setting(
        optional(kinds.ENVIRONMENT_NAME), "The environment variable that holds conninfo's password.", default=None)

    def __post_init__(self) -> None:
        if self.local and self.ssh:
            raise ValueError("local = true and ssh exclude each other")
        if not self.local and not self.ssh:
            raise ValueError("ssh is missing (or local = true, when it is this machine)")


def settings_of(section: type) -> Mapping[str, Setting]:
    """The settings of one of the three classes, by key, in their order."""
    return _SETTINGS[section]


def _read_settings(section: type) -> Iterator[Setting]:
    for each in fields(section):
        if each.metadata:
            yield Setting(each.name, each.metadata["kind"], each.metadata["meaning"],
                          each.default is MISSING and each.default_factory is MISSING,
                          each.metadata["shown"], each.metadata["inherits"])


SECTIONS: Mapping[str, type] = MappingProxyType({"vault": VaultConfig, "servers": ServerConfig, "hosts": HostConfig})
_SETTINGS = {section: MappingProxyType({s.key: s for s in _read_settings(section)}) for section in SECTIONS.values()}
INHERITED: Mapping[str, Setting] = MappingProxyType(
    {key: s for section in (HostConfig, ServerConfig) for key, s in _SETTINGS[section].items() if s.inherits})
"""What may stand in [vault] for all servers and hosts that have such a setting."""


def reference(width: int = 100) -> str:
    """All settings as text for `--help`: key, default, meaning; `*` marks what may stand in [vault] for all."""
    import textwrap  # only the help needs it

    paragraphs = []
    for table, section in SECTIONS.items():
        paragraphs.append(textwrap.fill((section.__doc__ or "").replace("[vault]:", "[vault] "), width))
        for setting in settings_of(section).values():
            default = "required" if setting.required else f"default: {setting.default}" if setting.default else ""
            mark = "*" if setting.inherits and table != "vault" else ""
            text = f"{setting.meaning} ({default})" if default else setting.meaning
            paragraphs.append(textwrap.fill(f"{setting.key + mark:<31} {text}", width, initial_indent="  ",
                                            subsequent_indent=" " * 34))
        paragraphs.append("")
    paragraphs.append("A setting marked * may also stand in [vault], as the default of all.")
    return "\n".join(paragraphs)
