"""A connection pooler between pgvault and PostgreSQL: who it is, and what has to lead past it.

SQL may come through one. Base backups and WAL come by the replication protocol, which a pooler refuses, takes for SQL,
or breaks; pgbouncer passes it on since 1.23. Poolers speak English alone, so that their words tell which one it is.
"""

from __future__ import annotations

import re

from pgvault.model.errors import ConfigError

SYNTAX_ERROR = "42601"
"""What a replication command is to a server that takes it for SQL: a pooler has asked it for an ordinary session."""

_SIGNS = (
    ("pgbouncer", r"unsupported (options )?startup parameter|bouncer config error|^no such database: |\bpgbouncer\b|"
                  r"server_login_retry|query_wait_timeout|client_login_timeout|max_client_conn"),
    ("Odyssey", r"^odyssey: "),
    ("PgCat", r"^No pool configured for database"),
    ("Pgpool-II", r"\bpgpool\b|because of an error from backend|Backend throw an error message"),
)


def pooler_that_said(text: str) -> str:
    """The pooler's name, by a message without its level; empty when it may be PostgreSQL's own."""
    return next((name for name, sign in _SIGNS if re.search(sign, text, re.IGNORECASE)), "")


def refuses_replication(text: str) -> bool:
    return "startup parameter: replication" in text


def is_console(server_version: str) -> bool:
    """Whether who gives this version is pgbouncer itself, as in "1.18.0/bouncer"."""
    return "bouncer" in server_version


def no_replication(server: str, said: str) -> ConfigError:
    """The error for what answers replication commands as no walsender does."""
    name = pooler_that_said(said)
    return ConfigError(
        f"{server} is reached through a connection pooler{f', {name}' if name else ''}",
        detail=f"It does not pass on the replication protocol, by which base backups and WAL come. It said: {said}.",
        hint=f"Let streaming_conninfo of [servers.{server}] lead past it, to PostgreSQL's own host and port.")


def at_the_console(server: str) -> ConfigError:
    return ConfigError(f"conninfo of {server} leads to the console of pgbouncer, and to no database",
                       hint=f"Let conninfo of [servers.{server}] lead to PostgreSQL's own host and port; or name a "
                            "database of PostgreSQL as dbname.")
