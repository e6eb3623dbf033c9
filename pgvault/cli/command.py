"""What a verb's module offers: `COMMANDS`, one `Command` per verb it serves.

    def arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace, context: Context) -> int: ...
    COMMANDS = {"show-server": Command(HELP, arguments, run)}

`run` returns the exit code and raises a PgvaultError for everything that fails; `main` tells it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from pgvault.cli.context import Context
from pgvault.model.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Command(NamedTuple):
    help: str
    """What it does, then a section that begins with `Example:`."""
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Context], int]


_Formatter = argparse.RawDescriptionHelpFormatter


class Parser(argparse.ArgumentParser):
    """Reports wrong arguments as every other error, reads no abbreviated options (a script's would break when another
    option comes), and takes the global options anywhere on the line."""

    def __init__(self, **settings: Any) -> None:
        # Of a fixed width as long as arguments are added, since argparse asks it about each of them, and the
        # terminal's width takes it an import.
        super().__init__(**settings, formatter_class=partial(_Formatter, width=80), allow_abbrev=False)
        _add_global_options(self)

    def format_help(self) -> str:
        self.formatter_class = _Formatter
        return super().format_help()

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """As argparse does, but a failure to write is an error."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


GLOBAL_DEFAULTS: dict[str, object] = {
    "config": None, "format": "text", "color": "auto", "log_level": "info"}
GLOBAL_WITH_VALUE = frozenset(f"--{name.replace('_', '-')}" for name in GLOBAL_DEFAULTS)


def _add_global_options(parser: argparse.ArgumentParser) -> None:
    def add(name: str, **settings: Any) -> None:
        parser.add_argument(name, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **settings)

    add("--config", type=Path)
    add("--format", choices=("text", "json"))
    add("--color", choices=("auto", "always", "never"))
    add("--log-level", choices=("debug", "info", "warning", "error"))
