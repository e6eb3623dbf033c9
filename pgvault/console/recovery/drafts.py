"""Unfinished drafts, one for each server, in the person's own state directory: a crash loses nothing.

Not in the vault: it may belong to somebody else, and a draft is nobody else's business. A draft is of a vault by its id
and of a cluster by its system identifier: what comes to the same path under the same name later is something else.

The file is TOML; `_StoredDraft` says what it holds, and msgspec converts it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from pgvault.config.state import state_directory
from pgvault.console.recovery.draft import Draft, Point, Then, What, point_of
from pgvault.console.recovery.steps import Step
from pgvault.model.errors import PgvaultError, from_os_error
from pgvault.model.relation import parse_relation
from pgvault.model.target import AtTime
from pgvault.store.files import make_directory, write_durably
from pgvault.store.leases import Concern
from pgvault.store.local_leases import LocalLeases
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import Vault


class _StoredPoint(msgspec.Struct, omit_defaults=True):
    """A point as the options of `pgvault restore` that name it."""

    options: list[str]
    label: str
    typed: str
    time: datetime | None = None


class _StoredDraft(msgspec.Struct, omit_defaults=True):
    """What the file holds. The fields with a default are left out where they have it."""

    server: str
    step: Step
    backup: str
    directory: str
    tablespaces: dict[str, str]
    then: Then
    start: bool
    overwrite: bool
    expect: tuple[str, ...]
    job: str
    port: str = ""
    allow_unread: bool = False
    what: What | None = None
    host: str | None = None
    point: _StoredPoint | None = None


def to_document(draft: Draft) -> dict[str, Any]:
    """Return the draft as the values of a TOML file."""
    values = {name: getattr(draft, name) for name in _StoredDraft.__struct_fields__} | {
        "tablespaces": dict(draft.tablespaces), "point": draft.point and _stored(draft.point)}
    document: dict[str, Any] = msgspec.to_builtins(_StoredDraft(**values), builtin_types=(datetime,))
    return document


def _stored(point: Point) -> _StoredPoint:
    typed = point.target.typed if isinstance(point.target, AtTime) else ""
    return _StoredPoint(point.options, point.label, typed, point.time)


def from_document(document: Mapping[str, Any]) -> Draft:
    """Return the draft of such values; ValueError if they are none."""
    stored = msgspec.convert(document, _StoredDraft)
    for name in stored.expect:
        parse_relation(name)
    point = stored.point and point_of(stored.point.options, stored.point.label, stored.point.typed, stored.point.time)
    return Draft(**msgspec.structs.asdict(stored) | {"tablespaces": tuple(stored.tablespaces.items()), "point": point})


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
        text = tomli_w.dumps(to_document(draft))
        try:
            make_directory(self.path.parent)
            write_durably(self.path, text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise from_os_error(error, "save the draft of this recovery") from error

    def read(self) -> Draft | None:
        """Return the draft; None if there is none, or none that this version understands."""
        try:
            return from_document(tomllib.loads(self.path.read_bytes().decode("utf-8", "surrogatepass")))
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove the draft, which was completed or is not wanted."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def draft_file(home: Path, server: str) -> DraftFile | None:
    """Return the file for a server in the vault at `home`; None if it is not known which vault or cluster that is, or
    no state is kept for this person."""
    try:
        vault_id = Vault(home).read_id()
        identity = read_identity(Vault(home).server(server))
        if identity and vault_id.isalnum() and identity.system_identifier.isalnum():
            return DraftFile(server, vault_id, identity.system_identifier)
        return None
    except (PgvaultError, OSError, RuntimeError):
        return None
