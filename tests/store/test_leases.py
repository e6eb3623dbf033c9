"""Leases: whoever is refused learns who holds it, and the dead hold nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cli import environment

from pgvault.model.errors import Locked
from pgvault.store.leases import Concern
from pgvault.store.local_leases import LocalLeases

HOLD = """
import sys
from pathlib import Path
from pgvault.store.leases import Concern
from pgvault.store.local_leases import LocalLeases
with LocalLeases(Path(sys.argv[1])).hold(Concern(sys.argv[2]), job=sys.argv[3], shared=sys.argv[4] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a process that holds a lock until its standard input ends."""
    processes: list[subprocess.Popen[bytes]] = []

    def hold(concern: Concern, job: str = "20261122T200512Z-01", *, shared: bool = False) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", HOLD, str(tmp_path), concern.value, job, "shared" if shared else ""]
        process = subprocess.Popen(argv, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in processes:
        process.kill()
        with process:
            pass


def refusal(directory: Path, concern: Concern, **options: bool) -> str:
    with pytest.raises(Locked) as caught, LocalLeases(directory).hold(concern, **options):
        pass
    assert caught.value.exit_code == 6
    return caught.value.detail


def test_the_second_is_refused_and_told_by_whom(tmp_path: Path, holder) -> None:
    process = holder(Concern.BACKUP)
    detail = refusal(tmp_path, Concern.BACKUP)
    by = f"Held by job 20261122T200512Z-01, process {process.pid} on {os.uname().nodename} since 20"
    assert detail.startswith(by)
    assert detail.endswith("Z.")
    with LocalLeases(tmp_path).hold(Concern.RECEIVE):  # another concern is free
        pass


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path, holder) -> None:
    process = holder(Concern.BACKUP)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with LocalLeases(tmp_path).hold(Concern.BACKUP, job="mine"):
        assert "job mine" in refusal(tmp_path, Concern.BACKUP)


def test_readers_share_and_keep_a_writer_out(tmp_path: Path, holder) -> None:
    holder(Concern.PACKS, shared=True)
    with LocalLeases(tmp_path).hold(Concern.PACKS, shared=True):
        pass
    refusal(tmp_path, Concern.PACKS)


def test_a_reader_is_not_taken_for_the_writer_before_it(tmp_path: Path, holder) -> None:
    """Neither for one that is done, nor for one that died."""
    with LocalLeases(tmp_path).hold(Concern.PACKS, job="done"):
        pass
    reader = holder(Concern.PACKS, shared=True)
    assert "reader" in refusal(tmp_path, Concern.PACKS)
    reader.communicate()
    dead = holder(Concern.PACKS, "dead")
    dead.kill()
    dead.wait()
    holder(Concern.PACKS, shared=True)
    assert "dead" not in refusal(tmp_path, Concern.PACKS)


def test_one_that_waits_gets_it_when_it_is_free(tmp_path: Path, holder) -> None:
    first = holder(Concern.BACKUP)
    script = HOLD.replace("shared=sys", "wait=True, shared=sys")
    argv = [sys.executable, "-c", script, str(tmp_path), "backup", "second", ""]
    with subprocess.Popen(argv, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout
        first.communicate()
        assert waiting.stdout.readline() == b"held\n"
        waiting.communicate()
    with LocalLeases(tmp_path).hold(Concern.BACKUP):
        pass


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LocalLeases(tmp_path).hold(Concern.BACKUP):
        raise RuntimeError
    with LocalLeases(tmp_path).hold(Concern.BACKUP):
        pass


def test_whoever_asks_learns_who_holds_it_and_holds_nothing(tmp_path: Path, holder) -> None:
    leases = LocalLeases(tmp_path)
    assert leases.held(Concern.RECEIVE) is None
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"
    process = holder(Concern.RECEIVE)
    held = leases.held(Concern.RECEIVE)
    assert held
    assert held.holder
    assert (held.holder.job, held.holder.process, held.holder.host) == (
        "20261122T200512Z-01", process.pid, os.uname().nodename)
    assert str(held) == f"process {process.pid} on {os.uname().nodename} since {held.holder.since:%Y-%m-%d %H:%M:%S}Z"
    process.communicate()
    assert leases.held(Concern.RECEIVE) is None
    holder(Concern.PACKS, shared=True)
    assert leases.held(Concern.PACKS) is None, "nobody holds it alone"


def test_one_that_has_not_signed_yet_is_one_all_the_same(tmp_path: Path) -> None:
    leases, path = LocalLeases(tmp_path), tmp_path / "backup.lock"
    with leases.hold(Concern.BACKUP):
        for text in ("", "{", "[]", '{"job": "", "pid": "x"}'):
            path.write_text(text)
            held = leases.held(Concern.BACKUP)
            assert held
            assert held.holder is None
            assert str(held) == "a process that has not signed yet"


def test_a_holder_renews_its_lease(tmp_path: Path) -> None:
    leases = LocalLeases(tmp_path)
    leases.renew(Concern.RECEIVE)  # which nobody holds: no harm
    with leases.hold(Concern.RECEIVE):
        os.utime(tmp_path / "receive.lock", (0, 0))
        old = leases.held(Concern.RECEIVE)
        leases.renew(Concern.RECEIVE)
        new = leases.held(Concern.RECEIVE)
        assert old
        assert new
        assert (old.renewed_at.year, new.renewed_at > old.renewed_at) == (1970, True)
