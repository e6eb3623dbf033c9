"""The verbs: their modules and one-line descriptions. A verb's module is imported only if the verb is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Verb(NamedTuple):
    module: str
    meaning: str
    aliases: tuple[str, ...] = ()
    """Accepted but not listed: names that Barman users type."""
    in_doubt: bool = False
    """Any error exits 200: PostgreSQL takes 1 to 125 from its restore_command for "end of WAL" and would promote."""


GROUPS: dict[str, dict[str, Verb]] = {
    "Begin": {
        "console": Verb("pgvault.cli.console", "view the servers, find the point, recover (pgvault alone)"),
        "demo": Verb("pgvault.cli.demo", "a complete sandbox on this machine, with a disaster and the recovery"),
    },
    "Servers": {
        "list-servers": Verb("pgvault.cli.servers", "the configured servers", ("list-server",)),
        "show-server": Verb("pgvault.cli.servers", "configuration and state of a server", ("show-servers",)),
        "status": Verb("pgvault.cli.servers", "how well a server is protected"),
        "check": Verb("pgvault.cli.check", "test everything that backups and archiving need; changes nothing"),
    },
    "Backups": {
        "backup": Verb("pgvault.cli.backup", "take a backup"),
        "list-backups": Verb("pgvault.cli.catalogue", "the backups of a server", ("list-backup",)),
        "show-backup": Verb("pgvault.cli.catalogue", "the details of one backup", ("show-backups",)),
        "list-files": Verb("pgvault.cli.catalogue", "the files of a backup"),
        "keep": Verb("pgvault.cli.retention", "keep a backup whatever the retention policy says"),
        "delete": Verb("pgvault.cli.retention", "delete one backup"),
        "expire": Verb("pgvault.cli.retention", "delete what the retention policy no longer needs"),
        "restore": Verb("pgvault.cli.restore", "plan, show, restore, start and prove", ("recover",)),
    },
    "Restored servers": {
        "look": Verb("pgvault.cli.restored", "psql on a restored server, in this terminal"),
        "bring-back": Verb("pgvault.cli.bring_back", "bring tables or schemas back from a restored server"),
        "open": Verb("pgvault.cli.restored", "open a paused restored server for use"),
        "throw-away": Verb("pgvault.cli.restored", "stop a restored server and remove its files"),
    },
    "WAL": {
        "wal": Verb("pgvault.cli.wal", "timelines, archived ranges, gaps and recovery windows"),
        "events": Verb("pgvault.cli.events", "events in the WAL: drops, truncations, mass deletions"),
        "switch-wal": Verb("pgvault.cli.wal", "close the server's current segment", ("switch-xlog",)),
        "archive-wal": Verb("pgvault.cli.wal", "archive the files in incoming and streaming"),
        "receive-wal": Verb("pgvault.cli.wal", "stream WAL from the server"),
        "put-wal": Verb("pgvault.cli.put_wal", "archive one segment from standard input (archive_command)"),
        "get-wal": Verb("pgvault.cli.get_wal", "return one segment (restore_command)", in_doubt=True),
    },
    "Jobs and upkeep": {
        "job": Verb("pgvault.cli.job", "list, show, watch or cancel jobs"),
        "config": Verb("pgvault.cli.config_command", "check or show the configuration"),
        "explain": Verb("pgvault.cli.explain", "explain an error code and its next steps"),
        "rebuild-index": Verb("pgvault.cli.rebuild_index", "rebuild a server's indexes from the stored files"),
    },
}

VERBS: dict[str, Verb] = {name: verb for verbs in GROUPS.values() for name, verb in verbs.items()}
_ALIASES = {alias: name for name, verb in VERBS.items() for alias in verb.aliases}


def resolve(word: str) -> str | None:
    """Return the verb that `word` names, itself or as an alias."""
    return word if word in VERBS else _ALIASES.get(word)


def nearest(word: str) -> str | None:
    """Return the verb that was probably meant."""
    import difflib

    found = difflib.get_close_matches(word.lower().replace("_", "-"), [*VERBS, *_ALIASES], n=1, cutoff=0.6)
    return resolve(found[0]) if found else None


def in_doubt(words: Iterable[str]) -> bool:
    """Return whether an error of this command line, even an unreadable one, must not be taken for "no such WAL"."""
    return any((name := resolve(word)) and VERBS[name].in_doubt for word in words)


def listing() -> str:
    """List all verbs by group, one line each."""
    width = max(map(len, VERBS))
    return "\n".join(
        f"\n{group}:\n" + "\n".join(f"  {name:<{width}}  {verb.meaning}" for name, verb in verbs.items())
        for group, verbs in GROUPS.items())
