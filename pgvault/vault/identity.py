"""Identifies the cluster to which a server's part of the vault belongs.

The system identifier that `initdb` gave the cluster decides, never the name: two clusters in one place would make each
other's backups unrestorable.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from typing import NamedTuple

from pgvault.model.errors import NotFound, PgvaultError, Refused
from pgvault.model.segment import is_segment_size
from pgvault.store.keys import Kind
from pgvault.vault.layout import ServerVault, Vault


class Identity(NamedTuple):
    system_identifier: str
    segment_size: int
    """The size of a WAL segment in bytes."""


def read_identity(server: ServerVault) -> Identity | None:
    """Return the identity; None if the vault has nothing of this server yet."""
    try:
        facts = tomllib.loads(server.store.read(server.key(Kind.IDENTITY)).decode())
        identity = Identity(facts["system_identifier"], facts["segment_size"])
    except NotFound:
        return None
    except KeyError as error:
        raise _unreadable(server, f"it has no {error.args[0]}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unreadable(server, str(error)) from None
    if not isinstance(identity.system_identifier, str) or not is_segment_size(identity.segment_size):
        raise _unreadable(server, "its values are not of the right kind")
    return identity


def _unreadable(server: ServerVault, reason: str) -> PgvaultError:
    return PgvaultError(f"could not read {server.location(Kind.IDENTITY)}", detail=f"{reason[0].upper()}{reason[1:]}.",
                        hint="Bring the file back from a copy of the vault; it holds the system_identifier and the "
                             "segment_size of the cluster, which each backup.toml holds too.")


def servers_of(vault: Vault, system_identifier: str) -> list[str]:
    """Return the servers of the vault that are this cluster or a copy of it; one with an unreadable identity is left
    out.
    """
    found = []
    for each in vault.store.list(Kind.IDENTITY):
        with suppress(PgvaultError, ValueError):
            identity = read_identity(vault.server(each.name))
            if identity is not None and identity.system_identifier == system_identifier:
                found.append(each.name)
    return found


def claim(server: ServerVault, cluster: Identity) -> None:
    """Make sure that this vault has, or from now on will have, exactly this cluster. Raises Refused otherwise."""
    known = read_identity(server)
    if known is None:
        import tomli_w  # once in a vault's life

        server.prepare()
        server.store.put(server.key(Kind.IDENTITY), tomli_w.dumps(
            {"system_identifier": cluster.system_identifier, "segment_size": cluster.segment_size}).encode())
        return
    if known.system_identifier != cluster.system_identifier:
        raise Refused(
            f"{server.name} is another cluster than the one in the vault",
            detail=f"The vault holds system identifier {known.system_identifier}, "
                   f"this server has {cluster.system_identifier}.",
            hint=f"Give the new cluster a name of its own in the configuration, or move {server.home} away.")
    if known.segment_size != cluster.segment_size:
        raise Refused(
            f"the WAL segment size of {server.name} has changed",
            detail=f"The vault holds segments of {known.segment_size} bytes, the server has {cluster.segment_size}.",
            hint=f"Give the cluster a new name in the configuration, or move {server.home} away.")
