"""The checks of the vault: its directories, its space, its backups, and the retention settings."""

from __future__ import annotations

import shlex

from pgvault.engine.check.facts import ServerState, SqlFacts
from pgvault.engine.check.server_checks import finding_of
from pgvault.model.check import Finding, failed, not_applicable, ok, warning
from pgvault.model.protection import are_too_few, is_too_old
from pgvault.model.text import in_words, size
from pgvault.model.units import format_duration

FIRST_BACKUP_SHARE = 4
"""A first backup rarely takes less than this fraction of the cluster's size."""


def directories(state: ServerState) -> Finding:
    if state.vault.problem:
        return finding_of(state.vault.problem)
    for place in state.vault.places:
        if not place.usable:
            where = place.path if place.exists else f"{place.path} cannot be created: {place.nearest}"
            quoted = shlex.quote(str(place.nearest))
            return failed(f"{where} is not a directory that this user may write to",
                          "This user does not own the vault.",
                          f"chown {state.vault.login.split('@', 1)[0]} {quoted} && chmod u+rwx {quoted}   # as root")
    if not state.vault.places[0].exists:
        return ok("does not exist yet: the first backup creates it")
    return ok()


def space(state: ServerState) -> Finding:
    free, backups = state.vault.free_bytes, state.vault.good_backups
    if free is None:
        return not_applicable("the file system does not report its free space")
    if backups:
        newest = backups[-1]
        least, whole, what = newest.stored_bytes, newest.size_bytes, f"the last backup took {size(newest.stored_bytes)}"
    elif isinstance(state.sql, SqlFacts) and state.sql.cluster_bytes is not None:
        whole = state.sql.cluster_bytes
        least, what = whole // FIRST_BACKUP_SHARE, f"the cluster's size is {size(whole)}"
    else:
        return not_applicable(f"{size(free)} free; the cluster's size is not known")
    detail = f"{size(free)} free, {what}"
    fix = f"Free space in {state.vault.places[0].nearest}, or move the vault to a larger file system."
    if free < least:
        return failed(detail, "The next backup would not fit.", fix)
    if free < whole:
        return warning(detail, "A backup that shares nothing with earlier ones might not fit.", fix)
    return ok(detail)


def retention_policy(state: ServerState) -> Finding:
    policy = state.server.retention_policy
    return ok(str(policy) if policy else "none: nothing expires")


def backup_age(state: ServerState) -> Finding:
    limit, backups = state.server.last_backup_maximum_age, state.vault.good_backups
    newest = backups[-1] if backups else None
    detail = "No available backups" if newest is None else in_words(newest.age(state.at))
    fix = f"pgvault backup {state.server.name}"
    if limit is None:
        return ok(f"no last_backup_maximum_age provided, latest backup age: {detail}")
    detail = f"interval provided: {format_duration(limit)}, latest backup age: {detail}"
    if not is_too_old(newest, limit, state.at):
        return ok(detail)
    return failed(detail, "The newest good backup is too old." if newest else _why_no_backup(state), fix)


def compression(state: ServerState) -> Finding:
    return ok(f"{state.server.compression}, level {state.server.compression_level}")


def redundancy(state: ServerState) -> Finding:
    have, expected = len(state.vault.good_backups), state.server.minimum_redundancy
    detail = f"have {have} {'backup' if have == 1 else 'backups'}, expected at least {expected}"
    if not are_too_few(have, expected):
        return ok(detail)
    return failed(detail, _why_no_backup(state) if not have else "There are too few good backups.",
                  f"pgvault backup {state.server.name}")


def readable_backups(state: ServerState) -> Finding:
    bad = state.vault.unreadable
    if not bad:
        return ok()
    return failed(", ".join(f"{each.id}: {each.reason}" for each in bad[:3]), "A backup with unreadable facts "
                  "protects nothing.", bad[0].fix)


def _why_no_backup(state: ServerState) -> str:
    others = len(state.vault.backups)
    return f"None of the {others} in the vault is complete and usable." if others else "No backup was taken yet."
