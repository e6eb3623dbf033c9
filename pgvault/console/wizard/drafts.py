"""Unfinished drafts, one for each server, in the person's own state directory: a crash loses nothing.

Not in the vault: it may belong to somebody else, and a draft is nobody else's business. A draft is of a vault by its id
and of a cluster by its system identifier: what comes to the same path under the same name later is something else.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import tomli_w

from pgvault.config.state import state_directory
from pgvault.console.wizard.draft import Draft
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.store.files import make_directory, write_durably
from pgvault.store.leases import Concern
from pgvault.store.local_leases import LocalLeases
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import Vault


class DraftFile:
    """The draft of one server; whoever writes it takes it first, so that two wizards do not undo each other."""

    def __init__(self, server: str, vault_id: str, system_identifier: str,
                 environ: Mapping[str, str] = os.environ) -> None:
        self._name = f"{server}-{system_identifier}"
        self.path = state_directory(environ) / "drafts" / vault_id / f"{self._name}.toml"
        self._lock = ExitStack()

    def take(self) -> None:
        """Until `let_go`, or the end of this process; Locked, with the holder, where another console has it."""
        with suppress(OSError):  # nobody can write there: `save` says so
            self._lock.enter_context(LocalLeases(self.path.parent).hold(Concern.DRAFT, about=self._name))

    def let_go(self) -> None:
        self._lock.close()

    def save(self, draft: Draft) -> None:
        """Replace the server's draft; PgvaultError when that cannot be done."""
        text = tomli_w.dumps(draft.document())
        try:
            make_directory(self.path.parent)
            write_durably(self.path, text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise from_os_error(error, "save the draft of this recovery") from error

    def read(self) -> Draft | None:
        """None when there is none, or none that this version understands."""
        try:
            return Draft.of(tomllib.loads(self.path.read_bytes().decode("utf-8", "surrogatepass")))
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """It was seen to its end, or is not wanted."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def draft_file(home: Path, server: str) -> DraftFile | None:
    """Of a server in the vault at `home`; None where it is not known which vault or cluster that is, or no state is
    kept for this person."""
    try:
        vault_id = Vault(home).read_id()
        identity = read_identity(Vault(home).server(server))
        if identity and vault_id.isalnum() and identity.system_identifier.isalnum():
            return DraftFile(server, vault_id, identity.system_identifier)
        return None
    except (PgvaultError, OSError, RuntimeError):
        return None
