"""Defines every setting once: its key, type, default, where it may be set, and its meaning.

The three sections are the table. Reading (`pgvault.config.load`), `config show` and the help (`reference`) all use
their attributes, so adding an attribute adds a setting. A setting that `inherits` may also be set in [vault], as the
default for all servers (and hosts, if they have it).

PostgreSQL waits for put-wal and get-wal, which read the configuration each time. The classes here are therefore no
dataclasses: importing `dataclasses` and creating three dozen of them takes longer than archiving a segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, dataclass_transform

from pgvault.config import kinds
from pgvault.config.address import SshAddress
from pgvault.config.kinds import Kind, optional

if TYPE_CHECKING:
    from pgvault.model.retention_policy import RetentionPolicy

_STORED = "the vault stores zstd, which is smaller and faster"
_FIX = 'Write compression = "zstd", or leave the line out.'
_REFUSED_COMPRESSION = dict.fromkeys(
    ("gzip", "pigz", "bzip2", "pybzip2", "pygzip", "lz4", "snappy", "xz", "custom", "none", ""), (_STORED, _FIX))
_REUSE = 'Write reuse_backup = "link", or leave the line out.'
_REFUSED_REUSE = {
    "copy": ("data of earlier backups is shared, not copied again", _REUSE),
    "off": ("every backup is a full one already; to read everything again, use --full", _REUSE),
}


class Setting(NamedTuple):
    """One row of the table."""

    key: str
    kind: Kind
    meaning: str
    """One or two sentences, with the unit if there is one."""
    value: Callable[[], Any] | None
    """Returns the default; None if there is none, so that the setting is required."""
    default: str
    """The default as the help shows it."""
    inherits: bool

    @property
    def required(self) -> bool:
        return self.value is None


_MISSING: Any = object()


def _setting(kind: Kind, meaning: str, *, default: Any = _MISSING, factory: Callable[[], Any] | None = None,
             shown: str | None = None, inherits: bool = False) -> Any:
    """Define a setting. `shown` describes a default whose value would not explain itself."""
    if default is not _MISSING:
        shown = str(kind.write(default)).lower() if shown is None else shown
    return Setting("", kind, meaning, factory if default is _MISSING else (lambda: default), shown or "", inherits)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(_setting,))
class Section:
    """A table of the file. The class has its settings, an instance has one value for each and is immutable."""

    settings: ClassVar[Mapping[str, Setting]]

    def __init_subclass__(cls) -> None:
        cls.settings = MappingProxyType(
            {key: each._replace(key=key) for key, each in vars(cls).items() if isinstance(each, Setting)})

    def __init__(self, **values: Any) -> None:
        defaults = {key: each.value() for key, each in self.settings.items() if each.value and key not in values}
        self.__dict__.update(defaults, **values)
        if wrong := vars(self).keys() ^ type(self).__annotations__.keys():
            raise TypeError(f"missing or unknown: {', '.join(sorted(wrong))}")
        self._settle()

    def _settle(self) -> None:
        """Complete and check settings that depend on each other; ValueError if they contradict each other."""

    def replaced(self, **changes: object) -> Self:
        """Return the same with some settings changed."""
        return type(self)(**(vars(self) | changes))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class VaultConfig(Section):
    """[vault]: the repository itself. Server settings in it are defaults for all servers."""

    home: Path = _setting(kinds.LOCAL_PATH, "The directory that holds everything of all servers.")
    configuration_files_directory: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "A directory whose *.toml files, in the order of their names, hold further "
        "[servers.NAME] and [hosts.NAME] tables.", default=None)
    log_file: Path | None = _setting(
        optional(kinds.LOCAL_PATH), "Where messages go besides standard error.", default=None)


class ServerConfig(Section):
    """[servers.NAME]: one PostgreSQL cluster to protect."""

    name: str
    description: str = _setting(kinds.LABEL, "Free text of one line, shown beside the name.", default="")
    environment: str = _setting(
        kinds.LABEL, "A word such as production, shown beside the name wherever the server can be changed.",
        default="", inherits=True)
    conninfo: str = _setting(
        kinds.CONNINFO, "How to connect for SQL: a libpq connection string or URI, without a password.")
    streaming_conninfo: str = _setting(
        kinds.CONNINFO, "How to connect for replication: base backups and streamed WAL.", default="",
        shown="the conninfo")
    password_environment: str | None = _setting(
        optional(kinds.ENVIRONMENT_NAME), "The environment variable that holds the password, for both connections.",
        default=None, inherits=True)
    slot_name: str = _setting(
        kinds.SLOT_NAME, "The physical replication slot for streaming WAL.", default="pgvault")
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
        kinds.whole_number(0, 100), "How often a failed copy is retried.", default=3, inherits=True)
    basebackup_retry_sleep: timedelta = _setting(
        kinds.PAUSE, "The pause before each retry: seconds, or text such as \"2 min\".",
        default=timedelta(seconds=30), inherits=True)
    last_backup_maximum_age: timedelta | None = _setting(
        optional(kinds.AGE), "The check fails if the newest good backup is older than this, as in \"1 DAYS\".",
        default=None, inherits=True)
    retention_policy_mode: str = _setting(
        kinds.only("auto", {}), "The policy is carried out by pgvault expire.", default="auto",
        inherits=True)
    retention_policy: RetentionPolicy | None = _setting(
        optional(kinds.RETENTION), "What is kept: \"REDUNDANCY n\", \"RECOVERY WINDOW OF n DAYS\" (WEEKS, MONTHS of "
        "31 days) or \"KEEP n DAILY n WEEKLY n MONTHLY n YEARLY\". Without a policy nothing expires.", default=None,
        inherits=True)
    wal_retention_policy: str = _setting(
        kinds.only("main", {}), "WAL is kept for as long as the backups that need it.", default="main", inherits=True)
    minimum_redundancy: int = _setting(
        kinds.whole_number(0, 10_000), "Keep at least this many good backups, regardless of the policy or a delete.",
        default=0, inherits=True)
    parallel_jobs: int = _setting(
        kinds.whole_number(1, 256), "How many workers read, compress and write.", factory=_cores,
        shown="the machine's cores", inherits=True)
    bandwidth_limit: int | None = _setting(
        optional(kinds.RATE), "The highest transfer rate per second, as in \"50MB/s\" (1MB is 1024kB).",
        default=None, inherits=True)
    timezone: str | None = _setting(
        optional(kinds.TIME_ZONE), "The time zone of times without one, as in \"Europe/Paris\". If it is not set, such "
        "times are refused.", default=None, inherits=True)
    compression: str = _setting(
        kinds.only("zstd", _REFUSED_COMPRESSION), "The compression of stored data.", default="zstd", inherits=True)
    compression_level: int = _setting(
        kinds.whole_number(1, 19), "From 1, fast, to 19, small and slow.", default=3, inherits=True)
    reuse_backup: str = _setting(
        kinds.only("link", _REFUSED_REUSE), "Data of earlier backups is not stored again.", default="link",
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

    def _settle(self) -> None:
        if not self.streaming_conninfo:
            self.__dict__["streaming_conninfo"] = self.conninfo


class HostConfig(Section):
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
        optional(kinds.REMOTE_PATH), "The default directory of a restore.", default=None)
    bin_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The directory of PostgreSQL's programs on the host.", default=None,
        shown="searched for")
    start_command: str | None = _setting(
        optional(kinds.COMMAND), "Starts the server in data_directory (any restored one without that): a line for sh.",
        default=None, shown="pg_ctl start")
    stop_command: str | None = _setting(
        optional(kinds.COMMAND), "Stops the server in data_directory: a line for the host's sh.", default=None,
        shown="pg_ctl stop")
    port: int | None = _setting(
        optional(kinds.whole_number(1, 65535)), "The port of a server restored here.", default=None,
        shown="the one in the restored configuration")
    socket_directory: str | None = _setting(
        optional(kinds.REMOTE_PATH), "The Unix socket directory of a server restored here.",
        default=None, shown="the one in the restored configuration")
    conninfo: str | None = _setting(
        optional(kinds.CONNINFO), "How to reach the restored server for the proof.", default=None,
        shown="through the ssh connection")
    password_environment: str | None = _setting(
        optional(kinds.ENVIRONMENT_NAME), "The environment variable that holds conninfo's password.", default=None)

    def _settle(self) -> None:
        if self.local and self.ssh:
            raise ValueError("local = true and ssh are mutually exclusive")
        if not self.local and not self.ssh:
            raise ValueError("ssh is missing (or local = true, if it is this machine)")

    def start_command_for(self, directory: str) -> str | None:
        """Return start_command where it may start the server in `directory`. With data_directory it is for that one
        alone: a line such as `systemctl start postgresql` starts one service, whichever server is meant."""
        return self.start_command if self.data_directory is None or self._is_own(directory) else None

    def stop_command_for(self, *names: str) -> str | None:
        """Return stop_command where it is known to stop the server in a directory, given by all of its names: only
        with data_directory, and there."""
        return self.stop_command if any(map(self._is_own, names)) else None

    def _is_own(self, directory: str) -> bool:
        return self.data_directory is not None and self.data_directory.rstrip("/") == directory.rstrip("/")


def settings_of(section: type[Section]) -> Mapping[str, Setting]:
    """Return the settings of one of the three classes, by key, in their order."""
    return section.settings


SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {"vault": VaultConfig, "servers": ServerConfig, "hosts": HostConfig})
INHERITED: Mapping[str, Setting] = MappingProxyType(
    {key: s for section in (HostConfig, ServerConfig) for key, s in section.settings.items() if s.inherits})
"""Settings that [vault] may set for all servers and hosts that have them."""


def reference(width: int = 100) -> str:
    """Describe all settings for `--help`: key, default, meaning. `*` marks those that [vault] may set for all."""
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
    paragraphs.append("A setting marked * may also be set in [vault], as the default for all.")
    return "\n".join(paragraphs)
