"""Detects a connection pooler between pgvault and PostgreSQL, and says which connection must bypass it.

SQL may pass a pooler. Base backups and WAL use the replication protocol, which poolers refuse, take for SQL, or break;
pgbouncer passes it on since 1.23. Poolers speak only English, so that their messages identify them.
"""

from __future__ import annotations

import re

from pgvault.model.errors import ConfigError

SYNTAX_ERROR = "42601"
"""SQLSTATE of a replication command that is taken for SQL, because a pooler opened an ordinary session."""

_SIGNS = (
    ("pgbouncer", r"unsupported (options )?startup parameter|bouncer config error|^no such database: |\bpgbouncer\b|"
                  r"server_login_retry|query_wait_timeout|client_login_timeout|max_client_conn"),
    ("Odyssey", r"^odyssey: "),
    ("PgCat", r"^No pool configured for database"),
    ("Pgpool-II", r"\bpgpool\b|because of an error from backend|Backend throw an error message"),
)


def pooler_of_message(text: str) -> str:
    """Return the pooler's name from a message without its level; empty if it may be PostgreSQL's own message."""
    return next((name for name, sign in _SIGNS if re.search(sign, text, re.IGNORECASE)), "")


def refuses_replication(text: str) -> bool:
    return "startup parameter: replication" in text


def is_console(server_version: str) -> bool:
    """Return whether a server version is that of pgbouncer's own console, such as "1.18.0/bouncer"."""
    return "bouncer" in server_version


def no_replication(server: str, message: str) -> ConfigError:
    """Return the error for a server that does not answer replication commands like a walsender."""
    name = pooler_of_message(message)
    return ConfigError(
        f"{server} is reached through a connection pooler{f', {name}' if name else ''}",
        detail=f"It does not support the replication protocol, which base backups and WAL need. Its answer: {message}.",
        hint=f"Set streaming_conninfo of [servers.{server}] to PostgreSQL's own host and port.")


def at_the_console(server: str) -> ConfigError:
    return ConfigError(f"conninfo of {server} leads to the console of pgbouncer, not to a database",
                       hint=f"Set conninfo of [servers.{server}] to PostgreSQL's own host and port, or name a "
                            "database of PostgreSQL as dbname.")
