"""What every verb is given: the configuration, read when first asked for, and where and how to write."""

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
        """As given with --config; None when the usual places are searched."""
        self.format, self.log_level = format, log_level
        self.hold = hold
        """Of the job as which this process was started; None when a person or another program runs it."""
        self.out, self.err = out, err
        """Standard output: data. Standard error: talk."""

    @cached_property
    def config(self) -> Config:
        """Read at the first use; ConfigError when it is wrong."""
        from pgvault.config.load import load

        return load(self.config_path, os.environ)

    @property
    def has_config(self) -> bool:
        """Whether the configuration was read already."""
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
        """The named server, or every one for `all`."""
        return list(self.config.servers.values()) if name == "all" else [self.config.server(name)]

    def confirm(self, question: str, *, yes: bool, has_plan: bool = True) -> bool:
        """Ask on the terminal; without one only `--yes` says yes, since nothing may wait for an answer there."""
        if yes:
            return True
        if not self.stdin_is_terminal:
            raise UsageError("this needs to be confirmed, and standard input is no terminal",
                             hint=f"{'Look at the plan with --dry-run, then add' if has_plan else 'Add'} --yes.")
        self.out.flush()
        self.err.write(f"{self.err.styled(question)} [y/N] ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def may_color(stream: TextIO, wish: str, environ: Mapping[str, str]) -> bool:
    """`always`, `never`, or by itself: a terminal that can, unless NO_COLOR (https://no-color.org) is set."""
    if wish != "auto":
        return wish == "always"
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
