"""The ground under the other tests: servers of each major start and can be broken, SSH hosts run commands."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import psycopg
import pytest
from psycopg import pq
from support.account import account
from support.cli import pgvault, pgvault_shell
from support.installation import installation, reachable
from support.postgres import Server, wait_until
from support.ssh import SshHost

from pgvault import __version__ as pgvault_version


def test_each_major_starts_and_answers(every_pg: Server, major: int) -> None:
    assert int(every_pg.scalar("show server_version_num")) // 10000 == major
    assert every_pg.scalar("show data_checksums") == "on"
    assert every_pg.scalar("show wal_level") == "replica"
    with every_pg.connect(socket=True) as connection:
        assert connection.execute("select current_user").fetchone() == ("postgres",)


def test_each_major_lets_a_base_backup_start(every_pg: Server, major: int) -> None:
    connection = pq.PGconn.connect(every_pg.conninfo(replication="true").encode())
    try:
        options = "FAST NOWAIT MANIFEST 'no'" if major < 15 else "(CHECKPOINT 'fast', WAIT false, MANIFEST 'no')"
        connection.send_query(f"BASE_BACKUP {options}".encode())
        start = connection.get_result()
        assert start is not None
        assert start.status == pq.ExecStatus.TUPLES_OK, start.error_message
        assert start.ntuples == 1
    finally:
        connection.finish()


def test_each_major_survives_being_killed(own_server: Callable[..., Server], major: int) -> None:
    server = own_server(major)
    server.sql("create table kept as select 7 as seven")
    server.crash()
    assert not server.running
    assert (server.data / "postmaster.pid").exists()
    server.start()
    assert server.scalar("select seven from kept") == 7
    assert "database system was not properly shut down" in server.log_text()


def test_a_switched_segment_can_be_read(pg18: Server) -> None:
    lsn = pg18.current_lsn()
    segment = pg18.switch_wal()
    assert (pg18.wal / segment).exists()
    assert "SWITCH" in pg18.waldump("--start", lsn, segment)
    again = pg18.switch_wal()
    assert again > segment
    assert pg18.controldata()["Database system identifier"] == str(pg18.system_identifier())


def test_a_server_can_have_its_own_shape(own_server: Callable[..., Server]) -> None:
    server = own_server(18, wal_segsize=1, checksums=False, password="s3 cret'", settings={"work_mem": "7MB"})
    assert server.sql("select current_setting('wal_segment_size'), current_setting('work_mem')") == [("1MB", "7MB")]
    assert server.scalar("show data_checksums") == "off"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(password="wrong")
    server.configure({"work_mem": "8MB"})
    server.reload()
    assert server.scalar("show work_mem") == "8MB"
    location = server.new_tablespace("apart")
    server.sql("create table away (a int) tablespace apart")
    assert list(location.iterdir())


def test_copies_share_an_identity_and_fresh_servers_do_not(own_server: Callable[..., Server]) -> None:
    first, second, other = own_server(), own_server(), own_server(fresh=True)
    assert first.system_identifier() == second.system_identifier() != other.system_identifier()
    assert len({first.port, second.port, other.port}) == 3


def test_a_data_directory_of_someone_else_can_be_adopted(
    own_server: Callable[..., Server], adopt_server: Callable[[Path, int], Server], open_tmp: Path
) -> None:
    origin = own_server(18, start=False)
    data = account().own(Path(shutil.copytree(origin.data, open_tmp / "restored")))
    data.chmod(0o700)
    before = (data / "postgresql.conf").read_bytes()
    server = adopt_server(data, 18).start()
    assert server.scalar("show data_directory") == str(data)
    assert (data / "postgresql.conf").read_bytes() == before


def test_a_server_that_cannot_start_says_why(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"work_mem": "nonsense"}, start=False)
    with pytest.raises(AssertionError, match="work_mem"):
        server.start()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
def test_programs_in_a_closed_checkout_are_copied(tmp_path: Path) -> None:
    """pytest's own directory is closed to the servers' account, as a checkout in somebody's home is."""
    chosen = installation()
    home = chosen.bin.parents[1] if chosen.source.startswith("wheel") else pytest.skip("needs the wheel")
    shutil.copytree(chosen.bin.parent, tmp_path / home.name / "pginstall")
    shutil.copytree(home.with_name(f"{home.name}.libs"), tmp_path / f"{home.name}.libs")
    trees = (tmp_path / home.name / "pginstall", tmp_path / f"{home.name}.libs")
    programs = reachable(trees[0] / "bin", trees)
    assert not programs.is_relative_to(tmp_path)
    assert chosen.version in account().run([programs / "psql", "--version"])


def test_an_ssh_host_runs_a_command(ssh_host: SshHost) -> None:
    async def story() -> None:
        async with asyncssh.connect(
            ssh_host.host, ssh_host.port, username=ssh_host.user, client_keys=[str(ssh_host.identity_file)],
            known_hosts=str(ssh_host.known_hosts), config=None,
        ) as connection:  # fmt: skip
            done = await connection.run("id -un; cat >&2; exit 3", input="talk")
            assert (done.stdout, done.stderr, done.exit_status) == (account().name + "\n", "talk", 3)
            killed = await connection.run("kill -TERM $$")
            assert killed.exit_signal is not None
            assert killed.exit_signal[0] == "TERM"
            bulk = os.urandom(3_000_000)
            echo = await connection.run("cat", input=bulk, encoding=None)
            assert echo.stdout == bulk
            async with connection.start_sftp_client() as sftp:
                assert await sftp.exists("/tmp")

    asyncio.run(story())


def test_an_ssh_host_turns_away_strangers(ssh_host: SshHost) -> None:
    async def story(user: str, key: asyncssh.SSHKey | str) -> None:
        async with asyncssh.connect(
            ssh_host.host, ssh_host.port, username=user, client_keys=[key], known_hosts=str(ssh_host.known_hosts),
            config=None, agent_path=None,
        ):  # fmt: skip
            pass

    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(story(ssh_host.user, asyncssh.generate_private_key("ssh-ed25519")))
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(story("somebody", str(ssh_host.identity_file)))


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")
def test_openssh_logs_in_with_the_host_s_configuration(ssh_host: SshHost) -> None:
    argv = ["ssh", "-F", ssh_host.config_file, ssh_host.alias, "echo $HOME"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/")


def test_postgres_may_use_the_open_directory(open_tmp: Path) -> None:
    account().run(["touch", open_tmp / "mine"])
    assert (open_tmp / "mine").stat().st_uid == account().uid


def test_a_small_file_system_fills_up(tmpfs: Callable[[int], Path]) -> None:
    place = tmpfs(1)
    with pytest.raises(OSError, match="No space left") as full:
        (place / "big").write_bytes(bytes(2 << 20))
    assert full.value.errno == errno.ENOSPC


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["mine", "the servers'"])
def test_the_command_line_runs_as_a_process(whose: str) -> None:
    done = pgvault("--version", account=account() if whose != "mine" else None, check=0)
    assert done.text.split() == ["pgvault", pgvault_version]


def test_postgresql_can_run_the_command_line(own_server: Callable[..., Server]) -> None:
    """An archive_command is run by the servers' account, by a shell, in the data directory."""
    said = pgvault_shell("--version", account=account()) + " > %p.version"
    server = own_server(settings={"archive_mode": "on", "archive_command": said})
    segment = server.switch_wal()
    wait_until(lambda: server.scalar("select last_archived_wal from pg_stat_archiver") == segment)
    assert (server.wal / f"{segment}.version").read_text().split() == ["pgvault", pgvault_version]
