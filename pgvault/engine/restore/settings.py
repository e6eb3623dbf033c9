"""Making a restored cluster's configuration safe before a server reads it.

A restored server must never archive into the place of the one it was made from, follow its old upstream, or use its
files. Settings that would make it do so are commented out wherever they stand, included files too, and what recovery
needs is written at the end of postgresql.auto.conf, which PostgreSQL reads last. The rest that may not fit the new
host is reported with file and line. Syntax: documentation 20.1.2 and 20.1.5; `guc-file.l`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pgvault.model.restore_plan import SettingChange

AUTO_CONF = "postgresql.auto.conf"
_ROOTS = ("postgresql.conf", AUTO_CONF)
_MARK = "#pgvault# "

_NEUTRALISED = frozenset({
    "archive_command", "archive_library", "archive_mode", "archive_cleanup_command", "recovery_end_command",
    "restore_command", "primary_conninfo", "primary_slot_name", "recovery_min_apply_delay", "promote_trigger_file",
    "recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn",
    "recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid",
    "data_directory",
})
_REPORTED = frozenset({
    "config_file", "external_pid_file", "hba_file", "ident_file", "listen_addresses", "local_preload_libraries",
    "log_directory", "session_preload_libraries", "shared_preload_libraries", "ssl_ca_file", "ssl_cert_file",
    "ssl_crl_dir", "ssl_crl_file", "ssl_dh_params_file", "ssl_key_file", "stats_temp_directory",
    "synchronous_standby_names", "unix_socket_directories", "dynamic_library_path", "krb_server_keyfile",
})
_INCLUDES = frozenset({"include", "include_if_exists", "include_dir"})
_FILES_OF_CLUSTER = frozenset({"hba_file", "ident_file", "external_pid_file"})
_DEPTH = 10

_LINE = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*)?)(?:\s*=\s*|\s+)"
    r"(?P<value>'(?:[^'\\]|\\.|'')*'|[^\s#']+)")

ReadFile = Callable[[str], bytes | None]
"""A file of the cluster by its path relative to the data directory; None when the backup has none."""
ListDirectory = Callable[[str], list[str]]
"""Paths of the `*.conf` files of a directory, in PostgreSQL's order."""


@dataclass(frozen=True, slots=True)
class SafeSettings:
    files: Mapping[str, bytes]
    """Path to new content, for each configuration file that has to differ from the backup's."""
    changed: tuple[SettingChange, ...]
    to_look_at: tuple[SettingChange, ...]
    values: Mapping[str, str]
    """What is set, as far as the cluster's own files tell, after the change."""


def quote(value: str) -> str:
    """A value as a configuration file holds it: the one place that quotes for PostgreSQL's parser."""
    if "\n" in value or "\0" in value:
        raise ValueError("a setting's value is one line")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def make_safe(read: ReadFile, list_conf: ListDirectory, additions: Mapping[str, str], data_directory: str,
              heading: str) -> SafeSettings:
    """The configuration as it has to be; `additions` are written last, `data_directory` is the old server's."""
    walk = _Walk(read, list_conf, data_directory)
    for root in _ROOTS:
        walk.file(root, 0)
    auto = walk.files.get(AUTO_CONF, read(AUTO_CONF) or b"")
    if auto and not auto.endswith(b"\n"):
        auto += b"\n"
    lines = [f"# {heading}", *(f"{name} = {quote(value)}" for name, value in additions.items())]
    walk.files[AUTO_CONF] = auto + "".join(line + "\n" for line in lines).encode()
    return SafeSettings(walk.files, tuple(walk.changed), tuple(walk.to_look_at), {**walk.values, **additions})


class _Walk:
    """Goes through the configuration as PostgreSQL would, included files in their place."""

    def __init__(self, read: ReadFile, list_conf: ListDirectory, data_directory: str) -> None:
        self._read, self._list, self._data_directory = read, list_conf, data_directory
        self.files: dict[str, bytes] = {}
        self.changed: list[SettingChange] = []
        self.to_look_at: list[SettingChange] = []
        self.values: dict[str, str] = {}
        self._seen: set[str] = set()

    def file(self, path: str, depth: int) -> None:
        content = self._read(path)
        if content is None or path in self._seen or depth > _DEPTH:
            return
        self._seen.add(path)
        text = content.decode("utf-8", "surrogateescape")
        lines = text.split("\n")
        changed = False
        for number, line in enumerate(lines):
            match = _LINE.match(line)
            if not match:
                continue
            name, value = match["name"].lower(), unquote(match["value"])
            if name in _INCLUDES:
                self._include(path, number + 1, name, value, depth)
            elif name in _NEUTRALISED or (name in _FILES_OF_CLUSTER and self._within(value)):
                lines[number] = _MARK + line
                changed = True
                self.changed.append(SettingChange(path, number + 1, name, value, "commented out"))
            else:
                self.values[name] = value
                if name in _REPORTED and value:
                    self.to_look_at.append(SettingChange(path, number + 1, name, value, "left as it is"))
        if changed:
            self.files[path] = "\n".join(lines).encode("utf-8", "surrogateescape")

    def _include(self, path: str, number: int, kind: str, value: str, depth: int) -> None:
        inside = self._relative(posixpath.join(posixpath.dirname(path), value))
        if inside is None:
            self.to_look_at.append(SettingChange(path, number, kind, value, "outside of the backup, not looked into"))
        elif kind == "include_dir":
            for name in self._list(inside):
                self.file(name, depth + 1)
        elif self._read(inside) is None and kind == "include":
            self.to_look_at.append(SettingChange(path, number, kind, value, "missing in the backup"))
        else:
            self.file(inside, depth + 1)

    def _within(self, value: str) -> bool:
        return value.startswith("/") and self._relative(value) is not None

    def _relative(self, path: str) -> str | None:
        """Within the data directory, or None; an absolute path is compared with the old server's directory."""
        if path.startswith("/"):
            if not self._data_directory or not path.startswith(self._data_directory.rstrip("/") + "/"):
                return None
            path = posixpath.relpath(path, self._data_directory)
        path = posixpath.normpath(path)
        return None if path.startswith("..") else path


def unquote(value: str) -> str:
    """A value as PostgreSQL reads it."""
    if not value.startswith("'"):
        return value
    return re.sub(r"''|\\(.)", lambda m: m[1] or "'", value[1:-1])


def recovery_additions(target: Mapping[str, str], *, timeline: str, action: str, restore_command: str,
                       recovery_end_command: str) -> Iterator[tuple[str, str]]:
    """What a recovery needs, in the order it is written."""
    yield "archive_mode", "off"
    yield "restore_command", restore_command
    if recovery_end_command:
        yield "recovery_end_command", recovery_end_command
    yield from target.items()
    if target:
        yield "recovery_target_action", action
    yield "recovery_target_timeline", timeline
    yield "hot_standby", "on"
