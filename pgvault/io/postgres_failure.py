"""Why PostgreSQL cannot be reached or did not do what was asked, in words that a person can act on.

No message made here repeats a connection string: it may hold a password.
"""

from __future__ import annotations

import re

import psycopg

from pgvault.io.login import server_said
from pgvault.io.pooler import SYNTAX_ERROR, no_replication, pooler_that_said, refuses_replication
from pgvault.model.errors import PgvaultError, Refused, Unreachable
from pgvault.model.identifier import sql_identifier

# What libpq and the server say, what it means, and what to do. The first that fits is taken.
_CAUSES = (
    ("connection refused", "Nothing listens there.", "Check that the server runs, and its host and port."),
    ("no such file or directory", "There is no such socket.", "Check that the server runs, and its socket directory."),
    ("timeout expired", "No answer came in time.", "Check the network and firewalls between here and the server."),
    ("could not translate host name", "The host's name is not known here.", "Check the name, or use an address."),
    ("no route to host", "The network does not lead there.", "Check the address and the firewalls."),
    ("network is unreachable", "The network does not lead there.", "Check the address and the routes."),
    ("no pg_hba.conf entry", "The server's pg_hba.conf does not let this user in from here.",
     "Add a line for it to pg_hba.conf, then as a superuser: SELECT pg_reload_conf();"),
    ("pg_hba.conf rejects", "A line of the server's pg_hba.conf turns this user away from here.",
     "Put a line that lets it in before that one, then as a superuser: SELECT pg_reload_conf();"),
    ("password authentication failed", "The password is wrong.",
     "Check the password in .pgpass or password_environment."),
    ("no password supplied", "The server wants a password and none is configured.",
     "Put it in .pgpass, or name an environment variable in password_environment."),
    ("permission denied to start wal sender", "The role may not replicate.",
     "As a superuser: ALTER ROLE … REPLICATION"),
    ("must be superuser or replication role", "The role may not replicate.",
     "As a superuser: ALTER ROLE … REPLICATION"),
    ("too many", "All of the server's connection slots are in use.", "Raise max_connections or max_wal_senders."),
    ("remaining connection slots", "All of the server's connection slots are in use.", "Raise max_connections."),
    ("number of requested standby connections", "All WAL senders are in use.", "Raise max_wal_senders."),
    ('role "', "", "Check the user, or create the role."),
    ('database "', "", "Check dbname in the connection string."),
    ("starting up", "", "Wait until the server has finished its recovery."),
    ("shutting down", "", "Wait until the server is back."),
)
_NO_ENTRY = re.compile(r'no pg_hba\.conf entry for (?P<replication>replication connection from )?'
                       r'host "(?P<host>[^"]+)", user "(?P<user>[^"]+)"')
_NO_ROLE = re.compile(r'role "(?P<user>[^"]+)" (?P<lack>does not exist|is not permitted to log in)')
_AROUND = re.compile(r"^(- host: .*?: )?connection (is bad|failed): "
                     r"|^Multiple connection attempts failed\. All failures were:$")
_NO_REPLICATION = re.compile(r"permission denied to start wal sender|must be superuser or replication role", re.I)


def translated(server: str, error: psycopg.Error, doing: str, *, replicating: bool = False) -> PgvaultError:
    """The error for a statement, or for a replication command, that failed; `doing` reads after "could not"."""
    text = first_line(error)
    if replicating and error.sqlstate == SYNTAX_ERROR:
        return no_replication(server, text)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refused(f"could not {doing}: {text}", detail=f"The role may not do this on {server}.",
                       hint=f"See which right is missing, and its GRANT: pgvault check {server}")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return Unreachable(f"could not {doing}: the connection to {server} was lost", detail=sentence(text),
                           hint="Check that the server is running, then run this again.")
    return PgvaultError(f"could not {doing}: {text}", detail=(error.diag.message_detail or "") if error.diag else "",
                        hint=(error.diag.message_hint or "") if error.diag else "")


def unreachable(server: str, error: psycopg.Error, user: str | None, *, chosen: bool = False) -> PgvaultError:
    """The error for a login that failed; `chosen`: as a role that was named for this one act alone."""
    said, theirs = _said(error), server_said(str(error))
    if chosen and _NO_ROLE.search(said):
        return Unreachable(f"could not connect to {server}", detail=sentence(said),
                           hint="Name a role that may log in there: --user ROLE, or leave --user out.")
    if refuses_replication(theirs):
        return no_replication(server, theirs)
    if name := pooler_that_said(theirs):
        return Unreachable(f"could not connect to {server}: {name}, a connection pooler, answers there",
                           detail=sentence(said), hint=f"Let conninfo of [servers.{server}] lead past it, to "
                           "PostgreSQL's own host and port; or see why it does not let this user through.")
    for sign, cause, hint in _CAUSES:
        if sign in said.lower():
            return Unreachable(f"could not connect to {server}", detail=f"{cause} {sentence(said)}".strip(),
                               hint=_exact_hint(said, user) or hint)
    return Unreachable(f"could not connect to {server}", detail=sentence(said),
                       hint="Check conninfo in the configuration.")


def _said(error: psycopg.Error) -> str:
    """Each failure once, in one line, without libpq's questions and psycopg's words around them."""
    lines = (_AROUND.sub("", " ".join(line.split())) for line in str(error).splitlines())
    said = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Is the server running")))
    return said[:1].upper() + said[1:]


def _exact_hint(said: str, user: str | None) -> str | None:
    """The very line or statement that is missing, where what was said tells enough to write it."""
    if match := _NO_ENTRY.search(said):
        database = "replication" if match["replication"] else "all"
        host = match["host"]
        where = f"local  {database}" if host == "[local]" else f"host  {database}"
        address = "" if host == "[local]" else f"  {host}/{128 if ':' in host else 32}"
        return f"Add this line to pg_hba.conf, then as a superuser: SELECT pg_reload_conf();\n" \
               f"{where}  {sql_identifier(match['user'])}{address}  scram-sha-256"
    if match := _NO_ROLE.search(said):
        role = sql_identifier(match["user"])
        verb = "CREATE" if match["lack"] == "does not exist" else "ALTER"
        return f"Check the user, or as a superuser:\n{verb} ROLE {role} LOGIN REPLICATION;\n" \
               f"GRANT pg_read_all_settings TO {role};\n" \
               f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {role};"
    if user and _NO_REPLICATION.search(said):
        return f"As a superuser: ALTER ROLE {sql_identifier(user)} REPLICATION;"
    return None


def first_line(error: psycopg.Error) -> str:
    text = (error.diag.message_primary if error.diag else None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "?", "!")) else text + "."
