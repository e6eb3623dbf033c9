"""What a verb's module provides: `COMMANDS`, one `Command` for each of its verbs.

    def arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace, context: Context) -> int: ...
    COMMANDS = {"show-server": Command(HELP, arguments, run)}

`run` returns the exit code and raises a PgvaultError for every failure; `main` reports it.
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
    """What the verb does, then a section that begins with `Example:`."""
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Context], int]


_Formatter = argparse.RawDescriptionHelpFormatter


class Parser(argparse.ArgumentParser):
    """Reports wrong arguments like every other error, accepts no abbreviated options (which would break scripts when an
    option is added), and accepts the global options anywhere on the line."""

    def __init__(self, **settings: Any) -> None:
        # A fixed width while arguments are added: argparse asks for the width at each of them, and finding the
        # terminal's needs an import.
        super().__init__(**settings, formatter_class=partial(_Formatter, width=80), allow_abbrev=False)
        _add_global_options(self)

    def format_help(self) -> str:
        self.formatter_class = _Formatter
        return super().format_help()

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print help like argparse, but raise an error if writing fails."""
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
