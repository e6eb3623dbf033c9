"""A server that falls silent: the backup ends by itself, and at once when it is cancelled, wherever it waits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from psycopg.conninfo import make_conninfo
from station import NAME, WALSENDERS, Station, assert_nothing_runs, fill, finish
from support.postgres import Server, wait_until
from support.proxy import Proxy

from pgvault.model.backup import BackupStatus

IMPATIENT = [{"set": f"pgvault.engine.backup.silence:{name}", "to": seconds}
             for name, seconds in {"ASK_SECONDS": 0.5, "SILENCE_SECONDS": 2.0, "_ANSWER_SECONDS": 5.0}.items()]
PATIENT = [{"set": f"pgvault.io.postgres:{name}", "to": 3600.0} for name in ("LOGIN_SECONDS", "ANSWER_SECONDS")]
"""So that only the request to cancel can end a wait."""
SLOWLY = ("--bwlimit", "256kB")
MARKS = {"by SQL": b"pg_control_system", "as a walsender": b"IDENTIFY_SYSTEM",
         "for a slot": b"CREATE_REPLICATION_SLOT", "for a base backup": b"BASE_BACKUP"}


@pytest.fixture
def network(small: Server) -> Iterator[Proxy]:
    proxy = Proxy(small.port)
    yield proxy
    proxy.close()
    small.sql(f"select pg_terminate_backend(pid) from ({WALSENDERS}) as ours")


@pytest.fixture
def here(small: Server, station: Callable[..., Station], network: Proxy) -> Station:
    return station(small, conninfo=make_conninfo(small.conninfo(), port=network.port))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_silence_in_mid_copy_ends_the_backup(small: Server, here: Station, network: Proxy) -> None:
    process = here.drive(IMPATIENT, "backup", NAME, *SLOWLY)
    wait_until(lambda: small.sql("select 1 from pg_stat_progress_basebackup where backup_streamed > 0"))
    network.swallow_everything()
    _, err = finish(process, 7)
    assert "has been silent for" in err
    assert here.newest().status is BackupStatus.FAILED
    here.conninfo = small.conninfo()
    here.configure()
    assert here.take().status is BackupStatus.DONE


def test_a_walsender_that_hangs_ends_the_backup(small: Server, here: Station) -> None:
    """The server itself answers, and says nothing that speaks for its work on the backup."""
    process = here.drive(IMPATIENT, "backup", NAME, *SLOWLY)
    wait_until(lambda: small.sql("select 1 from pg_stat_progress_basebackup where backup_streamed > 0"))
    with stopped(small.scalar("select pid from pg_stat_progress_basebackup")):
        _, err = finish(process, 7)
    assert "no sign shows that the server works on the backup" in err


def test_a_server_that_hangs_takes_no_login(small: Server, here: Station) -> None:
    with stopped(small.pid):
        process = here.drive([{"set": "pgvault.io.postgres:LOGIN_SECONDS", "to": 2.0}], "backup", NAME)
        _, err = finish(process, 7)
    assert f"could not connect to {NAME}" in err
    assert "detail: No answer came in" in err


def test_the_wait_for_a_spread_checkpoint_is_no_silence(small: Server, here: Station) -> None:
    fill(small, "much_to_write", 8)
    process = here.drive(IMPATIENT, "backup", NAME, "--no-immediate-checkpoint")
    wait_until(lambda: small.sql("select 1 from pg_stat_progress_basebackup where phase like '%checkpoint%'"))
    time.sleep(4)
    assert process.poll() is None
    small.sql("checkpoint")
    finish(process, 0)


@pytest.mark.parametrize("where", MARKS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cancelled_while_an_answer_never_comes(here: Station, network: Proxy, where: str,
                                               number: signal.Signals) -> None:
    network.swallow_from(MARKS[where])
    process = here.drive(PATIENT, "backup", NAME)
    wait_until(network.swallowed.is_set)
    network.swallow_everything()
    time.sleep(0.5)
    process.send_signal(number)
    _, err = finish(process, 130)
    assert "cancelled" in err
    assert all(each.status is BackupStatus.FAILED for each in here.backups())


def test_cancelled_in_a_copy_that_is_silent(small: Server, here: Station, network: Proxy) -> None:
    """The request to cancel goes the same dead path; `job cancel` waits for the end."""
    process = here.start_slow()
    network.swallow_everything()
    here.run("job", "cancel", "latest")
    finish(process, 130)
    assert here.newest().status is BackupStatus.FAILED
    network.close()
    small.sql(f"select pg_terminate_backend(pid) from ({WALSENDERS}) as ours")
    assert_nothing_runs(small)


def test_cancelled_while_it_logs_in(here: Station, network: Proxy) -> None:
    network.swallow_everything()
    process = here.start("backup", NAME)
    wait_until(network.swallowed.is_set)
    process.send_signal(signal.SIGTERM)
    finish(process, 130)


def test_names_that_never_come_hold_nothing_up(here: Station, network: Proxy) -> None:
    network.swallow_from(b"pg_namespace")
    process = here.drive([{"set": "pgvault.engine.backup.names:GRACE_SECONDS", "to": 1.0}], "backup", NAME)
    _, err = finish(process, 0)
    assert network.swallowed.is_set()
    assert "names" in err
