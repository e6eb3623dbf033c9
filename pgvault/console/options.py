"""How the console was asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    config: Path | None = None
    """As given with --config; handed on to every command."""
    read_only: bool = False
    ascii_only: bool = False
    mouse: bool = True
    animations: bool = False
    """Also the usual rate of redrawing; without it a slow link is spared."""
    notice: str = ""
    """Shown on the first screen: what the demonstration's visitor came for."""
    lost: str = ""
    """The table that the notice is about: once a restore has proven that it is there, that is said instead."""
    sandbox: Path | None = None
    """Of the demonstration, whose end the person is asked about."""
    check_at_start: bool = True
    """Run the checks of all servers once the first screen stands, and of one that begins or ceases to answer."""
