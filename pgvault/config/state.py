"""Where pgvault keeps what belongs to a person and not to a vault."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Not made here. RuntimeError where HOME is unset and no account tells a home directory."""
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home(), ".local/state")
    return Path(state) / "pgvault"
