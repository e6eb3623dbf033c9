"""The directory for a user's own state, as opposed to a vault's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory, which may not exist yet. RuntimeError if HOME is unset and the account has no home
    directory."""
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home(), ".local/state")
    return Path(state) / "pgvault"
