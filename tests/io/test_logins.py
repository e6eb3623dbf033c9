"""Ways into a server that are not the usual ones: abstract sockets, and another database than the configured one."""

from __future__ import annotations

import psycopg
import pytest
from support.fleet import Fleet
from support.postgres import Server

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.server_state import ask
from pgvault.io.login import databases, for_psycopg, refused_database
from pgvault.io.postgres import session
from pgvault.model.errors import Unreachable


class Refused(psycopg.OperationalError):
    """As libpq's failure to log in to a database."""

    def __init__(self, said: str, database: str = "shop") -> None:
        super().__init__(f'connection failed: connection to server at "10.0.0.5", port 5432 failed: {said}')
        self._database = database

    @property
    def pgconn(self) -> object:  # type: ignore[override]
        return type("Connection", (), {"db": self._database.encode()})


@pytest.mark.parametrize(("said", "refused"), [
    ('FATAL:  database "shop" does not exist', True),
    ('FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.', True),
    ("FATAL:  Datenbank »shop« existiert nicht", True),
    ("致命错误:  数据库 \"shop\" 不存在", True),
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "pgv", database "shop", no encryption', True),
    ("FATAL:  no such database: shop", True),  # pgbouncer
    ('FATAL:  password authentication failed for user "pgv"', False),
    ('FATAL:  database "shopping" is not currently accepting connections', False),
    ("FATAL:  the database system is starting up", False),
    ("Connection refused", False),
])  # fmt: skip
def test_which_refusals_are_about_the_database(said: str, refused: bool) -> None:
    assert bool(refused_database(Refused(said))) is refused


def test_what_was_said_of_it_is_one_line() -> None:
    said = 'FATAL:  permission denied for database "shop"\nDETAIL:  User does not have CONNECT privilege.'
    assert refused_database(Refused(said)) == 'permission denied for database "shop"'


def test_each_database_is_tried_once() -> None:
    assert databases("shop", then=("", "postgres", "other")) == ["shop", "postgres", "template1", "other"]
    assert databases() == ["postgres", "template1"]


@pytest.mark.parametrize(("host", "passed"), [
    ("@db", "//@db"), ("/run/postgresql", "/run/postgresql"), ("db1,@db,10.0.0.1", "db1,//@db,10.0.0.1"), ("", "")])
def test_only_abstract_sockets_are_dressed(host: str, passed: str) -> None:
    assert for_psycopg({"host": host, "user": "a"}) == {"host": passed, "user": "a"}
    assert for_psycopg({"user": "a"}) == {"user": "a"}


def test_nothing_behind_an_abstract_socket_is_said_of_the_socket() -> None:
    with pytest.raises(Unreachable) as failed, \
            session(ServerConfig(name="main", conninfo="host=@pgvault-nobody user=a")):
        pass
    assert failed.value.detail.startswith("Nothing listens there. Connection to server on socket "
                                          '"@pgvault-nobody/.s.PGSQL.5432"')


# Another database than the configured one


@pytest.fixture
def closed(pg: Server) -> str:
    """A database that lets only superusers in."""
    name = pg.new_database()
    pg.sql(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    pg.sql("DROP ROLE IF EXISTS outsider")
    pg.sql("CREATE ROLE outsider LOGIN")
    return name


def config(server: Server, database: str) -> ServerConfig:
    return ServerConfig(name="main", conninfo=f"host=127.0.0.1 port={server.port} user=outsider dbname={database}")


def test_where_the_configured_database_lets_nobody_in_another_answers(pg: Server, closed: str) -> None:
    told = ask(config(pg, closed))
    assert (told.database, told.refusal) == ("postgres", f'permission denied for database "{closed}"')
    assert ask(config(pg, "nowhere")).refusal == 'database "nowhere" does not exist'
    assert ask(config(pg, "postgres")).refusal == ""


def test_without_a_way_into_any_it_is_the_configured_one_that_is_reported(fleet: Fleet) -> None:
    server = fleet.shared()
    with pytest.raises(Unreachable) as failed, \
            session(ServerConfig(name="main", conninfo=f"host=127.0.0.1 port={server.port} user=nobody dbname=nobody")):
        pass
    assert 'role "nobody" does not exist' in failed.value.detail
