"""The contents of the destination's data directory, the cluster they belong to, and whether they agree with the plan.

The classical disaster is to replace another cluster that was mistaken for an old copy; the system identifier that
`initdb` gave the cluster distinguishes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgvault.io.probe import Contents, Destination
from pgvault.io.probe_script import MARKER
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.holding import INCOMPLETE, NO_CLUSTER, NOTHING, UNKNOWN, describe_holding
from pgvault.model.restore_plan import DirectoryState, Precondition, RestorePlan
from pgvault.model.text import size, when
from pgvault.vault.identity import servers_of
from pgvault.vault.layout import Vault

OURS = frozenset({MARKER, "lost+found"})
"""The entries that a directory may have and still count as empty."""


def read_directory_state(destination: Destination, vault: Vault, server: str) -> DirectoryState:
    """Return the state of the directory. If several servers of the vault have this cluster's identifier, `server` is
    preferred."""
    running = destination.postmaster is not None and destination.postmaster.alive
    known = servers_of(vault, destination.system_identifier) if destination.system_identifier else []
    return DirectoryState(
        destination.directory.contents.value, destination.pg_version, running, destination.incomplete_restore,
        _holds(destination), destination.system_identifier, server if server in known else next(iter(known), None),
        destination.directory.entries, destination.checkpoint_at, destination.held_bytes)


def _holds(destination: Destination) -> str:
    """Return the word for the contents; empty if it is no directory or cannot be read, which refuses every plan."""
    place = destination.directory
    if place.contents in (Contents.NOT_A_DIRECTORY, Contents.UNREADABLE):
        return ""
    if destination.incomplete_restore is not None:
        return f"{INCOMPLETE}{destination.incomplete_restore}"
    if OURS.issuperset(place.entries):
        return NOTHING
    return (destination.system_identifier or UNKNOWN) if destination.has_cluster else NO_CLUSTER


def describe_contents(state: DirectoryState, server: str, backup: Backup, where: str = "") -> str:
    """Describe the contents. `where` ("in /srv/data") follows the first noun."""
    where = f" {where}" if where else ""
    if state.holds == NO_CLUSTER:
        return f"files{where} that are no cluster: {', '.join(state.entries)}{_in_brackets(_size(state))}"
    if state.holds == NOTHING or state.holds.startswith(INCOMPLETE):
        return describe_holding(state.holds)
    return f"the cluster{f' of PostgreSQL {state.pg_version}' if state.pg_version else ''}{where}" \
           f"{_identity(state, server, backup)}"


def _identity(state: DirectoryState, server: str, backup: Backup) -> str:
    if state.system_identifier is None:
        return (f"; whether it is a copy of {server} is not known: its global/pg_control is damaged or cannot "
                f"be read{_in_brackets(_size(state))}")
    last = f"last checkpoint {when(state.checkpoint_at)}" if state.checkpoint_at else ""
    facts = _in_brackets(f"system identifier {state.system_identifier}", last, _size(state))
    if state.system_identifier == backup.system_identifier:
        return f": {server} itself or a copy of it{facts}"
    who = f"{state.server} or a copy of it" if state.server else "a cluster that this vault does not know"
    return f", NOT a copy of {server}: it is {who}{facts}"


def _size(state: DirectoryState) -> str:
    return "" if state.size_bytes is None else size(state.size_bytes)


def _in_brackets(*facts: str) -> str:
    known = ", ".join(filter(None, facts))
    return f" ({known})" if known else ""


def held_conditions(state: DirectoryState, plan: RestorePlan) -> Iterator[Precondition]:
    """Yield the conditions that the directory holds what the plan was made for, and that a cluster to be set aside is
    one of this server.
    """
    backup, replaced = plan.source.backup, plan.replaced
    if replaced.if_holds and state.holds not in ("", replaced.if_holds):
        yield Precondition(
            "planned content", Outcome.FAILED,
            f"The plan was made for a directory that holds {describe_holding(replaced.if_holds)}; now it holds "
            f"{describe_contents(state, plan.server, backup)}.",
            "Look at what is there, and make the plan again, without --if-holds.")
    if replaced.sets_aside and state.holds != NO_CLUSTER:
        name = "replaced cluster"
        if state.system_identifier == backup.system_identifier:
            yield Precondition(name, Outcome.OK, f"{plan.server} itself or a copy of it, by its system identifier")
        elif state.system_identifier is None:
            yield Precondition(name, Outcome.WARNING, "The cluster there cannot be identified.",
                               "Find out whose it is before you let it be renamed.")
        else:
            yield Precondition(
                name, Outcome.WARNING,
                f"The cluster there has system identifier {state.system_identifier}"
                f"{f', as {state.server} has' if state.server else ''}; {plan.server} has {backup.system_identifier}.",
                "Be sure that nobody needs it where it is, or choose another directory.")
