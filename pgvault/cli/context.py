"""What every verb receives: the configuration, read on first use, and its outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from pgvault.cli.output import Output
from pgvault.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pgvault.config.load import Config
    from pgvault.config.schema import ServerConfig
    from pgvault.jobs.hold import Hold


class Format(Enum):
    TEXT = "text"
    JSON = "json"


class Context:
    """One call of the command line."""

    def __init__(self, *, config_path: Path | None, format: Format, log_level: str, hold: Hold | None, out: Output,
                 err: Output) -> None:
        self.config_path = config_path
        """The file given with --config; None to search the usual places."""
        self.format, self.log_level = format, log_level
        self.hold = hold
        """The hold of the job as which this process was started; None if a person or another program started it."""
        self.out, self.err = out, err
        """Standard output for data, standard error for messages."""

    @cached_property
    def config(self) -> Config:
        """Read on first use; ConfigError if it is wrong."""
        from pgvault.config.load import load

        return load(self.config_path, os.environ)

    @property
    def has_config(self) -> bool:
        """Return whether the configuration was read already."""
        return "config" in self.__dict__

    @property
    def json(self) -> bool:
        return self.format is Format.JSON

    @property
    def debug(self) -> bool:
        return self.log_level == "debug"

    @property
    def is_terminal(self) -> bool:
        return self.err.is_terminal

    @property
    def stdin_is_terminal(self) -> bool:
        return sys.stdin is not None and sys.stdin.isatty()

    def servers(self, name: str) -> list[ServerConfig]:
        """Return the named server, or all servers for `all`."""
        return list(self.config.servers.values()) if name == "all" else [self.config.server(name)]

    def confirm(self, question: str, *, yes: bool, has_plan: bool = True) -> bool:
        """Ask on the terminal. Without one only `--yes` confirms, since nothing may wait for an answer there."""
        if yes:
            return True
        if not self.stdin_is_terminal:
            raise UsageError("this needs a confirmation, but standard input is not a terminal",
                             hint=f"{'Review the plan with --dry-run, then add' if has_plan else 'Add'} --yes.")
        self.out.flush()
        self.err.write(f"{self.err.styled(question)} [y/N] ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def may_color(stream: TextIO, wish: str, environ: Mapping[str, str]) -> bool:
    """Return true for `always` or, by default, for a capable terminal unless NO_COLOR (https://no-color.org) is set."""
    if wish != "auto":
        return wish == "always"
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
