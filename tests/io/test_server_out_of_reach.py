"""What a person reads when no connection comes about: the cause, then what was said, once and in sentences."""

from __future__ import annotations

import psycopg
import pytest

from pgvault.io.postgres_failure import unreachable

SOCKET = """connection is bad: connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file or directory
\tIs the server running locally and accepting connections on that socket?"""
REFUSED = """connection failed: connection to server at "10.0.0.{}", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?"""
BOTH = "\n".join((REFUSED.format(6), "Multiple connection attempts failed. All failures were:",
                  *(f"- host: '10.0.0.{number}', port: '5432', hostaddr: '10.0.0.{number}': {REFUSED.format(number)}"
                    for number in (5, 6))))


@pytest.mark.parametrize(("said", "detail"), [
    (SOCKET, 'There is no such socket. Connection to server on socket "/run/x/.s.PGSQL.5432" failed: No such file or '
             'directory.'),
    (BOTH, 'Nothing listens there. Connection to server at "10.0.0.6", port 5432 failed: Connection refused; '
           'connection to server at "10.0.0.5", port 5432 failed: Connection refused.')])
def test_what_libpq_said_stands_behind_the_cause_without_its_questions(said: str, detail: str) -> None:
    told = unreachable("main", psycopg.OperationalError(said), "pgvault")
    assert (told.message, told.detail) == ("could not connect to main", detail)


def test_the_line_that_pg_hba_conf_lacks_is_still_written_out() -> None:
    said = ('connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  no pg_hba.conf entry for '
            'host "10.0.0.9", user "pgvault", database "postgres", no encryption')
    assert "host  all  pgvault  10.0.0.9/32" in unreachable("main", psycopg.OperationalError(said), None).hint


def test_a_role_that_was_named_for_one_act_is_not_to_be_created() -> None:
    said = psycopg.OperationalError('connection failed: FATAL:  role "clark" does not exist')
    assert "CREATE ROLE clark LOGIN REPLICATION" in unreachable("main", said, "clark").hint
    assert unreachable("main", said, "clark", chosen=True).hint == (
        "Name a role that may log in there with --user ROLE, or omit --user.")
