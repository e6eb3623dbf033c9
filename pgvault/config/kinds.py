"""The types of settings: how each is strictly parsed from TOML, and written back.

Parsing what a type has written gives the same value, so the output of `config show` can be pasted into the file.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pgvault.config.address import SshAddress
from pgvault.config.conninfo import check_conninfo
from pgvault.config.problems import BadValue, nearest
from pgvault.model.names import check_label
from pgvault.model.units import LONGEST, format_duration, format_rate, parse_duration, parse_rate

if TYPE_CHECKING:
    from pgvault.model.retention_policy import RetentionPolicy

_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a decimal number", list: "a list",
               dict: "a table"}


class Kind(NamedTuple):
    """The type of a setting."""

    what: str
    """Completes the phrase "expected ...": `a whole number from 1 to 19`."""
    types: tuple[type, ...]
    """The exact TOML types that it is read from: true is not the number 1."""
    parse: Callable[[Any], Any]
    """Returns the value; ValueError (BadValue with a hint) if it is invalid."""
    plain: Callable[[Any], str | int | bool] = str
    """Converts a parsed value back to TOML."""
    may_be_none: bool = False
    """Whether "none" is allowed, which overrides the default in [vault]."""

    def read(self, value: object) -> Any:
        if self.may_be_none and value == "none":
            return None
        if type(value) not in self.types:
            raise BadValue(f"expected {self.what}, not {_TYPE_NAMES.get(type(value), 'a date or time')}")
        return self.parse(value)

    def write(self, value: Any) -> str | int | bool:
        return "none" if value is None else self.plain(value)


def optional(kind: Kind) -> Kind:
    return kind._replace(may_be_none=True)


def whole_number(least: int, most: int) -> Kind:
    def parse(value: int) -> int:
        if not least <= value <= most:
            raise BadValue(f"{value} is out of range: use {least} to {most}")
        return value

    return Kind(f"a whole number from {least} to {most}", (int,), parse, int)


def only(word: str, refused: Mapping[str, tuple[str, str]]) -> Kind:
    """Return the type of a setting with one allowed word. `refused` has reason and hint for words known from
    elsewhere."""
    def parse(value: str) -> str:
        if value == word:
            return word
        reason, advice = refused.get(value.lower(), ("", ""))
        raise BadValue(f"{value[:40]!r} is not supported" + (f": {reason}" if reason else ""),
                       advice or f'Write "{word}", the only supported value, or remove the line.')

    return Kind(f'"{word}"', (str,), parse)


def _one_line(value: str, what: str) -> str:
    if not value.strip() or any(ord(c) < 32 or ord(c) == 127 for c in value):
        raise BadValue(f"{what} must be one line, not empty and without control characters")
    return value


def _local_path(value: str) -> Path:
    path = os.path.expanduser(_one_line(value, "a path"))
    if path.startswith("~"):
        raise BadValue(f"could not find the home directory in {value[:60]!r}", "Write the path in full.")
    return Path(path)


def _remote_path(value: str) -> str:
    if not _one_line(value, "a path").startswith("/"):
        raise BadValue("not an absolute path", "Write a path on the database host that begins with '/'.")
    if ".." in value.split("/"):
        raise BadValue("'..' is not allowed in this path", "Write the resolved path.")
    return value if value == "/" else value.rstrip("/")


def _slot_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,63}", value):
        raise BadValue(f"{value[:80]!r} cannot be a replication slot's name",
                       "Use 1 to 63 lower-case letters, digits and underscores.")
    return value


def _environment_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", value):
        # Not repeated, since it may be the password itself in the wrong place.
        raise BadValue("not the name of an environment variable",
                       "Write the variable's name, not the password: letters, digits and underscores.")
    return value


def _time_zone(value: str) -> str:
    from zoneinfo import ZoneInfo, available_timezones  # takes some milliseconds, which only a configured zone costs

    try:
        if "/" not in value and value != "UTC":
            raise ValueError
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        hint = nearest(value, (name for name in available_timezones() if "/" in name or name == "UTC"))
        raise BadValue(f"{value[:60]!r} is not an unambiguous time zone",
                       hint if hint.startswith("Did") else "Write a name such as Europe/Paris, or UTC.") from None


def _retention_policy(value: str) -> RetentionPolicy:
    from pgvault.model.retention_policy import parse_retention_policy  # put-wal and get-wal rarely need it

    return parse_retention_policy(value)


def _pause(value: int | str) -> timedelta:
    pause = timedelta(seconds=min(max(value, -1), 10**10)) if isinstance(value, int) else parse_duration(value)
    if not timedelta() <= pause <= LONGEST:
        raise BadValue("out of range: use 0 seconds to a century")
    return pause


LABEL = Kind("text", (str,), lambda value: check_label(value, "description"))
BOOLEAN = Kind("true or false", (bool,), bool, bool)
PAUSE = Kind('seconds, or text such as "30s"', (int, str), _pause, format_duration)
AGE = Kind('text such as "1 DAYS"', (str,), parse_duration, format_duration)
RATE = Kind('text such as "50MB/s"', (str,), parse_rate, format_rate)
RETENTION = Kind('text such as "RECOVERY WINDOW OF 7 DAYS"', (str,), _retention_policy)
LOCAL_PATH = Kind("a path in quotes", (str,), _local_path)
REMOTE_PATH = Kind("an absolute path in quotes", (str,), _remote_path)
COMMAND = Kind("a command line in quotes", (str,), lambda value: _one_line(value, "a command"))
CONNINFO = Kind("a connection string in quotes", (str,), check_conninfo)
SSH = Kind('text such as "postgres@host"', (str,), SshAddress.parse)
SLOT_NAME = Kind("a replication slot's name in quotes", (str,), _slot_name)
ENVIRONMENT_NAME = Kind("an environment variable's name in quotes", (str,), _environment_name)
TIME_ZONE = Kind('text such as "Europe/Paris"', (str,), _time_zone)
