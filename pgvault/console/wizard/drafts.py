"""Unfinished drafts, one for each server, in the person's own state directory: a crash loses nothing.

Not in the vault: it may belong to somebody else, and a draft is nobody else's business.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import tomli_w

from pgvault.config.state import state_directory
from pgvault.console.wizard.draft import Draft
from pgvault.model.errors import from_os_error


class Drafts:
    """Those of one vault; a draft that was made for another vault's server of the same name is not offered."""

    def __init__(self, vault: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.directory = state_directory(environ) / "drafts"
        self._vault = str(vault)

    def path(self, server: str) -> Path:
        return self.directory / f"{server}.toml"

    def save(self, draft: Draft) -> None:
        """Replace the server's draft; PgvaultError when that cannot be done."""
        path = self.path(draft.server)
        text = tomli_w.dumps({"vault": self._vault, **draft.document()})
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}.new")
            fresh.write_bytes(text.encode("utf-8", "surrogatepass"))
            fresh.replace(path)
        except OSError as error:
            raise from_os_error(error, "save the draft of this recovery") from error

    def read(self, server: str) -> Draft | None:
        """None when there is none, or none that this version understands."""
        try:
            told = tomllib.loads(self.path(server).read_bytes().decode("utf-8", "surrogatepass"))
            return Draft.of(told) if told.get("vault") == self._vault else None
        except (OSError, ValueError):
            return None

    def remove(self, server: str) -> None:
        """It was seen to its end, or is not wanted."""
        with suppress(OSError):
            self.path(server).unlink(missing_ok=True)
