"""The connection to the server: cut, ended, refused, and secret."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from proxy import Proxy
from psycopg.conninfo import make_conninfo
from station import COPYING, NAME, Station, assert_nothing_runs, finish, relation
from support.installation import installation
from support.postgres import Server, wait_until

from pgvault.model.backup import BackupStatus

SECRET = "s3cret-pass'w ord"


@pytest.fixture
def network(small: Server) -> Iterator[Callable[[int], Proxy]]:
    """`network(n)` leads to the server, and is cut in the middle of the first n copies."""
    made: list[Proxy] = []

    def make(cuts: int) -> Proxy:
        made.append(Proxy(small.port, cuts=cuts, after=4 << 20))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_cut_in_the_middle(small: Server, station: Callable[..., Station],
                           network: Callable[[int], Proxy]) -> None:  # fmt: skip
    """Rule 1: exit 7 and FAILED; no try is made that was not asked for."""
    here = station(small)
    older = here.take()
    digest = here.contents(older).digest()
    proxy = network(99)
    here.conninfo = make_conninfo(small.conninfo(), port=proxy.port)
    here.configure()
    told = here.backup(check=7)
    assert "the connection to main was lost" in told.stderr
    assert proxy.cut == 1
    assert here.newest().status is BackupStatus.FAILED
    assert "the connection to main was lost" in here.newest().error
    assert_nothing_runs(small)
    assert here.contents(older).digest() == digest


def test_tried_again_as_configured(small: Server, station: Callable[..., Station],
                                   network: Callable[[int], Proxy]) -> None:  # fmt: skip
    """Rule 8: each try begins anew, in the same backup, on what the one before it stored."""
    proxy = network(2)
    here = station(small, conninfo=make_conninfo(small.conninfo(), port=proxy.port), basebackup_retry_times=2,
                   basebackup_retry_sleep=0)
    told = here.backup()
    assert proxy.cut == 2
    assert told.stderr.count("retrying in 0 s") == 2
    assert [b.status for b in here.backups()] == [BackupStatus.DONE]
    contents = here.contents(here.newest())
    assert {e.path: len(content) for e, content in contents.files() if e.path != "backup_manifest"} == \
        {path: size for path, (size, _) in contents.listed().items()}
    exhausted = network(2)
    here.conninfo = make_conninfo(small.conninfo(), port=exhausted.port)
    here.configure(basebackup_retry_times=1)
    assert here.backup(check=7).stderr.count("retrying") == 1
    assert exhausted.cut == 2


@pytest.mark.parametrize("major", [13, 18])
def test_the_session_dies(major: int, own_small: Callable[..., Server], station: Callable[..., Station]) -> None:
    """Rule 1: a copy whose session ends is no backup; it is tried again as configured, then FAILED with the reason."""
    server = own_small(major)
    here = station(server, basebackup_retry_times=1, basebackup_retry_sleep=0)
    older = here.take()
    digest = here.contents(older).digest()
    process = here.start_slow()
    first = server.scalar("select pid from pg_stat_progress_basebackup")
    server.sql("select pg_terminate_backend(%s)", (first,))
    wait_until(lambda: server.sql(f"{COPYING} and pid <> %s", (first,)))
    server.sql("select pg_terminate_backend(pid) from pg_stat_progress_basebackup")
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 7), err
    assert err.count("retrying in 0 s, 1 more try") == 1, err
    assert here.newest().status is BackupStatus.FAILED
    assert "connection" in here.newest().error
    assert here.contents(older).digest() == digest
    assert here.take().status is BackupStatus.DONE


@pytest.mark.parametrize("major", [13, 18])
@pytest.mark.parametrize(("ending", "said", "cause"), [
    ("select pg_terminate_backend(pid)", "terminating connection", "The session was terminated on the server"),
    ("select pg_cancel_backend(pid)", "canceling statement", "The backup was cancelled on the server."),
])
def test_a_copy_that_the_server_ended_is_never_called_done(
    major: int, ending: str, said: str, cause: str, own_small: Callable[..., Server],
    station: Callable[..., Station],
) -> None:  # fmt: skip
    """R34: what failed, on which server, the cause and the next step; the protocol ends such a copy as a whole one."""
    server = own_small(major)
    here = station(server)
    process = here.start_slow()
    server.sql(f"{ending} from pg_stat_progress_basebackup")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Copying files." in err
    assert "Copy done." not in err
    assert f"{NAME} could not make a base backup: {said}" in err
    assert f"detail: {cause}" in err
    assert "hint: Check the server's log for the reason" in err


@pytest.mark.parametrize("major", [13, 18])
def test_a_file_that_the_server_may_not_read(
    major: int, own_small: Callable[..., Server], station: Callable[..., Station],
) -> None:  # fmt: skip
    server = own_small(major)
    server.sql("create table locked_up as select 1")
    server.sql("checkpoint")
    path = relation(server, "locked_up")
    (server.data / path).chmod(0)
    here = station(server)
    told = here.backup(check=5).stderr
    assert "Copy done." not in told
    assert path in told
    assert "detail: PostgreSQL may not read the named file, or the role lacks a privilege." in told
    assert f"pgvault check {NAME}" in told
    shown = here.run("job", "show", "latest", "--format", "json").json()
    assert (shown["error"]["code"], shown["job"]["verdict"]) == ("refused", shown["error"]["message"])


def test_the_server_stops(own_small: Callable[..., Server], station: Callable[..., Station]) -> None:
    server = own_small(18)
    here = station(server)
    process = here.start_slow()
    server.stop("immediate")
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 7), err
    assert here.newest().status is BackupStatus.FAILED
    assert here.backup(check=7).stderr.count("Nothing listens there")
    server.start()
    assert here.take().status is BackupStatus.DONE


def test_ended_while_a_slot_is_all_it_lacks(own_server: Callable[..., Server],
                                            station: Callable[..., Station]) -> None:  # fmt: skip
    """A server with one WAL sender: the copy gets it, and the WAL comes by the archive."""
    server = own_server(18, wal_segsize=1, start=False)
    here = station(server)
    incoming = here.vault.spool.incoming
    server.configure({"max_wal_senders": 1, "archive_mode": "on", "archive_command": f"cp %p {incoming}/%f"})
    server.start()
    here.vault.prepare()
    (here.home / "vault.toml").write_text('format = 1\nid = "0011223344556677"\n')
    for each in (here.directory, here.home, here.vault.home, incoming):
        each.chmod(0o777)
    told = here.backup()
    assert "could not create a temporary replication slot" in told.stderr
    assert here.newest().status is BackupStatus.DONE


def processes() -> dict[str, bytes]:
    found = {}
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[str(each)] = each.read_bytes()
        except OSError:
            continue
    return found


def test_the_password_is_seen_nowhere(own_server: Callable[..., Server], station: Callable[..., Station],
                                      open_tmp: Path) -> None:  # fmt: skip
    """Case 45, rule 31: not on the screen, in the log, in a journal, in the vault or in the list of processes."""
    server = own_server(installation(18), password=SECRET, wal_segsize=1)
    without = " ".join(f"{name}={value}" for name, value in (
        ("host", "127.0.0.1"), ("port", server.port), ("user", "postgres"), ("dbname", "postgres")))
    passfile = open_tmp / "passfile"
    passfile.write_text(f"127.0.0.1:*:*:postgres:{SECRET}\n")
    passfile.chmod(0o600)
    by_variable = station(server, conninfo=without, password_environment="MAIN_PASSWORD")
    by_file = station(server, conninfo=without)
    talk = []
    for here, env in ((by_variable, {"MAIN_PASSWORD": SECRET}), (by_file, {"PGPASSFILE": str(passfile)})):
        process = here.start("--log-level", "debug", "backup", NAME, "--bwlimit", "16MB", env=env)
        wait_until(lambda process=process: process.poll() is not None or server.sql(COPYING))
        assert not [path for path, line in processes().items() if SECRET.encode() in line and path != "/proc/self"]
        talk += finish(process, 0)
        assert here.newest().status is BackupStatus.DONE
        talk += [here.backup("--format", "json", env=env).stderr]
    wrong = by_variable.backup(check=7, env={"MAIN_PASSWORD": f"{SECRET}-not"})
    assert "The password is wrong." in wrong.stderr
    none = by_file.backup(check=7)
    assert "The server requires a password, but none is configured." in none.stderr
    unset = by_variable.backup(check=2)
    assert "MAIN_PASSWORD is not set" in unset.stderr
    talk += [wrong.stderr, none.stderr, unset.stderr]
    assert not [text for text in talk if SECRET in text]
    for here in (by_variable, by_file):
        written = [path for path in here.directory.rglob("*") if path.is_file()]
        assert here.log in written
        assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    assert os.environ.get("MAIN_PASSWORD") is None
