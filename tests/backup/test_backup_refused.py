"""What a backup refuses, whom it waits for, how it is stopped, and what it says of a damaged source."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from station import NAME, Station, assert_nothing_runs, finish, interrupt, relation
from support.account import account
from support.postgres import Server, wait_until

from pgvault.engine.backup import run as running
from pgvault.jobs.registry import jobs_directory
from pgvault.model.backup import BackupStatus
from pgvault.model.errors import Locked
from pgvault.store.leases import Concern
from pgvault.vault import wal_index
from pgvault.vault.wal_facts import unread


def running_job(here: Station) -> str:
    """The newest, which is the one just started."""
    return sorted(path.name for path in jobs_directory(here.home).iterdir())[-1]


def test_another_cluster_of_the_same_name(
    small: Server, own_server: Callable[..., Server], station: Callable[..., Station],
) -> None:  # fmt: skip
    """Rule 6, case 20: refused with both system identifiers, and nothing of the vault changes."""
    here = station(small)
    here.backup()
    before = {name: (here.vault.home / name).stat().st_mtime_ns for name in here.stored()}
    stranger = own_server(18, wal_segsize=1, fresh=True)
    here.conninfo = stranger.conninfo()
    here.configure()
    refused = here.backup(check=5)
    assert str(small.system_identifier()) in refused.stderr
    assert str(stranger.system_identifier()) in refused.stderr
    assert stranger.system_identifier() != small.system_identifier()
    after = {name: (here.vault.home / name).stat().st_mtime_ns for name in here.stored()}
    assert {n: t for n, t in before.items() if "lock" not in n} == {n: t for n, t in after.items() if "lock" not in n}
    here.conninfo = small.conninfo()
    here.configure()
    here.backup()


def test_the_session_that_copies_has_to_be_of_the_same_cluster(
    small: Server, own_server: Callable[..., Server], station: Callable[..., Station],
) -> None:  # fmt: skip
    """Rule 6: SQL and replication may go to different places; what decides is where the copy comes from."""
    here = station(small)
    stranger = own_server(18, wal_segsize=1, fresh=True)
    here.configure(streaming_conninfo=stranger.conninfo())
    refused = here.backup(check=5)
    assert str(stranger.system_identifier()) in refused.stderr
    assert here.newest().status is BackupStatus.FAILED


def test_a_tablespace_made_while_the_backup_waited_is_in_it(
    own_small: Callable[..., Server], station: Callable[..., Station],
) -> None:  # fmt: skip
    """Its facts are of the moment of the copy, not of the moment when somebody asked for it."""
    server = own_small()
    here = station(server)
    here.take()
    with here.vault.leases.hold(Concern.BACKUP, job="another"):
        waiting = here.start("backup", NAME, "--wait-lock")
        jobs = jobs_directory(here.home)
        wait_until(lambda: any("waiting" in journal.read_text() for journal in jobs.glob("*/events.jsonl")))
        location = server.new_tablespace("late")
    finish(waiting, 0)
    assert [(space.name, space.location) for space in here.newest().tablespaces] == [("late", str(location))]


def test_a_second_backup_at_the_same_time(small: Server, station: Callable[..., Station]) -> None:
    """Case 17: refused at once with the holder's job; --wait-lock waits, says so, and goes on when it is free."""
    here = station(small)
    first = here.start_slow()
    jobs, holder = jobs_directory(here.home), running_job(here)
    refused = here.backup(check=6)
    assert f"Held by job {holder}, process {first.pid} " in refused.stderr
    assert len(here.backups()) == 1
    waiting = here.start("backup", NAME, "--wait-lock")
    impatient = here.start("backup", NAME, "--wait-lock", "--name", "impatient")
    wait_until(lambda: sum("waiting" in journal.read_text() for journal in jobs.glob("*/events.jsonl")) == 2)
    interrupt(impatient)
    assert first.poll() is None
    here.run("job", "cancel", holder)
    finish(first, 130)
    _, err = finish(waiting, 0)
    assert "waiting: another job holds the backup lock" in err
    assert holder in err
    assert [(b.status, b.name) for b in here.backups()] == [(BackupStatus.FAILED, ""), (BackupStatus.DONE, "")]
    assert_nothing_runs(small)


def test_while_packs_are_rewritten(small: Server, station: Callable[..., Station]) -> None:
    """Nothing blocks silently: a backup that waits for the end of a collection says so, and can be stopped."""
    here = station(small)
    here.take()
    with here.vault.leases.hold(Concern.PACKS, job="the-collection"):
        process = here.start("backup", NAME)
        jobs = jobs_directory(here.home)
        wait_until(lambda: any("the-collection" in journal.read_text() for journal in jobs.glob("*/events.jsonl")))
        interrupt(process)
    assert len(here.backups()) == 1
    assert here.take().status is BackupStatus.DONE


def test_packs_are_not_rewritten_while_a_backup_relies_on_them(
    small: Server, station: Callable[..., Station], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here, copy, refused = station(small), running._copy_with_retries, []

    def watched(*arguments: Any) -> Any:
        with pytest.raises(Locked) as refusal, here.vault.leases.hold(Concern.PACKS):
            pass
        refused.append(refusal.value.detail)
        return copy(*arguments)

    monkeypatch.setattr(running, "_copy_with_retries", watched)
    here.take()
    assert refused == ["Held by a reader, such as a restore, or by one that has not signed yet."]
    with here.vault.leases.hold(Concern.PACKS):
        pass


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "job cancel"])
def test_stopped_on_request(how: str, small: Server, station: Callable[..., Station]) -> None:
    """Case 19: exit 130, FAILED with the reason, nothing left running on the server or lying in the vault."""
    here = station(small)
    older = here.take()
    digest = here.contents(older).digest()
    process = here.start_slow()
    if how == "job cancel":
        here.run("job", "cancel", running_job(here))
        finish(process, 130)
    else:
        interrupt(process, getattr(signal, how))
    failed = here.newest()
    assert (failed.status, failed.error) == (BackupStatus.FAILED, "the backup was cancelled")
    assert not [name for name in here.stored() if ".tmp-" in name]
    assert not (here.vault.backups / failed.id / "manifest.sqlite").exists()
    assert_nothing_runs(small)
    assert here.contents(older).digest() == digest
    assert here.take().status is BackupStatus.DONE


def damage(path: Path, page: int) -> None:
    """What a bad disk does: the end of a page is other than it was."""
    with path.open("r+b") as file:
        file.seek(page * 8192 + 8000)
        was = file.read(100)
        file.seek(page * 8192 + 8000)
        file.write(bytes(byte ^ 0xFF for byte in was))


@pytest.mark.parametrize("major", [13, 17, 18])
def test_pages_that_fail_their_checksum(
    major: int, own_small: Callable[..., Server], station: Callable[..., Station],
) -> None:  # fmt: skip
    """Rule 7, case 23: exit 11, the files named, the backup kept and marked, the older good one preferred."""
    server = own_small(major)
    server.new_tablespace("aside")
    os.mkfifo(server.data / "a pipe")  # of which the server warns too
    server.sql("create table hurt as select generate_series(1, 20000) n")
    server.sql("create table sick tablespace aside as select generate_series(1, 20000) n")
    server.sql("checkpoint")
    here = station(server)
    good = here.take()
    paths = sorted(relation(server, table) for table in ("hurt", "sick"))
    server.stop()
    for path in paths:
        damage(server.data / path, 3)
    account().own(server.data)
    server.start()
    for _ in range(2):
        told = here.backup(check=11)
        assert all(path in told.stderr for path in paths), told.stderr
        marked = here.newest()
        assert marked.status is BackupStatus.DONE
        with wal_index.reading(here.vault) as index:
            assert unread(index) == 0, "its WAL was judged"
        assert sorted(marked.corrupt_pages) == paths
        contents = here.contents(marked)
        assert all(contents.read(path) == (server.data / path).read_bytes() for path in paths)
    assert [b.corrupt_pages != () for b in here.backups()] == [False, True, True]
    host = '\n[hosts.here]\nlocal = true\n'
    here.config.write_text(here.config.read_text() + host)
    plan = here.run("restore", NAME, "auto", here.directory / "restored", "--host", "here", "--target-end",
                    "--dry-run", "--format", "json", "--tablespace", f"aside={here.directory / 'aside'}", check=None)
    assert plan.json()["backup"]["id"] == good.id if plan.returncode == 0 else plan.returncode == 5, str(plan)


def test_what_is_no_damage(own_small: Callable[..., Server], station: Callable[..., Station]) -> None:
    """A server warns of sockets and pipes in its data directory too: no reason to distrust the backup."""
    server = own_small(18)
    os.mkfifo(server.data / "a pipe")
    here = station(server)
    backup = here.take()
    assert (backup.status, backup.corrupt_pages) == (BackupStatus.DONE, ())
    assert "skipping special file" in server.log_text()


def test_nobody_is_left_without_a_next_step(small: Server, station: Callable[..., Station]) -> None:
    """R34, also where what was met knows none."""
    here = station(small)
    here.take()
    (here.home / "vault.toml").write_text("format = ")
    told = here.backup(check=1).stderr
    assert f"could not read {here.home}/vault.toml" in told
    assert "hint: See what it usually means and what to do then: pgvault explain failed" in told


def test_a_role_that_may_not(small: Server, station: Callable[..., Station]) -> None:
    """A lacking right is told at once: trying again cannot help."""
    small.sql("create role nobody_special login")
    here = station(small, conninfo=small.conninfo(user="nobody_special"), basebackup_retry_times=5,
                   basebackup_retry_sleep=60)
    told = here.backup(check=7)
    assert "ALTER ROLE nobody_special REPLICATION" in told.stderr
    small.sql("alter role nobody_special replication")
    assert here.take().status is BackupStatus.DONE
    small.sql("drop role nobody_special")


def test_all_servers(small: Server, station: Callable[..., Station]) -> None:
    """One that cannot be reached does not keep the others from being backed up."""
    here = station(small)
    text = here.config.read_text()
    here.config.write_text(text.replace(
        f"[servers.{NAME}]", '[servers.gone]\nconninfo = "host=127.0.0.1 port=1 user=x"\nbasebackup_retry_times = 0\n'
        f"[servers.{NAME}]"))
    told = here.run("backup", "all", check=7)
    assert "could not connect to gone" in told.stderr
    assert here.newest().status is BackupStatus.DONE
