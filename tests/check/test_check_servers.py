"""`pgvault check` against real servers: sound ones, and each in the one way broken that a person has to mend."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from check_site import NAME, Site
from psycopg.conninfo import make_conninfo
from support.account import account
from support.postgres import Server, wait_until
from support.proxy import Proxy
from support.ssh import SshHost

from pgvault.config.address import SshAddress
from pgvault.config.schema import ServerConfig
from pgvault.engine.check import server_state
from pgvault.engine.check.run import probe_servers
from pgvault.engine.check.server_state import probe_server
from pgvault.model.errors import Unreachable
from pgvault.vault.layout import Vault

TUTORIAL = """\
        PostgreSQL: OK
        archive_mode: OK
        wal_level: OK
        archive_command: OK
        continuous archiving: OK
        directories: OK
        retention policy settings: OK (RECOVERY WINDOW OF 7 DAYS)
        backup maximum age: FAILED (interval provided: 1 day, latest backup age: No available backups)
        compression settings: OK (zstd, level 3)
        minimum redundancy requirements: OK (have 0 backups, expected at least 0)
        ssh: OK (PostgreSQL server)
        not in recovery: OK
"""


def tree(path: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in path.rglob("*") if p.is_file()} | {
        f"{p}/": (0, 0) for p in path.rglob("*") if p.is_dir()}


def failures(found: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, finding in found.items() if finding["outcome"] == "failed"]


def test_the_tutorials_twelve_lines(site: Site, archiving: Callable[..., Server],
                                    ssh_hosts: Callable[[str], SshHost]) -> None:
    host = ssh_hosts("asyncssh")
    account().own(host.identity_file)
    archiving(vault='last_backup_maximum_age = "1 DAYS"\nretention_policy = "RECOVERY WINDOW OF 7 days"',
              setting=f'ssh = "{host.user}@{host.host}:{host.port}"\nidentity_file = "{host.identity_file}"\n'
                      f'known_hosts = "{host.known_hosts}"')
    done = site.run("check", NAME, check=3)
    lines = done.text.splitlines(keepends=True)
    assert lines[0] == f"Server {NAME}:\n"
    assert "".join(line for line in lines if line in TUTORIAL) == TUTORIAL, done
    assert f"                fix: pgvault backup {NAME}\n" in lines
    assert done.text.count("FAILED") == 1
    assert not done.stderr


def test_a_sound_server_of_each_major(site: Site, archiving: Callable[..., Server], major: int) -> None:
    archiving(major)
    found = site.check(expect=0)
    assert not failures(found)
    assert {finding["outcome"] for name, finding in found.items()} <= {"ok", "skipped"}, found
    assert {name for name, finding in found.items() if finding["outcome"] == "skipped"} == {
        "replication slot", "receive-wal running", "ssh"}


def test_streamed_wal_needs_no_archive_command(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server()
    site.configure(server)
    with site.receiving(server):
        segment = server.switch_wal()
        wait_until((site.vault.wal / segment[:16] / f"{segment}.zst").exists)
        found = site.check(expect=0)
    assert {finding["outcome"] for finding in found.values()} == {"ok", "skipped"}
    assert found["archive_mode"]["detail"] == found["archive_command"]["detail"] == "not used: WAL is streamed"
    assert found["receive-wal running"]["detail"].startswith("process ")
    assert found["WAL arriving"]["detail"] == f"newest {segment}, 0 behind"
    assert site.check(expect=3)["receive-wal running"]["fix"].startswith(f"pgvault receive-wal {NAME}")


def test_a_receiver_that_does_not_reach_the_server(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server()
    site.configure(server)
    server.sql("select pg_create_physical_replication_slot('pgvault', true)")
    with site.receiver():
        found = site.check(expect=0)["receive-wal running"]
    assert found["outcome"] == "warning"
    assert found["detail"].endswith("not connected to the server")


def test_check_changes_nothing(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    server.sql("select pg_create_physical_replication_slot('pgvault', true)")
    slot = "select restart_lsn, active from pg_replication_slots"
    before, kept = tree(site.home), server.sql(slot)
    lsn = server.current_lsn()
    for _ in range(2):
        site.run("check", NAME)
        site.run("check", NAME, "--nagios")
        site.run("status", NAME)
    assert tree(site.home) == before
    assert server.sql(slot) == kept
    assert server.current_lsn() == lsn


def test_check_makes_no_vault(site: Site, pg: Server) -> None:
    site.configure(pg)
    assert site.check()["directories"]["detail"] == "does not exist yet: the first backup creates it"
    assert not site.home.exists()


def test_neither_way_for_wal_offers_both(site: Site, pg: Server) -> None:
    site.configure(pg)
    found = site.check(expect=3)
    assert failures(found) == ["archive_mode"]
    fix = found["archive_mode"]["fix"]
    assert "ALTER SYSTEM SET archive_mode = on;" in fix
    assert f"pgvault put-wal {NAME} %f < %p';" in fix
    assert f"pgvault receive-wal {NAME}" in fix
    assert found["WAL arriving"] == {"name": "WAL arriving", "outcome": "skipped", "cause": "archive_mode", "fix": "",
                                     "detail": "blocked by: archive_mode"}


def test_the_printed_sql_mends_it(site: Site, own_server: Callable[..., Server]) -> None:
    """What `fix` says is run as it stands, but for the ssh login, which these servers do without."""
    server = own_server()
    site.home.mkdir()
    account().own(site.home)
    site.configure(server)
    for line in site.check(expect=3)["archive_mode"]["fix"].splitlines():
        if line.startswith("ALTER SYSTEM"):
            head, ssh, command = line.partition("'ssh ")
            server.sql(f"{head}'{site.archive_command()}';" if ssh else line)
            assert not ssh or command.endswith(f" pgvault put-wal {NAME} %f < %p';")
    server.restart()
    segment = server.switch_wal()
    wait_until(lambda: server.scalar("select last_archived_wal from pg_stat_archiver") == segment)
    site.check(expect=0)


def test_a_server_that_is_down(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server()
    site.configure(server)
    server.stop()
    found = site.check(expect=3)
    assert failures(found) == ["PostgreSQL"]
    assert "onnection refused" in found["PostgreSQL"]["cause"]
    assert found["PostgreSQL"]["fix"] == "Check that the server runs, and its host and port."
    assert found["PostgreSQL streaming"]["detail"] == "blocked by: PostgreSQL"
    assert found["compression settings"]["outcome"] == "ok"


def test_a_wrong_password_is_told_and_not_shown(site: Site, own_server: Callable[..., Server]) -> None:
    """Rule 31."""
    server = own_server(password="right-secret")
    site.configure(server, setting='password_environment = "MAIN_PASSWORD"')
    done = site.run("check", NAME, env={"MAIN_PASSWORD": "wrong-secret"}, check=3)
    assert "The password is wrong." in done.text
    assert "secret" not in done.text + done.stderr
    found = site.check(env={"MAIN_PASSWORD": "right-secret"})
    assert found["PostgreSQL"]["outcome"] == found["PostgreSQL streaming"]["outcome"] == "ok"


def test_a_password_that_is_not_in_the_environment(site: Site, pg: Server) -> None:
    site.configure(pg, setting='password_environment = "MAIN_PASSWORD"')
    found = site.check(expect=3)
    assert found["PostgreSQL"]["detail"] == "the environment variable MAIN_PASSWORD is not set"


def test_another_cluster_under_the_same_name(site: Site, archiving: Callable[..., Server],
                                             own_server: Callable[..., Server]) -> None:
    """Rule 6: both system identifiers are shown."""
    mine = archiving()
    other = own_server(fresh=True)
    site.configure(other)
    found = site.check(expect=3)["system identifier"]
    assert found["outcome"] == "failed"
    assert str(mine.system_identifier()) in found["detail"]
    assert str(other.system_identifier()) in found["detail"]


def test_streaming_that_leads_to_another_cluster(site: Site, archiving: Callable[..., Server],
                                                 own_server: Callable[..., Server]) -> None:
    mine, other = archiving(), own_server(fresh=True)
    site.configure(mine, setting=f'streaming_conninfo = "host=127.0.0.1 port={other.port} user=postgres"')
    found = site.check(expect=3)
    assert failures(found) == ["PostgreSQL streaming"]


def test_a_slot_that_was_lost(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server(wal_segsize=1, settings={"max_slot_wal_keep_size": "1MB", "max_wal_size": "8MB",
                                                 "min_wal_size": "2MB"})
    site.configure(server)
    server.sql("select pg_create_physical_replication_slot('pgvault', true)")
    for _ in range(4):
        server.switch_wal()
    server.sql("checkpoint")
    found = site.check(expect=3)
    assert failures(found) == ["replication slot"]
    assert "lost" in found["replication slot"]["detail"]
    assert found["receive-wal running"]["cause"] == found["WAL arriving"]["cause"] == "replication slot"
    assert found["replication slot"]["fix"].startswith(f"pgvault receive-wal {NAME}")
    with site.receiving(server):
        assert site.check(expect=0)["replication slot"]["outcome"] == "ok"


def test_an_archiver_that_fails(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"archive_mode": "on", "archive_command": "echo no room; exit 1"})
    site.configure(server)
    server.switch_wal()
    wait_until(lambda: server.scalar("select failed_count from pg_stat_archiver"))
    found = site.check(expect=3)
    assert failures(found) == ["continuous archiving"]
    assert "it never succeeded" in found["continuous archiving"]["detail"]
    assert found["WAL arriving"]["cause"] == "continuous archiving"


def test_an_archive_command_that_succeeds_without_archiving_here(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"archive_mode": "on", "archive_command": "test -f %p"})
    site.configure(server)
    segment = server.switch_wal()
    wait_until(lambda: server.scalar("select last_archived_wal from pg_stat_archiver") == segment)
    found = site.check(expect=3)
    assert failures(found) == ["WAL arriving"]
    assert segment in found["WAL arriving"]["detail"]


def test_files_that_wait_in_incoming_are_on_their_way(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"archive_mode": "on", "archive_command": f"cp %p {site.vault.spool.incoming}/%f"})
    Vault.open_or_create(site.home).server(NAME).prepare()
    account().own(site.home)
    site.configure(server)
    server.switch_wal()
    wait_until(lambda: server.scalar("select archived_count from pg_stat_archiver"))
    found = site.check(expect=0)["WAL arriving"]
    assert found["outcome"] == "warning"
    assert found["fix"] == f"pgvault archive-wal {NAME}"


def test_minimal_rights_are_enough_and_each_that_is_missing_is_named(site: Site, archiving: Callable[..., Server],
                                                                     major: int) -> None:
    """A role with LOGIN alone is given, one after the other, exactly what `check` prints."""
    server = archiving(major)
    server.sql("create role pgvault login")
    site.configure(server, conninfo=f"host=127.0.0.1 port={server.port} user=pgvault dbname=postgres")
    found = site.check(expect=3)
    assert failures(found) == ["replication rights"]
    assert found["PostgreSQL streaming"]["cause"] == "replication rights"
    server.sql(found["replication rights"]["fix"])
    found = site.check(expect=0)
    assert [name for name, finding in found.items() if finding["outcome"] == "warning"] == ["SQL rights"]
    server.sql(found["SQL rights"]["fix"])
    assert site.check(expect=0)["SQL rights"]["outcome"] == "ok"
    site.run("switch-wal", NAME, check=0)
    assert f"data_directory: {server.data}" in site.run("show-server", NAME).text


def test_what_check_calls_enough_is_enough_for_a_backup(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    server.sql("create role pgvault login replication")
    site.configure(server, conninfo=f"host=127.0.0.1 port={server.port} user=pgvault dbname=postgres",
                   vault='last_backup_maximum_age = "1 DAYS"')
    assert failures(site.check(expect=3)) == ["backup maximum age"]
    site.run("backup", NAME, "--immediate-checkpoint", check=0, account=account())  # the archiver's, whose vault it is
    found = site.check(expect=0)
    assert found["backup maximum age"]["detail"].endswith("latest backup age: less than a minute")
    assert found["minimum redundancy requirements"]["detail"].startswith("have 1 backup,")


def test_a_role_that_does_not_exist_is_made_by_what_is_printed(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    site.configure(server, conninfo=f"host=127.0.0.1 port={server.port} user=vault-keeper dbname=postgres")
    head, _, statements = site.check(expect=3)["PostgreSQL"]["fix"].partition("\n")
    assert head == "Check the user, or run as a superuser:"
    server.sql(statements)
    assert site.check(expect=0)["SQL rights"]["outcome"] == "ok"


def test_the_missing_line_of_pg_hba_is_printed(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    hba = server.data / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all postgres 127.0.0.1/32 trust\n")
    server.reload()
    found = site.check(expect=3)
    assert failures(found) == ["PostgreSQL streaming"]
    line = found["PostgreSQL streaming"]["fix"].splitlines()[-1]
    assert line == "host  replication  postgres  127.0.0.1/32  scram-sha-256"
    server.allow(line.replace("scram-sha-256", "trust"))
    server.reload()
    site.check(expect=0)


def test_a_standby(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server()
    server.stop()
    (server.data / "standby.signal").touch()
    account().own(server.data / "standby.signal")
    server.start()
    site.configure(server)
    found = site.check(expect=3)
    assert "not in recovery" in failures(found)
    assert found["PostgreSQL"]["outcome"] == "ok"


def test_a_host_that_does_not_let_us_in(site: Site, pg: Server, ssh_hosts: Callable[[str], SshHost],
                                        open_tmp: Path) -> None:
    host = ssh_hosts("asyncssh")
    site.configure(pg, setting=f'ssh = "{host.user}@{host.host}:{host.port}"\nknown_hosts = "{open_tmp}/none"\n'
                               f'identity_file = "{host.identity_file}"')
    found = site.check(expect=3)
    assert "is not known" in found["ssh"]["detail"]
    assert "known_hosts" in found["ssh"]["fix"] or str(open_tmp) in found["ssh"]["fix"]


def test_a_vault_of_somebody_else(site: Site, pg: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory that the account may not write to")
    site.home.mkdir(mode=0o755)
    site.configure(pg)
    found = site.check(expect=3, account=account())
    assert "directories" in failures(found)
    assert found["directories"]["fix"].startswith(f"chown {account().name} ")
    assert found["backup maximum age"]["cause"] == "directories"


def test_a_directory_that_holds_something_else(site: Site, pg: Server) -> None:
    site.home.mkdir()
    (site.home / "holiday.jpg").touch()
    site.configure(pg)
    found = site.check(expect=3)
    assert found["directories"]["detail"] == f"{site.home} is not empty and is no vault"


def test_by_an_abstract_socket_and_where_the_configured_database_is_not_there(
        site: Site, own_server: Callable[..., Server]) -> None:
    """Everything works, and what asks for something in that database says where it was asked."""
    server = own_server(start=False)
    server.start("-c", f"unix_socket_directories={server.sockets},@pgvault-tests")
    site.configure(server, conninfo=f"host=@pgvault-tests port={server.port} user=postgres dbname=nowhere")
    with site.receiving(server):
        done = site.run("backup", NAME, "--immediate-checkpoint", check=0)
        assert 'database "nowhere" does not exist): using database postgres' in done.stderr
        found = site.check(expect=0)
    warned = {name: finding["detail"] for name, finding in found.items() if finding["outcome"] == "warning"}
    assert warned == {"PostgreSQL": 'queried in database postgres: database "nowhere" does not exist'}
    assert "Correct dbname in conninfo" in found["PostgreSQL"]["fix"]
    assert 'does not exist' in site.run("status", NAME).text


# All servers, and monitoring


@pytest.fixture
def five_at_once() -> Iterator[int]:
    """A port that answers nobody and hangs up on nobody before five wait at it."""
    def serve() -> None:
        with suppress(OSError), ExitStack() as waiting:
            for _ in range(5):
                waiting.enter_context(listener.accept()[0])
            listener.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        with suppress(OSError):  # it is closed already
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_servers_out_of_reach_are_waited_for_together(site: Site, archiving: Callable[..., Server],
                                                      five_at_once: int) -> None:
    """Five servers that do not answer take as long as one."""
    server = archiving()
    gone = "\n".join(f'[servers.gone{i}]\nconninfo = "host=127.0.0.1 port={five_at_once} user=a connect_timeout=20"'
                     for i in range(5))
    site.configure(server, more=gone)
    done = site.run("check", "all", "--format", "json", check=3)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["server"] for report in reports] == [NAME, *(f"gone{i}" for i in range(5))]
    assert [report["outcome"] for report in reports] == ["ok", *["failed"] * 5]
    assert b"timeout" not in done.stdout, "they were waited for one after the other"


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def test_monitoring_gives_up_later() -> None:
    """After ten seconds; each server is asked in three ways at once, and its part of the vault is read behind it."""
    assert server_state.LOOK_SECONDS <= 7


@pytest.mark.parametrize("conninfo", [
    "host=127.0.0.1 port={port} user=a", "host=127.0.0.1 port={port} user=a connect_timeout=60",
    "host=127.0.0.1,localhost,127.0.0.1,127.0.0.1 port={port} user=a connect_timeout=20",
    "host=127.0.0.1 port={port} user=a sslmode=require"])
def test_black_holes_answer_when_the_time_is_over(tmp_path: Path, black_hole: int, conninfo: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Of PostgreSQL and of SSH, several at once."""
    monkeypatch.setattr(server_state, "LOOK_SECONDS", 0.3)
    servers = [ServerConfig(name=f"{NAME}-{number}", conninfo=conninfo.format(port=black_hole),
                            ssh=SshAddress("127.0.0.1", "a", black_hole)) for number in range(3)]
    states = list(probe_servers(servers, tmp_path / "vault"))
    assert [each.server.name for each in states] == [each.name for each in servers]
    for state in states:
        assert isinstance(state.sql, Unreachable)
        assert isinstance(state.streaming, Unreachable)
        assert isinstance(state.ssh, Unreachable)
        assert "No answer came in" in state.sql.detail
        assert "No answer came in" in state.ssh.detail


def test_a_host_whose_ssh_falls_silent(tmp_path: Path, ssh_hosts: Callable[[str], SshHost], black_hole: int,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_state, "LOOK_SECONDS", 1.0)
    host = ssh_hosts("asyncssh")
    proxy = Proxy(host.port)
    proxy.swallow_from(b"SSH-2.0")
    state = probe_server(ServerConfig(name=NAME, conninfo=f"host=127.0.0.1 port={black_hole}",
                                      identity_file=host.identity_file,
                                      ssh=SshAddress(host.host, host.user, proxy.port)), tmp_path / "vault")
    assert isinstance(state.ssh, Unreachable)
    assert proxy.swallowed.is_set()
    proxy.close()


def test_a_name_server_that_answers_nobody_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program waits at its end for each thread that is no daemon, as asyncio's are."""
    asked: list[threading.Thread] = []
    answered = threading.Event()

    def ask(*_: object, **__: object) -> list[object]:
        asked.append(threading.current_thread())
        answered.wait(30)
        raise OSError

    monkeypatch.setattr(server_state, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", ask)
    server = ServerConfig(name=NAME, conninfo="host=db.invalid user=a", ssh=SshAddress("db.invalid", "a", 22))
    for look_there in (server_state.ask, server_state.ask_walsender, server_state.log_in):
        with pytest.raises(Unreachable):
            look_there(server)
    answered.set()
    assert len(asked) == 3
    assert all(thread.daemon for thread in asked)


@pytest.mark.parametrize("mark", [b"pg_control_system", b"pg_stat_archiver", b"IDENTIFY_SYSTEM"])
def test_a_server_that_falls_silent_while_it_is_checked(tmp_path: Path, pg: Server, mark: bytes,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_state, "LOOK_SECONDS", 3.0)  # the rest of the look has to come about in it
    proxy = Proxy(pg.port)
    proxy.swallow_from(mark)
    state = probe_server(ServerConfig(name=NAME, conninfo=make_conninfo(pg.conninfo(), port=proxy.port)),
                         tmp_path / "vault")
    silent = state.streaming if mark == b"IDENTIFY_SYSTEM" else state.sql
    assert isinstance(silent, Unreachable)
    assert silent.message == f"{NAME} did not answer in time"
    proxy.close()


def test_monitoring_gets_one_line_and_its_own_codes(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    done = site.run("check", NAME, "--nagios", check=0)
    assert done.text.startswith(f"PGVAULT OK - {NAME}: ")
    server.sql("alter system set max_wal_senders = 2")
    server.restart()
    with server.connect(replication="true"):
        done = site.run("check", "all", "--nagios", check=1)
    assert done.text.startswith(f"PGVAULT WARNING - {NAME}: max_wal_senders (")
    server.stop()
    done = site.run("check", NAME, "--nagios", check=2)
    assert done.text == f"PGVAULT CRITICAL - {NAME}: PostgreSQL (could not connect to {NAME})\n"
    assert not done.stderr
    done = site.run("check", "nobody", "--nagios", check=3)
    assert done.text.startswith("PGVAULT UNKNOWN - ")
    assert done.text.count("\n") == 1


def test_a_server_that_is_not_configured(site: Site) -> None:
    site.configure(conninfo="host=127.0.0.1")
    assert site.run("check", "nobody").returncode == 4


def test_json_is_the_documented_document(site: Site, pg: Server) -> None:
    site.configure(pg)
    document = site.run("check", NAME, "--format", "json", check=3).json()
    assert list(document) == ["schema", "server", "outcome", "checks"]
    assert document["outcome"] == "failed"
    assert {tuple(finding) for finding in document["checks"]} == {("name", "outcome", "detail", "cause", "fix")}
    assert {finding["outcome"] for finding in document["checks"]} <= {"ok", "warning", "failed", "skipped"}
