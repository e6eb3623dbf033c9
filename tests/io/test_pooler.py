"""A connection pooler in the way: named, and never taken for PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from support.account import account
from support.cli import pgvault
from support.postgres import Server, free_port, wait_until

from pgvault.config.schema import ServerConfig
from pgvault.engine.check.server_state import ask, ask_walsender
from pgvault.io.pooler import pooler_of_message
from pgvault.io.postgres import connect, session
from pgvault.io.postgres_failure import unreachable
from pgvault.io.replication_stream import identify
from pgvault.model.errors import ConfigError, Unreachable

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.mark.parametrize(("said", "pooler"), [
    ("unsupported startup parameter: replication", "pgbouncer"),
    ("Unsupported startup parameter: extra_float_digits", "pgbouncer"),
    ("no such database: shop", "pgbouncer"), ("bouncer config error", "pgbouncer"),
    ("odyssey: c1a2b3c4: route for 'shop.pgvault' is not found", "Odyssey"),
    ('No pool configured for database: "shop", user: "pgvault"', "PgCat"),
    ("Backend throw an error message", "Pgpool-II"),
    ("pgpool is not accepting any more new connections", "Pgpool-II"),
    ('database "shop" does not exist', ""), ('role "odyssey" does not exist', ""), ("sorry, too many clients", ""),
])  # fmt: skip
def test_each_pooler_is_known_by_its_words(said: str, pooler: str) -> None:
    assert pooler_of_message(said) == pooler


def test_a_host_of_a_poolers_name_is_no_pooler() -> None:
    said = 'connection failed: connection to server at "pgbouncer.example.com", port 5432 failed: Connection refused'
    told = unreachable("main", psycopg.OperationalError(said), "a")
    assert told.message == "could not connect to main"


def test_what_takes_replication_commands_for_sql_is_a_pooler(pg: Server) -> None:
    config = ServerConfig(name="main", conninfo=pg.conninfo())
    with connect(config) as connection, pytest.raises(ConfigError) as failed:
        identify("main", connection)
    assert failed.value.message == "main is reached through a connection pooler"
    assert "streaming_conninfo of [servers.main]" in failed.value.hint


@pytest.fixture
def bouncer(pg: Server, open_tmp: Path) -> Iterator[str]:
    """Where pgbouncer, which gives each transaction another session, leads to the shared server; no database."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed (Debian: pgbouncer)")
    port = free_port()
    (open_tmp / "users").write_text('"postgres" ""\n')
    settings = open_tmp / "pgbouncer.ini"
    settings.write_text(f"[databases]\npostgres = host=127.0.0.1 port={pg.port}\n[pgbouncer]\nlisten_port = {port}\n"
                        f"listen_addr = 127.0.0.1\nunix_socket_dir =\nauth_type = trust\nauth_file = {open_tmp}/users\n"
                        "pool_mode = transaction\nadmin_users = postgres\n")
    process = subprocess.Popen([PGBOUNCER, settings], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, **account().popen_options())

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return False

    wait_until(listens)
    yield f"host=127.0.0.1 port={port} user=postgres"
    process.terminate()
    process.wait(30)


def test_pgbouncer_lets_questions_through_and_no_wal(bouncer: str) -> None:
    config = ServerConfig(name="main", conninfo=f"{bouncer} dbname=postgres")
    assert ask(config).is_pooled
    with pytest.raises(ConfigError) as failed:
        ask_walsender(config)
    assert failed.value.message == "main is reached through a connection pooler, pgbouncer"


@pytest.mark.parametrize("database", ["nowhere", "postgres"])
def test_a_database_that_pgbouncer_does_not_know(bouncer: str, database: str) -> None:
    told = ask(ServerConfig(name="main", conninfo=f"{bouncer} dbname={database}"))
    assert told.refusal == ("no such database: nowhere" if database == "nowhere" else "")
    with pytest.raises(Unreachable) as failed, \
            session(ServerConfig(name="main", conninfo=f"{bouncer} options='-c work_mem=1MB'")):
        pass
    assert failed.value.message == "could not connect to main: it leads to the connection pooler pgbouncer"


def test_the_console_of_pgbouncer_is_no_database(bouncer: str) -> None:
    with pytest.raises(ConfigError, match="leads to the console of pgbouncer"):
        ask(ServerConfig(name="main", conninfo=f"{bouncer} dbname=pgbouncer"))


def test_backup_and_receiver_name_it_and_end(bouncer: str, tmp_path: Path) -> None:
    config = tmp_path / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{tmp_path}/vault"\n[servers.main]\nconninfo = "{bouncer} dbname=postgres"\n')
    for verb in ("backup", "receive-wal"):
        done = pgvault(verb, "main", config=config, check=ConfigError.exit_code)
        assert "main is reached through a connection pooler, pgbouncer" in done.stderr
        assert "Set streaming_conninfo of [servers.main] to" in done.stderr
