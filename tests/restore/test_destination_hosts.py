"""Odd hosts (case 35), jobs without a screen (case 36), and how much memory a restore takes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from destination_site import Site, made_site
from support.account import account
from support.cli import environment, pgvault_argv
from support.fleet import Fleet
from support.postgres import wait_until
from support.ssh import SshHost, start_ssh_host

MEBIBYTE = 1 << 20
LARGE = 300 * MEBIBYTE


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with made_site(fleet) as site:
        yield site


@pytest.fixture
def odd_host() -> Iterator[Callable[..., SshHost]]:
    started: list[SshHost] = []

    def start(flavour: str = "openssh", **options) -> SshHost:
        started.append(start_ssh_host(flavour, **options))
        return started[-1]

    yield start
    for host in started:
        host.close()


def test_a_host_that_talks_and_whose_home_is_elsewhere(site: Site, odd_host: Callable[..., SshHost]) -> None:
    """A banner before the login, a profile that prints on both outputs, a home that is not the account's."""
    home = site.root / "home"
    home.mkdir()
    for name in (".bashrc", ".profile", ".bash_profile", ".zshenv", ".shinit"):
        (home / name).write_text("echo Welcome to this host; echo 'You have mail' >&2\n")
    account().own(home)
    variables = {"HOME": str(home), "ENV": f"{home}/.shinit", "BASH_ENV": f"{home}/.bashrc", "LANG": "de_DE.UTF-8"}
    site.add_host("odd", odd_host(variables=variables, banner="Authorized use only\nreally\n"))
    directory = site.place("odd host")
    done = site.restore("odd", directory)
    site.verify_files(directory)
    assert "Welcome" not in done.text


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not here")
def test_a_host_with_sh_and_busybox_alone(site: Site, odd_host: Callable[..., SshHost]) -> None:
    """No bash, no GNU tools, no zstd."""
    path = site.root / "busybox"
    path.mkdir()
    subprocess.run([shutil.which("busybox"), "--install", "-s", path], check=True)
    site.add_host("busy", odd_host("asyncssh", variables={"PATH": str(path)}))
    directory = site.place("busybox")
    argv = site.restore_argv("busy", directory)
    done = site.dying("pgvault.engine.restore.run:Site.publish", 1, [*argv, "--target-immediate", "--yes"])
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    done = site.restore("busy", directory)
    assert "no zstd: data is unpacked here" in done.stderr
    site.verify_files(directory)


def test_a_host_without_tar_is_refused(site: Site, odd_host: Callable[..., SshHost]) -> None:
    path = site.root / "few"
    path.mkdir()
    for name in ("sh", "ls", "stat", "df", "awk", "head", "id", "uname", "cat", "dirname"):
        (path / name).symlink_to(shutil.which(name))
    site.add_host("few", odd_host("asyncssh", variables={"PATH": str(path)}))
    done = site.restore("few", site.place("few"), check=5)
    assert "The host has no tar." in done.stderr


def test_a_detached_restore_can_be_watched(site: Site) -> None:
    directory = site.place("detached")
    argv = [*site.restore_argv("here", directory), "--target-immediate", "--yes", "--detach"]
    planned = site.run("--format", "json", *argv, "--dry-run").json()
    done = site.run("--format", "json", *argv)
    job = done.json()["job"]
    assert set(done.json()) == {"schema", "job"}
    watched = site.run("job", "watch", job)
    assert "ready to be started" in watched.stderr + watched.text
    site.verify_files(directory)
    where = shlex.join(["--config", str(site.config)])
    began = json.loads((site.home / "jobs" / job / "events.jsonl").read_text().splitlines()[0])
    assert began["command"] == planned["command"].replace("pgvault ", f"pgvault {where} ", 1)


@pytest.mark.parametrize(("change", "code", "status"), [
    ({"directory": "/usr"}, "refused", 5), ({"--target-immediate": "--target-name=-x"}, "wal-missing", 9),
    ({"--yes": "--no-start"}, "usage", 2), ({"here": "nowhere"}, "not-found", 4),
    ({"--target-immediate": "--target-lsn=F/0"}, "wal-missing", 9)])
def test_a_detached_restore_that_cannot_begin_says_so_as_json(site: Site, change: dict[str, str], code: str,
                                                              status: int) -> None:
    """And leaves no job behind."""
    jobs = set((site.home / "jobs").iterdir())
    argv = ["restore", "main", "auto", str(site.place("never")), "--host", "here", "--target-immediate", "--yes",
            *(f"--tablespace={name}={site.place(f'never.{name}')}" for name in site.spaces)]
    argv = [change.get("directory", word) if word == str(site.place("never")) else change.get(word, word)
            for word in argv]
    done = site.run("--format", "json", *argv, "--detach", check=status)
    assert done.stdout == b""
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == (code, status)
    assert set(error) == {"code", "message", "detail", "hint", "exit_code"}
    assert error["message"]
    assert set((site.home / "jobs").iterdir()) == jobs
    assert not site.place("never").exists()


def test_a_restore_outlives_its_terminal(site: Site) -> None:
    """Confirmed on a terminal that is closed while it runs."""
    directory = site.place("hung up")
    argv = [*site.restore_argv("here", directory), "--target-immediate", "--bwlimit", "4MB"]
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        pgvault_argv(*argv, config=site.config, account=account()), env=environment(account()), cwd="/",
        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal, **account().popen_options(),
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, b"y\n")
    wait_until(lambda: (directory / "base").is_dir())
    os.close(ours)
    assert process.wait(60) == 0
    site.verify_files(directory)
    shown = site.run("job", "show", max(path.name for path in (site.home / "jobs").iterdir()))
    assert f"restored to here:{directory}, ready to be started" in shown.text


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes of the largest resident set until its end. What wait4 tells counts the fork of the tests' own process."""
    peak = 0
    while found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text()):
        peak = int(found[1]) * 1024
        time.sleep(0.005)
    return peak


def test_memory_does_not_grow_with_the_cluster(site: Site, ssh_hosts: Callable[[str], SshHost]) -> None:
    """A few hundred megabytes over ssh with less than 150 MiB."""
    big = site.server.data / "odd" / "big"
    block = os.urandom(4 * MEBIBYTE)
    with big.open("wb") as file:
        for number in range(LARGE // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:-8] + os.urandom(8))
    account().own(big)
    site.run("backup", "main", "--immediate-checkpoint")
    site.add_host("far", ssh_hosts("openssh"))
    directory = site.place("big")
    argv = [*site.restore_argv("far", directory), "--target-immediate", "--yes"]
    with open(site.root / "said", "wb") as said:
        process = subprocess.Popen(pgvault_argv(*argv, config=site.config, account=account()), cwd="/", stdout=said,
                                   stderr=said, env=environment(account()), **account().popen_options())  # fmt: skip
    peak = peak_memory(process)
    assert process.wait() == 0, Path(site.root / "said").read_text()
    assert (directory / "odd" / "big").stat().st_size == LARGE
    assert 20 * MEBIBYTE < peak < 150 * MEBIBYTE
