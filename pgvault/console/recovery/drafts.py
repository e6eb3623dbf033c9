"""Unfinished drafts, one for each server, in the person's own state directory, so that a crash loses nothing.

They are not in the vault, which may belong to somebody else: a draft is private. A draft belongs to a vault by its id
and to a cluster by its system identifier, so that neither is confused with another one that later has the same path or
name.

The file is TOML; `_StoredDraft` is its contents, and msgspec converts it.
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
    """The contents of the file. Fields that have their default are left out."""

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
    """Parse a draft from such values. Raises ValueError if they are none."""
    stored = msgspec.convert(document, _StoredDraft)
    for name in stored.expect:
        parse_relation(name)
    point = stored.point and point_of(stored.point.options, stored.point.label, stored.point.typed, stored.point.time)
    return Draft(**msgspec.structs.asdict(stored) | {"tablespaces": tuple(stored.tablespaces.items()), "point": point})


class DraftFile:
    """The draft of one server; a writer takes it first, so that two wizards do not undo each other's answers."""

    def __init__(self, server: str, vault_id: str, system_identifier: str,
                 environ: Mapping[str, str] = os.environ) -> None:
        self._name = f"{server}-{system_identifier}"
        self.path = state_directory(environ) / "drafts" / vault_id / f"{self._name}.toml"
        self._lock = ExitStack()

    def take(self) -> None:
        """Take the draft until `let_go`, or the end of this process. Raises Locked, with the holder, if another console
        has it.
        """
        with suppress(OSError):  # the directory is not writable: `save` reports it
            self._lock.enter_context(LocalLeases(self.path.parent).hold(Concern.DRAFT, about=self._name))

    def let_go(self) -> None:
        self._lock.close()

    def save(self, draft: Draft) -> None:
        """Replace the server's draft. Raises PgvaultError if that fails."""
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
        """Remove the draft, which is complete or no longer wanted."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def draft_file(home: Path, server: str) -> DraftFile | None:
    """Return the file for a server in the vault at `home`; None if vault or cluster is not known, or this person has no
    state directory.
    """
    try:
        vault_id = Vault(home).read_id()
        identity = read_identity(Vault(home).server(server))
        if identity and vault_id.isalnum() and identity.system_identifier.isalnum():
            return DraftFile(server, vault_id, identity.system_identifier)
        return None
    except (PgvaultError, OSError, RuntimeError):
        return None
