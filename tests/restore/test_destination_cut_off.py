"""Case 30 and rule 24: however a restore is cut off, PostgreSQL does not start there, and the next run completes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from destination_site import Site, listing, made_site, needed, refuses_to_start, rows
from support.account import account
from support.cli import environment, pgvault_argv
from support.fleet import Fleet
from support.postgres import Server, free_port, wait_until
from support.ssh import SshHost

MARK = "pgvault-restore-incomplete"
RUN, HOST = "pgvault.engine.restore.run", "pgvault.io.host"
POINTS = [
    (f"{RUN}:Site.prepare", 1), (f"{RUN}:_Restore._send", 1), (f"{RUN}:Sender.send", 1),
    (f"{HOST}:Host.open_sink", 1), (f"{HOST}:Sink.write", 1), (f"{HOST}:Sink.finish", 1),
    (f"{RUN}:Sender.send", 2), (f"{HOST}:Host.open_sink", 2), (f"{HOST}:Host.open_sink", 3),
    (f"{HOST}:Sink.write", 2), (f"{HOST}:Sink.write", 4), (f"{HOST}:Sink.write", 7), (f"{HOST}:Sink.write", 10),
    (f"{HOST}:Sink.finish", 2), (f"{HOST}:Sink.finish", 3), (f"{RUN}:Sender.send", 3), (f"{HOST}:Host.open_sink", 4),
    (f"{HOST}:Sink.finish", 4), (f"{RUN}:Site.flush", 1), (f"{RUN}:Site.publish", 1),
]  # fmt: skip
BEFORE_THE_MARK = f"{RUN}:Site.prepare"


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with made_site(fleet) as site:
        big = site.server.data / "odd" / "noise"  # keeps the streams busy for some blocks
        big.write_bytes(os.urandom(12 << 20))
        account().own(big)
        site.run("backup", "main", "--immediate-checkpoint")
        yield site


def check_complete(site: Site, directory: Path, adopt_server: Callable[[Path, int], Server]) -> None:
    site.verify_files(directory)
    assert not (directory / MARK).exists()
    restored = adopt_server(directory, site.server.major).start()
    wait_until(lambda: not restored.scalar("select pg_is_in_recovery()"))
    assert rows(restored) == {**rows(site.server), "postgres.u": []}


def job_of(directory: Path) -> str:
    return (directory / MARK).read_text().splitlines()[0]


@pytest.mark.parametrize("where", ["here", "openssh"])
def test_killed_at_any_point_it_does_not_start_and_the_next_run_completes(
    site: Site, where: str, ssh_hosts: Callable[[str], SshHost], adopt_server: Callable[[Path, int], Server]
) -> None:
    """Each run begins on what the one before left, and the last one is left alone."""
    if where != "here":
        site.add_host(where, ssh_hosts(where))
    directory = site.place(f"killed-{where}")
    argv = [*site.restore_argv(where, directory), "--target-immediate", "--yes"]
    points = POINTS[::5] if where == "here" else POINTS
    seen = set()
    for point, count in points:
        ended = site.dying(point, count, argv)
        assert ended.returncode == -signal.SIGKILL, (point, count, ended.stderr.decode())
        assert refuses_to_start(site, directory), (point, count)
        if point != BEFORE_THE_MARK:
            seen.add(job_of(directory))
            assert (site.home / "jobs" / job_of(directory)).is_dir()
    assert len(seen) == sum(point != BEFORE_THE_MARK for point, _ in points)  # each run marks it as its own
    done = site.restore(where, directory)
    assert f"what the incomplete restore {max(seen)} left will be removed" in done.stderr
    check_complete(site, directory, adopt_server)


def test_a_lost_connection_leaves_it_marked_and_the_next_run_completes(
    site: Site, ssh_host: SshHost, adopt_server: Callable[[Path, int], Server]
) -> None:
    cable = Cable(ssh_host, site.root)
    directory = site.place(f"lost-{ssh_host.flavour}")
    site.add_host("lost", cable.host)
    slow = [*site.restore_argv("lost", directory), "--target-immediate", "--yes", "--bwlimit", "1MB"]
    process = start(site, slow)
    wait_until(lambda: (directory / "base").is_dir())
    cable.cut()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 7, said.decode()
    assert b"is incomplete and marked so" in said
    assert job_of(directory)
    assert refuses_to_start(site, directory)
    site.restore("here", directory)
    check_complete(site, directory, adopt_server)


class Cable:
    """A port that leads to a host, until it is cut."""

    def __init__(self, host: SshHost, directory: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._target, self._open = (host.host, host.port), [self._listener]
        port = self._listener.getsockname()[1]
        known = directory / f"known-{port}"
        known.write_text(host.known_hosts.read_text().replace(str(host.port), str(port)))
        self.host = replace(host, port=port, known_hosts=known)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)

    def cut(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def start(site: Site, argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(pgvault_argv(*argv, config=site.config, account=account()), env=environment(account()),
                            cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **account().popen_options())  # fmt: skip


def test_a_writer_that_outlives_its_restore_cannot_spoil_the_next_one(
    site: Site, adopt_server: Callable[[Path, int], Server]
) -> None:
    """Its pipe may still hold files when pgvault is dead; the next run ends it before it writes."""
    directory = site.place("outlived")
    argv = [*site.restore_argv("here", directory), "--target-immediate", "--yes", "--bwlimit", "1MB"]
    process = start(site, argv)
    wait_until(lambda: (directory / "base").is_dir())
    wait_until(lambda: stopped_writers(directory))
    old = stopped_writers(directory)
    process.kill()
    process.communicate()
    site.restore("here", directory)
    assert not set(old) & set(writers(directory))
    check_complete(site, directory, adopt_server)


def writers(directory: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(directory) and (process / "comm").read_text() == "tar\n":
                found.append(int(process.name))
        except OSError:
            continue
    return found


def stopped_writers(directory: Path) -> list[int]:
    """Those that stand still; all are told to. The first ones may have ended before that."""
    stopped = []
    for pid in writers(directory):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, signal.SIGSTOP)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                stopped.append(pid)
    return stopped


@pytest.mark.parametrize(("flavour", "how"), [("openssh", "SIGINT"), ("asyncssh", "job cancel")])
@pytest.mark.parametrize("before", ["missing", "empty", "overwritten"])
def test_cancelled_the_destination_is_as_before(
    site: Site, before: str, flavour: str, how: str, ssh_hosts: Callable[[str], SshHost]
) -> None:
    site.add_host("far", ssh_hosts(flavour))
    directory = site.place(f"cancelled-{before}-{flavour}")
    more = []
    if before != "missing":
        directory.mkdir()
    if before == "overwritten":
        (directory / "pg_wal").mkdir()
        (directory / "letter").write_text("keep me")
        more = ["--overwrite", str(directory)]
    account().own(site.root / "places")
    directory.exists() and directory.chmod(0o700)
    family = [directory, *(Path(f"{directory}.{name}") for name in site.spaces)]
    as_before = listing(*family)
    argv = [*site.restore_argv("far", directory, *more), "--target-immediate", "--yes", "--bwlimit", "1MB"]
    process = start(site, argv)
    wait_until(lambda: (directory / "base").is_dir())
    job = job_of(directory)
    if how == "SIGINT":
        process.send_signal(signal.SIGINT)
    else:
        site.run("job", "cancel", job)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()
    assert listing(*family) == as_before
    assert not list(directory.parent.glob(f"{directory.name}.before-*"))
    assert not writers(directory)


def test_a_disk_that_fills_up_in_mid_restore(site: Site, tmpfs, adopt_server: Callable[[Path, int], Server]) -> None:
    """Somebody else takes the room that the plan saw; when it is free again, the same command completes."""
    place = tmpfs((needed(site) >> 20) + 8)
    directory, filler = place / "data", place / "filler"
    argv = [*site.restore_argv("here", directory), "--target-immediate", "--yes"]
    process = start(site, [*argv, "--bwlimit", "4MB"])
    wait_until(lambda: (directory / "base").is_dir())
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)) == 1 << 20:
                pass
        except OSError:
            pass
    _, said = process.communicate(timeout=60)
    assert process.returncode == 10, said.decode()
    assert b"no space left on device" in said
    assert str(directory).encode() in said
    assert b"is incomplete and marked so" in said
    assert refuses_to_start(site, directory)
    filler.unlink()
    # What is left of the first attempt is counted as room, for it goes first.
    done = site.run(*argv)
    assert "the incomplete restore" in done.stderr
    check_complete(site, directory, adopt_server)


@pytest.mark.parametrize("own", [False, True], ids=["pg_ctl", "start_command"])
def test_a_server_that_does_not_start_on_a_full_disk(site: Site, tmpfs, open_tmp: Path, own: bool) -> None:
    """Not even its log can be written: pg_ctl's end says it, or the full disk, and nobody waits for a server."""
    place = tmpfs((needed(site) >> 20) + 40)
    directory, programs, real = place / "data", open_tmp / "programs", site.server.installation.bin
    programs.mkdir()
    for each in real.iterdir():
        if each.name != "pg_ctl":
            (programs / each.name).symlink_to(each)
    fill = "\n".join(f"dd if=/dev/zero of='{place}/filler.{size}' bs={size} 2>/dev/null" for size in ("64k", "1k"))
    (programs / "pg_ctl").write_text(f"#!/bin/sh\n{fill}\nexec '{real}/pg_ctl' \"$@\"\n")
    (programs / "pg_ctl").chmod(0o755)
    start = f"'{programs}/pg_ctl' start -W -D '{directory}' -l '{directory}/own.log'"
    own_start = f"start_command = {json.dumps(start)}\n" if own else ""
    site.hosts["full"] = f'[hosts.full]\nlocal = true\nbin_directory = "{programs}"\n{own_start}'
    site.write_config()
    argv = [*site.restore_argv("full", directory), "--target-immediate", "--start", "--port", str(free_port())]
    done = site.run(*argv, "--yes", check=1)
    assert "did not start" in done.stderr
    assert "No space left on device there." in done.stderr
    assert "Free space on the host." in done.stderr
    assert ("pg_ctl ended with status 1" in done.stderr) is not own


def test_one_restore_at_a_time_into_a_directory(site: Site, ssh_hosts: Callable[[str], SshHost]) -> None:
    """Also when the second one calls the same host by another name."""
    host = ssh_hosts("openssh")
    site.add_host("one", host)
    site.add_host("another", host)
    directory = site.place("locked")
    argv = [*site.restore_argv("one", directory), "--target-immediate", "--yes", "--bwlimit", "4MB"]
    process = start(site, argv)
    wait_until(lambda: (directory / "base").is_dir())
    process.send_signal(signal.SIGSTOP)  # it lives, and cannot end before the others had their answer
    job = job_of(directory)
    planned = site.run(*site.restore_argv("another", directory), "--target-immediate", "--dry-run", check=6)
    assert f"job {job} is restoring to another:{directory} now" in planned.stderr  # no plan offers to remove its files
    done = site.restore("another", directory, check=6)
    assert f"Held by job {job}, process {process.pid}" in done.stderr
    assert job_of(directory) == job
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    site.verify_files(directory)
