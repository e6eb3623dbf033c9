"""The options with which the console was started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    config: Path | None = None
    """The value of --config, which every command gets, too."""
    read_only: bool = False
    ascii_only: bool = False
    mouse: bool = True
    animations: bool = False
    """True for animations and the usual frame rate; without it a slow link is spared."""
    notice: str = ""
    """The text on the first screen that reminds the demonstration's visitor what they came for."""
    lost: str = ""
    """The table of the notice: once a restore has proven that it is there, the notice reports that instead."""
    sandbox: Path | None = None
    """The demonstration's sandbox; leaving asks the person what becomes of it."""
    check_at_start: bool = True
    """True to check all servers once the first screen is up, and each one when it begins or ceases to answer."""
