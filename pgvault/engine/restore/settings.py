"""Makes a restored cluster's configuration safe before a server reads it.

Settings by which it would act in the place of its original (pgvault.engine.restore.outward) are commented out in all
files, included ones too; paths into the old data directory become paths into the new one; includes of files that are
not in the backup, whose contents are unknown, are commented out. What recovery needs is written at the end of
postgresql.auto.conf, which PostgreSQL reads last. What else may not fit the new host is reported with file and line.
Syntax: documentation 20.1.2 and 20.1.5; `guc-file.l`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pgvault.engine.restore import outward
from pgvault.engine.restore.limits import raised
from pgvault.model.restore_plan import SettingChange
from pgvault.model.secrets import masked, masked_value

AUTO_CONF = "postgresql.auto.conf"
_CONF, _HBA = "postgresql.conf", "pg_hba.conf"
_MARK = "#pgvault# "
_MINIMAL = {
    _CONF: "# pgvault: the backup holds no postgresql.conf: it was outside of the data directory, or a link.\n"
           "# With this one the server starts; put the real one in its place.\n",
    _HBA: "# pgvault: the backup holds no pg_hba.conf: it was outside of the data directory, or a link.\n"
          "local all all peer\n"
          "host all all 127.0.0.1/32 scram-sha-256\n"
          "host all all ::1/128 scram-sha-256\n",
}

_INCLUDES = frozenset({"include", "include_if_exists", "include_dir"})
_DEPTH = 10

_SPACE = "[ \t\r\f]*"
_LINE = re.compile(
    rf"{_SPACE}(?P<name>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*(?:\.[A-Za-z_][\w$]*)*)(?P<gap>{_SPACE}=?{_SPACE})"
    r"(?P<value>'(?:[^'\\]|\\.|'')*'|[^\s#']*)")
_ESCAPE = re.compile(r"''|\\([0-7]{1,3})|\\(.)")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

IN_PLACE = "allow_in_place_tablespaces"
"""The setting without which recovery ends with a PANIC if a tablespace is a directory in the data directory and not a
link (`CheckTablespaceDirectory` in xlogrecovery.c). A running server no longer needs it.
"""
_OF_RECOVERY = frozenset({"hot_standby", IN_PLACE})
_COMMANDS = frozenset({"restore_command", "recovery_end_command"})
WAL_DIRECTORY = "pgvault_wal"
"""The directory of the WAL that recovery reads, in the data directory; removed when recovery ends."""

HEADING = "pgvault: restore of"
"""The beginning of the comment above what a restore adds to postgresql.auto.conf."""

ReadFile = Callable[[str], bytes | None]
"""Returns a file of the cluster by its path relative to the data directory; None if the backup has none."""
ListDirectory = Callable[[str], list[str] | None]
"""Returns the `*.conf` files of a directory, in PostgreSQL's order; None if the backup has no such directory."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The requirements of a cluster for recovery, by its own files and its WAL."""

    major: int
    limits: Mapping[str, int]
    """The least values of the settings that a hot standby compares."""
    origins: int
    """The number of its replication origins."""


NOTHING_MORE = Needs(0, {}, 0)


@dataclass(frozen=True, slots=True)
class SafeSettings:
    files: Mapping[str, bytes]
    """The new contents, by path, of each configuration file that has to differ from the backup's."""
    changed: tuple[SettingChange, ...]
    to_look_at: tuple[SettingChange, ...]
    values: Mapping[str, str]
    """The settings after the change, as far as the cluster's own files have them."""


def quote(value: str) -> str:
    """Return the value as it is written in a configuration file; all quoting for PostgreSQL's parser is done here."""
    if "\0" in value:
        raise ValueError("a setting's value has no NUL")
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def unquote(value: str) -> str:
    """Return the value as PostgreSQL reads it (`DeescapeQuotedString`)."""
    if not value.startswith("'"):
        return value
    return _ESCAPE.sub(lambda m: chr(int(m[1], 8) & 0xFF) if m[1] else _LETTERS.get(m[2], m[2]) if m[2] else "'",
                       value[1:-1])


def make_safe(read: ReadFile, list_conf: ListDirectory, additions: Mapping[str, str], *, old_directory: str,
              new_directory: str, heading: str, needs: Needs = NOTHING_MORE) -> SafeSettings:
    """Return the safe configuration; `additions` are written last, with what the cluster `needs`."""
    walk = _Walk(read, list_conf, old_directory.rstrip("/"), new_directory.rstrip("/"))
    for root in (_CONF, AUTO_CONF):
        walk.file(root, 0)
    for name, text in _MINIMAL.items():
        if read(name) is None and not (name == _HBA and "hba_file" in walk.values):
            walk.make(name, text)
    added = {**additions, "hot_standby": "on"}
    for each in raised(needs.limits, needs.origins, walk.values, needs.major):
        added[each.name] = each.value
        walk.add(each.name, each.value, each.why)
    for setting, value in (*outward.ALWAYS.items(), *outward.switched_off(walk.values)):
        added[setting] = value
        walk.add(setting, value, f"{outward.WHY}; ALTER SYSTEM RESET {setting} and a restart lift it")
    auto = walk.files.get(AUTO_CONF, read(AUTO_CONF) or b"")
    if auto and not auto.endswith(b"\n"):
        auto += b"\n"
    lines = [f"# {heading}", *(f"{name} = {quote(value)}" for name, value in added.items())]
    walk.files[AUTO_CONF] = auto + "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    to_look_at = tuple(each for each in walk.to_look_at if each.name not in added)  # no review of what is set anew
    return SafeSettings(walk.files, tuple(walk.changed), to_look_at, {**walk.values, **added})


def without_recovery(auto_conf: bytes) -> bytes:
    """Return postgresql.auto.conf of a server whose recovery is over: without what `make_safe` added for it.

    Otherwise a standby made as a copy of this server would try to recover to the same target. ALTER SYSTEM rewrites the
    file without comments, so without the heading too; what it had before the restore was commented out.
    """
    lines = auto_conf.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    start = next((n for n in reversed(range(len(lines))) if lines[n].startswith(f"# {HEADING}")), 0)
    kept = [line for line in lines[start:] if not ((match := _LINE.match(line)) and _is_of_recovery(match))]
    return "".join([*lines[:start], *kept]).encode("utf-8", "surrogateescape")


def _is_of_recovery(setting: re.Match[str]) -> bool:
    name = setting["name"]
    if name in _COMMANDS:  # a person may have set another one since
        return WAL_DIRECTORY in setting["value"]
    return name.startswith("recovery_target") or name in _OF_RECOVERY


class _Walk:
    """Walks through the configuration as PostgreSQL does, included files in their place."""

    def __init__(self, read: ReadFile, list_conf: ListDirectory, old: str, new: str) -> None:
        self._read, self._list, self._old, self._new = read, list_conf, old, new
        self.files: dict[str, bytes] = {}
        self.changed: list[SettingChange] = []
        self.to_look_at: list[SettingChange] = []
        self.values: dict[str, str] = {}
        self._seen: set[str] = set()

    def make(self, path: str, text: str) -> None:
        self.files[path] = text.encode()
        self.to_look_at.append(SettingChange(path, 0, "", "", "not in the backup: a minimal one is written"))

    def add(self, name: str, value: str, why: str) -> None:
        """Add a setting that is written at the end of postgresql.auto.conf."""
        self.changed.append(SettingChange(AUTO_CONF, 0, name, masked_value(name, self.values.get(name, "")),
                                          f"{name} = {value} is added, {why}"))

    def file(self, path: str, depth: int) -> None:
        content = self._read(path)
        if content is None or path in self._seen or depth > _DEPTH:
            return
        self._seen.add(path)
        lines = content.decode("utf-8", "surrogateescape").split("\n")
        safe = [self._line(path, number, line, depth) for number, line in enumerate(lines, 1)]
        if safe != lines:
            self.files[path] = "\n".join(safe).encode("utf-8", "surrogateescape")

    def _line(self, path: str, number: int, line: str, depth: int) -> str:
        """Return the safe form of a line."""
        match = _LINE.match(line)
        if not match:
            return line
        name, value = match["name"].lower(), unquote(match["value"])
        at = _At(path, number, name, value)
        if name in _INCLUDES:
            return self._include(at, line, match, depth)
        if name in outward.NEUTRALISED:
            return self._commented(at, line)
        if name == "log_destination" and outward.logs_elsewhere(value):
            return self._commented(at, line)
        if name in outward.PATHS and (inside := self._inside_old(value)) is not None:
            if name == "hba_file" and self._read(inside) is None:
                return self._commented(at, line)
            moved = posixpath.join(self._new, inside)
            self.values[name] = moved
            return self._rewritten(at, line, match, moved)
        if name in outward.WRITTEN and outward.is_outside(name, value) and not value.startswith(f"{self._new}/"):
            return self._commented(at, line, "outside of the data directory: commented out")
        if name == outward.LIBRARIES and (taken := outward.without_workers(value))[1]:
            self.values[name] = taken[0]
            return self._rewritten(at, line, match, taken[0], f"now {taken[0] or 'empty'}: {', '.join(taken[1])}")
        self.values[name] = value
        if name in outward.REPORTED and value:
            self.to_look_at.append(at.change("left as it is"))
        return line

    def _include(self, at: _At, line: str, match: re.Match[str], depth: int) -> str:
        """Walk through what is included; return the safe form of the line."""
        inside = self._relative(at)
        members = None if inside is None else self._members(at.name, inside)
        if inside is None or (members is None and not (at.name == "include_if_exists" and not at.is_absolute)):
            return self._commented(at, line, "not in the backup, so its settings are not known: commented out")
        for member in members or ():
            self.file(member, depth + 1)
        if at.is_absolute:
            return self._rewritten(at, line, match, posixpath.relpath(inside, posixpath.dirname(at.path) or "."))
        return line

    def _members(self, kind: str, inside: str) -> list[str] | None:
        if kind == "include_dir":
            return self._list(inside)
        return None if self._read(inside) is None else [inside]

    def _commented(self, at: _At, line: str, action: str = "commented out") -> str:
        self.changed.append(at.change(action))
        return _MARK + line

    def _rewritten(self, at: _At, line: str, match: re.Match[str], value: str, action: str = "") -> str:
        self.changed.append(at.change(action or f"now {value}"))
        gap = match["gap"] or " "
        return line[:match.end("name")] + gap + quote(value) + line[match.end("value"):]

    def _relative(self, at: _At) -> str | None:
        """Return the path of what is included, relative to the data directory; None if it is outside."""
        if at.is_absolute:
            return self._inside_old(at.value)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(at.path), at.value))
        return None if not at.value or path.startswith("..") else path

    def _inside_old(self, path: str) -> str | None:
        """Return an absolute path relative to the old data directory; None if it is not below it."""
        path = posixpath.normpath(path) if path else path
        if not self._old or not path.startswith(f"{self._old}/"):
            return None
        return posixpath.relpath(path, self._old)


@dataclass(frozen=True, slots=True)
class _At:
    """A setting and its place."""

    path: str
    number: int
    name: str
    value: str

    @property
    def is_absolute(self) -> bool:
        return self.value.startswith("/")

    def change(self, action: str) -> SettingChange:
        return SettingChange(self.path, self.number, self.name, masked_value(self.name, self.value), masked(action))


def recovery_additions(target: Mapping[str, str], *, timeline: str, action: str, restore_command: str,
                       recovery_end_command: str, has_spaces_inside: bool = False) -> Iterator[tuple[str, str]]:
    """Yield what a recovery needs, in the order in which it is written."""
    yield "archive_mode", "off"
    yield "restore_command", restore_command
    if recovery_end_command:
        yield "recovery_end_command", recovery_end_command
    yield from target.items()
    if target:
        yield "recovery_target_action", action
    yield "recovery_target_timeline", timeline
    if has_spaces_inside:
        yield IN_PLACE, "on"
