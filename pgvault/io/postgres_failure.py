"""Explains why PostgreSQL cannot be reached or did not execute a command.

No message made here repeats a connection string, which may hold a password.
"""

from __future__ import annotations

import re

import psycopg

from pgvault.io.login import server_message
from pgvault.io.pooler import SYNTAX_ERROR, no_replication, pooler_of_message, refuses_replication
from pgvault.model.errors import PgvaultError, Refused, Unreachable
from pgvault.model.identifier import sql_identifier

# Texts of libpq and the server, their meaning, and the next step. The first match is used.
_CAUSES = (
    ("connection refused", "Nothing listens there.", "Check that the server runs, and its host and port."),
    ("no such file or directory", "There is no such socket.", "Check that the server runs, and its socket directory."),
    ("timeout expired", "No answer came in time.", "Check the network and firewalls between here and the server."),
    ("could not translate host name", "The name is unknown on this machine.", "Check the name, or use an address."),
    ("no route to host", "The network has no route to the host.", "Check the address and the firewalls."),
    ("network is unreachable", "The network has no route to the host.", "Check the address and the routes."),
    ("no pg_hba.conf entry", "The server's pg_hba.conf has no line for this user from this machine.",
     "Add a line to pg_hba.conf, then run as a superuser: SELECT pg_reload_conf();"),
    ("pg_hba.conf rejects", "A line of the server's pg_hba.conf rejects this user from this machine.",
     "Add a line that allows it before that one, then run as a superuser: SELECT pg_reload_conf();"),
    ("password authentication failed", "The password is wrong.",
     "Check the password in .pgpass or password_environment."),
    ("no password supplied", "The server requires a password, but none is configured.",
     "Put it in .pgpass, or name an environment variable in password_environment."),
    ("permission denied to start wal sender", "The role lacks the REPLICATION attribute.",
     "Run as a superuser: ALTER ROLE … REPLICATION"),
    ("must be superuser or replication role", "The role lacks the REPLICATION attribute.",
     "Run as a superuser: ALTER ROLE … REPLICATION"),
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
    """Return the error for a failed statement or replication command. `doing` completes "could not ..."."""
    text = first_line(error)
    if replicating and error.sqlstate == SYNTAX_ERROR:
        return no_replication(server, text)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refused(f"could not {doing}: {text}", detail=f"The role lacks a privilege on {server}.",
                       hint=f"Find the missing privilege, and its GRANT: pgvault check {server}")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return Unreachable(f"could not {doing}: the connection to {server} was lost", detail=sentence(text),
                           hint="Check that the server is running, then run this again.")
    return PgvaultError(f"could not {doing}: {text}", detail=(error.diag.message_detail or "") if error.diag else "",
                        hint=(error.diag.message_hint or "") if error.diag else "")


def unreachable(server: str, error: psycopg.Error, user: str | None, *, chosen: bool = False) -> PgvaultError:
    """Return the error for a failed login. `chosen` means that the role was given for this operation only."""
    message, from_server = _joined_failures(error), server_message(str(error))
    if chosen and _NO_ROLE.search(message):
        return Unreachable(f"could not connect to {server}", detail=sentence(message),
                           hint="Name a role that may log in there with --user ROLE, or omit --user.")
    if refuses_replication(from_server):
        return no_replication(server, from_server)
    if name := pooler_of_message(from_server):
        return Unreachable(f"could not connect to {server}: it leads to the connection pooler {name}",
                           detail=sentence(message), hint=f"Set conninfo of [servers.{server}] to "
                           "PostgreSQL's own host and port; or find out why the pooler rejects this user.")
    for sign, cause, hint in _CAUSES:
        if sign in message.lower():
            return Unreachable(f"could not connect to {server}", detail=f"{cause} {sentence(message)}".strip(),
                               hint=_exact_hint(message, user) or hint)
    return Unreachable(f"could not connect to {server}", detail=sentence(message),
                       hint="Check conninfo in the configuration.")


def _joined_failures(error: psycopg.Error) -> str:
    """Return each failure once, on one line, without libpq's questions and psycopg's additions."""
    lines = (_AROUND.sub("", " ".join(line.split())) for line in str(error).splitlines())
    message = "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith("Is the server running")))
    return message[:1].upper() + message[1:]


def _exact_hint(message: str, user: str | None) -> str | None:
    """Return the exact line or statement that is missing, if the message contains enough to write it."""
    if match := _NO_ENTRY.search(message):
        database = "replication" if match["replication"] else "all"
        host = match["host"]
        where = f"local  {database}" if host == "[local]" else f"host  {database}"
        address = "" if host == "[local]" else f"  {host}/{128 if ':' in host else 32}"
        return f"Add this line to pg_hba.conf, then run as a superuser: SELECT pg_reload_conf();\n" \
               f"{where}  {sql_identifier(match['user'])}{address}  scram-sha-256"
    if match := _NO_ROLE.search(message):
        role = sql_identifier(match["user"])
        verb = "CREATE" if match["lack"] == "does not exist" else "ALTER"
        return f"Check the user, or run as a superuser:\n{verb} ROLE {role} LOGIN REPLICATION;\n" \
               f"GRANT pg_read_all_settings TO {role};\n" \
               f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {role};"
    if user and _NO_REPLICATION.search(message):
        return f"Run as a superuser: ALTER ROLE {sql_identifier(user)} REPLICATION;"
    return None


def first_line(error: psycopg.Error) -> str:
    text = (error.diag.message_primary if error.diag else None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text.endswith((".", "?", "!")) else text + "."
