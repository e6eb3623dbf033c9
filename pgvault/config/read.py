"""Reads one TOML file into values with their lines. Problems are collected, not raised."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pgvault.config.lines import Keys, key_lines
from pgvault.config.problems import BadValue, ConfigProblem, nearest
from pgvault.config.schema import INHERITED, SECTIONS, Setting, settings_of

_POSITION = r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$"
_ELSEWHERE = {
    "barman_home": 'Write home = "...".',
    "ssh_command": 'Write the address alone: ssh = "user@host".',
    "path_prefix": 'Write bin_directory = "...".',
    "password": 'Name the environment variable that holds it: password_environment = "NAME".',
    "primary_ssh_command": 'Write the address alone: ssh = "user@host".',
}
"""Keys from Barman and libpq, and what to write here."""


class Value(NamedTuple):
    """The value of a key."""

    value: Any
    origin: str
    """`file:line`."""


class Document(NamedTuple):
    """A file that is valid TOML."""

    path: Path
    content: dict[str, Any]
    lines: Mapping[Keys, int]

    def line(self, keys: Keys) -> int:
        """Return the line of the key, or of the nearest table around it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 0)

    def origin(self, keys: Keys) -> str:
        return f"{self.path}:{self.line(keys)}"

    def problem(self, keys: Keys, message: str, hint: str = "") -> ConfigProblem:
        return ConfigProblem(self.path, self.line(keys), ".".join(keys), message, hint)


def read_document(path: Path, problems: list[ConfigProblem]) -> Document | None:
    raw = b""
    try:
        raw = path.read_bytes()
        text = raw.decode()
        return Document(path, tomllib.loads(text), key_lines(text))
    except OSError as error:
        problems.append(ConfigProblem(path, 0, "", f"could not read the file: {error.strerror}",
                                      "Correct the path, or make the file readable for the user that runs pgvault."))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.append(ConfigProblem(path, line, "", "not UTF-8 text", "Save the file as UTF-8."))
    except tomllib.TOMLDecodeError as error:
        problems.append(_syntax_problem(path, raw, str(error)))
    except RecursionError:
        problems.append(ConfigProblem(path, 0, "", "lists or tables are nested too deeply"))
    return None


def _syntax_problem(path: Path, raw: bytes, message: str) -> ConfigProblem:
    position = re.search(_POSITION, message)
    line = int(position[1]) if position and position[1] else raw.rstrip().count(b"\n") + 1
    where = f" at column {position[2]}" if position and position[2] else " at the end of the file"
    message = re.sub(_POSITION, "", message)
    return ConfigProblem(path, line, "", f"not TOML{where}: {message[:1].lower()}{message[1:]}",
                         'Put text in double quotes: key = "value".' if "Invalid value" in message else "")


def table_at(document: Document, keys: Keys, problems: list[ConfigProblem]) -> dict[str, Any] | None:
    """Return the table at `keys`, empty if there is none. If it is something else, note a problem and return None."""
    value: Any = document.content
    for key in keys:
        value = value.get(key, {})
    if isinstance(value, dict):
        return value
    problems.append(document.problem(keys, "expected a table", f"Write a header line: [{'.'.join(keys)}]."))
    return None


def read_values(document: Document, keys: Keys, known: Mapping[str, Setting],
                problems: list[ConfigProblem]) -> dict[str, Value]:
    """Read the settings in the table at `keys`. A relative local path starts at the file's directory."""
    values: dict[str, Value] = {}
    table = table_at(document, keys, problems)
    if table is None:
        return values
    for key, raw in table.items():
        here = (*keys, key)
        if key not in known:
            problems.append(document.problem(here, "unknown key", _advice(key, keys[0], known)))
            continue
        try:
            value = known[key].kind.read(raw)
        except ValueError as error:
            hint = error.hint if isinstance(error, BadValue) else ""
            problems.append(document.problem(here, str(error), hint))
            continue
        if isinstance(value, Path):
            value = document.path.parent / value
        values[key] = Value(value, document.origin(here))
    for key, setting in known.items():
        if setting.required and key not in table:
            problems.append(document.problem((*keys, key), "required, but missing", f"Meaning: {setting.meaning}"))
    return values


def read_keys(document: Document, problems: list[ConfigProblem]) -> dict[str, Value]:
    """Read [console.keys]: keys as text, by the id of the action. The console checks that the action exists."""
    problems += [document.problem(("console", key), "unknown key", nearest(key, ("keys",)))
                 for key in table_at(document, ("console",), problems) or () if key != "keys"]
    values: dict[str, Value] = {}
    for action, raw in (table_at(document, ("console", "keys"), problems) or {}).items():
        here = ("console", "keys", action)
        if isinstance(raw, str) and raw.strip():
            values[action] = Value(raw, document.origin(here))
        else:
            problems.append(document.problem(here, "expected keys as text", 'Write them as in check = "x,ctrl+x".'))
    return values


def check_tables(document: Document, allowed: Iterable[str], problems: list[ConfigProblem]) -> None:
    """Report top-level keys that are not one of the allowed tables."""
    allowed = tuple(allowed)
    for key, value in document.content.items():
        if key in allowed:
            continue
        if key in SECTIONS:
            hint = f"Write [{key}] in the main file only."
        elif not isinstance(value, dict):
            hint = _advice(key, "", {}) or f"Put settings below a header line: {_headers(allowed)}."
        elif not set(value).isdisjoint(("conninfo", "streaming_conninfo")):
            hint = f"Write [servers.{key}]."
        else:
            hint = nearest(key, allowed)
        problems.append(document.problem((key,), "unknown table" if isinstance(value, dict) else "unknown key", hint))


def _headers(tables: Iterable[str]) -> str:
    return ", ".join(f"[{table}]" if table == "vault" else f"[{table}.NAME]" for table in tables)


def _advice(key: str, table: str, known: Mapping[str, Setting]) -> str:
    if key in _ELSEWHERE:
        return _ELSEWHERE[key]
    places = [name for name, section in SECTIONS.items() if key in settings_of(section)]
    if places and table not in places:
        return f"It belongs in {' or '.join(_headers((place,)) for place in places)}."
    return nearest(key, known) if known else ""


VAULT_KEYS: Mapping[str, Setting] = {**settings_of(SECTIONS["vault"]), **INHERITED}
