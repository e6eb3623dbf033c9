"""`look`, `open` and `throw-away`: a restored server is looked at, opened for use, and removed; never the live one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.account import account, remove_tree
from support.cli import environment, pgvault, pgvault_argv
from support.fleet import Fleet
from support.postgres import free_port
from support.ssh import SshHost, start_ssh_host
from target_world import World, end_world, make_world

from pgvault.io.probe_script import MARKER
from pgvault.jobs.journal import Journal
from pgvault.jobs.plan import write_plan
from pgvault.jobs.registry import create_job, jobs_directory
from pgvault.model.event import PhaseStarted
from pgvault.model.job import JobKind

DYING = Path(__file__).parents[1] / "restore/dying_restore.py"


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """Its restored server is paused, in `restored`, with a tablespace beside it."""
    made = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    made.server.new_tablespace("fast")
    made.server.sql("CREATE TABLE here TABLESPACE fast AS SELECT generate_series(1, 5) AS i")
    made.backup()
    made.take_wal()
    data = made.root / "restored"
    made.cli("restore", "main", "auto", str(data), "--host", "target", "--target-immediate", "--target-action", "pause",
             "--tablespace", f"fast={data}.fast", "--start", "--yes", check=0)
    yield made
    made.stop(data)
    end_world(fleet, made)


def test_looking_lends_the_terminal_to_psql_on_the_host(world: World) -> None:
    told = world.cli("--format", "json", "look", "latest", check=0).json()
    assert told["command"].startswith(f"{world.server.installation.bin}/psql -h {world.root} -p {world.port} ")
    terminal = Terminal(pgvault_argv("look", "latest", config=world.config_file))
    assert "\\q returns" in terminal.until("=# ")
    terminal.type("SELECT count(*) * 111 AS number FROM here;\n")
    assert "555" in terminal.until("=# ")
    terminal.type("SELECT pg_sleep(60);\n")
    terminal.until("60);")
    time.sleep(0.5)
    terminal.type("\x03")  # it is psql's, and ends the query alone
    terminal.until("=# ")
    terminal.type("\\q\n")
    assert terminal.end() == 0
    assert terminal.is_as_before
    terminal.close()


class Terminal:
    """A program at a terminal of its own, as a person has it."""

    def __init__(self, argv: list[str]) -> None:
        self._master, slave = pty.openpty()
        self._slave, self._before = slave, termios.tcgetattr(slave)
        self._process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, cwd="/", start_new_session=True,
                                         env=environment() | {"TERM": "xterm", "PAGER": ""})

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self._before

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """What is drawn up to this."""
        seen, deadline = "", time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([self._master], [], [], 1)[0]:
                seen += os.read(self._master, 4096).decode(errors="replace")
        return seen

    def end(self) -> int:
        try:
            return self._process.wait(30)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


def test_a_host_that_forwards_nothing_can_be_looked_at_and_says_what_bring_back_needs(
        world: World, ssh_hosts: Callable[[str], SshHost], tmp_path: Path) -> None:
    usual, strict = ssh_hosts("openssh"), start_ssh_host("openssh", first=("DisableForwarding yes",))
    config, text = tmp_path / "strict.toml", world.config_file.read_text()
    for old, new in ((f":{usual.port}", f":{strict.port}"), (str(usual.identity_file), str(strict.identity_file)),
                     (str(usual.known_hosts), str(strict.known_hosts))):
        text = text.replace(old, new)
    config.write_text(text)
    try:
        assert "psql -h" in pgvault("look", "latest", config=config, check=0).text
        refused = pgvault("--format", "json", "bring-back", "latest", "postgres.public.here", "--dry-run",
                          config=config, check=7)
    finally:
        strict.close()
    assert "does not forward" in refused.stderr
    assert "Allow it there (AllowStreamLocalForwarding yes), or name a conninfo for the host" in refused.stderr
    assert "pg_hba.conf" not in refused.stderr


def test_it_is_opened_then_thrown_away_and_neither_is_done_twice(world: World) -> None:
    data = world.root / "restored"
    with psycopg.connect(f"host=127.0.0.1 port={world.port} user=postgres", autocommit=True) as sql:
        sql.execute("ALTER SYSTEM SET work_mem = '8MB'")  # it writes the file anew, without comments
    assert "hint: Add --yes." in world.cli("open", "latest", check=2).stderr
    opened = world.cli("--format", "json", "open", "latest", "--yes", check=0).json()
    assert opened["timeline"] == 2
    assert "open already, on timeline 2" in world.cli("open", "latest", "--yes", check=5).stderr
    lifted = world.cli("--format", "json", "open", "latest", "--lift", "--yes", check=0).json()
    assert lifted["lifted"] == ["max_logical_replication_workers"]
    assert "max_logical_replication_workers" not in (data / "postgresql.auto.conf").read_text()
    kept = (data / "postgresql.auto.conf").read_text()
    assert not any(name in kept for name in ("recovery_target", "restore_command", "recovery_end_command"))
    assert "work_mem = '8MB'" in kept
    assert "archive_mode = 'off'" in kept
    assert (world.vault.home / "recoveries/00000002.toml").read_text().count("history")
    plan = world.cli("--format", "json", "throw-away", "latest", "--dry-run", check=0).json()
    assert plan["removes"] == [str(data), f"{data}.fast"]
    assert (plan["runs"], {each["outcome"] for each in plan["preconditions"]}) == (True, {"ok"})
    assert "/ is not the directory to remove" in world.cli("throw-away", "latest", "--remove", "/", check=2).stderr
    assert "the directory to remove must be named" in world.cli("throw-away", "latest", check=2).stderr
    assert (data / "PG_VERSION").exists()
    done = world.cli("throw-away", "latest", "--remove", data, check=0)
    assert f"Thrown away: target:{data}" in done.text
    assert not data.exists()
    assert not Path(f"{data}.fast").exists()
    assert world.server.scalar("SELECT count(*) FROM here") == 5
    assert "no longer exists" in world.cli("throw-away", "latest", "--remove", data, check=4).stderr
    assert "no longer exists" in world.cli("look", "latest", check=5).stderr
    data.mkdir()
    (data / MARKER).write_text(f"{opened['copy']}\nkept\n{data}\n")  # as a removal that was cut short leaves it
    assert "is partly removed" in world.cli("look", "latest", check=5).stderr
    (data / MARKER).unlink()
    data.rmdir()


def only_by_password(data: Path, world: World) -> Path:
    """From now on the server in `data` lets in nobody but `known`, by the password in this file."""
    with psycopg.connect(f"host=127.0.0.1 port={world.port} user=postgres", autocommit=True) as sql:
        sql.execute("CREATE ROLE known LOGIN PASSWORD 'told'")
        (data / "pg_hba.conf").write_text("host all known all scram-sha-256\n")
        sql.execute("SELECT pg_reload_conf()")
    passwords = world.root / "passwords"
    passwords.write_text("*:*:*:known:told\n")
    passwords.chmod(0o600)
    return passwords


def test_the_live_server_is_never_thrown_away(world: World) -> None:
    """Not where the conninfo leads to the copy by now, not one that archives, not what another restore has made."""
    data = world.root / "second"

    def conditions(check: int, port: int, login: str = "") -> dict[str, str]:
        config = world.config_file.with_name("other.toml")
        text = world.config_file.read_text().replace(f"port={world.server.port}", f"port={port} {login}")
        config.write_text(re.sub("user=(?!known)[a-z]*", "", text) if login else text)
        plan = pgvault("--format", "json", "throw-away", "latest", "--dry-run", config=config, check=check).json()
        return {each["name"]: each["outcome"] for each in plan["preconditions"]}

    world.cli("restore", "main", "auto", str(data), "--host", "target", "--target-immediate", "--tablespace",
              f"fast={data}.fast", "--start", "--yes", check=0)
    try:
        assert conditions(5, world.port)["not main"] == "failed"
        assert conditions(0, 1)["not main"] == "warning"
        let_in = (data / "pg_hba.conf").read_text()
        passwords = only_by_password(data, world)
        assert conditions(5, world.port, f"user=known passfile={passwords}")["not main"] == "failed"
        (data / "pg_hba.conf").write_text(let_in)
        with (data / "postgresql.auto.conf").open("a") as conf:
            conf.write("archive_mode = on\narchive_command = 'true'\n")
        account().run([world.server.installation.program("pg_ctl"), "restart", "-w", "-D", data, "-l", f"{data}/log"])
        assert conditions(5, world.server.port) == {"this restore's": "ok", "not main": "ok", "not in use": "failed"}
        refused = world.cli("throw-away", "latest", "--remove", data, check=5)
        assert "It archives its WAL." in refused.stderr
    finally:
        world.stop(data)
    assert "set up to archive its WAL" in world.cli("throw-away", "latest", "--remove", data, check=5).stderr
    settings = data / "postgresql.auto.conf"
    archives = settings.read_text()
    settings.write_text(f"{archives}archive_mode = off\n")
    terminal = Terminal(pgvault_argv("throw-away", "latest", config=world.config_file))
    terminal.until(f"Type {data} to ")
    settings.write_text(archives)  # it came into service while the question stood there
    terminal.type(f"{data}\n")
    terminal.until("set up to archive its WAL")
    assert terminal.end() == 5
    terminal.close()
    assert (data / "global" / "pg_control").exists()
    settings.write_text(f"{archives}archive_mode = off\n")
    label = data / "backup_label.old"
    told = label.read_text()
    label.write_text(re.sub("LABEL: .*", "LABEL: another", told))
    assert "now contains another copy" in world.cli("throw-away", "latest", "--remove", data, check=5).stderr
    label.write_text(told)
    plan = world.cli("--format", "json", "throw-away", "latest", "--dry-run", check=0).json()
    assert not plan["runs"]
    job = plan["copy"]
    later = create_job(world.home, JobKind.RESTORE, "main", "pgvault restore")  # of the tablespace's place alone
    write_plan(later.directory, {"host": "target", "directory": "/x", "tablespaces": [{"location": f"{data}.fast"}]})
    world.cli("throw-away", job, "--dry-run", check=0)  # it has written nothing
    journal = Journal(later.directory)
    journal.emit(PhaseStarted("copy"))
    journal.close()
    for words in (("throw-away", job), ("look", job), ("open", job), ("bring-back", job, "postgres.public.here")):
        assert "restored to the same place since" in world.cli(*words, check=5).stderr
    later.close()
    remove_tree(later.directory)
    stored = jobs_directory(world.home) / job / "plan.toml"
    with_plan = stored.read_text()
    stored.write_text(with_plan.replace(f'data_directory = "{world.server.data}"', f'data_directory = "{data}"'))
    assert conditions(5, 1)["not main"] == "failed"  # it may be the live one, restored in its place and stopped
    stored.write_text(with_plan)
    stranger = Path(f"{data}.fast") / "PG_99_209901011" / "rows"  # what pg_upgrade makes, say
    stranger.parent.mkdir()
    stranger.write_text("of another cluster")
    account().run(["chmod", "500", data / "base"])  # as what is on a failing disk, it cannot be removed
    assert "run this again" in world.cli("throw-away", "latest", "--remove", data, check=1).stderr
    account().run(["chmod", "700", data / "base"])
    assert not (data / "global").exists()
    removed = world.cli("throw-away", "latest", "--remove", data, check=0)
    assert f"not part of this copy: {stranger.parent}" in removed.text
    assert not data.exists()
    assert [path.name for path in stranger.parents[1].iterdir()] == ["PG_99_209901011"]
    assert stranger.read_text() == "of another cluster"


@contextmanager
def host_with(world: World, settings: str) -> Iterator[None]:
    """Further settings of the host."""
    written = world.config_file.read_text()
    world.config_file.write_text(f"{written}\n{settings}\n")
    try:
        yield
    finally:
        world.config_file.write_text(written)


@pytest.mark.parametrize("own", [False, True], ids=["another directory", "the host's own"])
def test_a_restore_that_ended_astray_is_thrown_away(world: World, own: bool) -> None:
    """Its server runs, and is not at its target. The host's stop command is for the host's own directory alone."""
    data, stopped = world.root / f"astray-{own}", world.root / f"stopped-{own}"
    pg_ctl = world.server.installation.program("pg_ctl")
    world.server.sql(f"SELECT pg_create_restore_point('later {own}')")
    world.take_wal()
    edit = f"printf \"recovery_target_lsn = ''\\nrecovery_target = 'immediate'\\n\" >> {data}/postgresql.auto.conf"
    argv = ["restore", "main", "auto", data, "--host", "target", "--target-name", f"later {own}", "--target-action",
            "pause", "--tablespace", f"fast={data}.fast", "--start", "--port", str(free_port()), "--yes"]
    with host_with(world, f"start_command = {json.dumps(f'{edit}; {pg_ctl} start -D {data} -s -W -l {data}/log')}"):
        assert "before the target" in world.cli(*argv, check=1).stderr
    command = json.dumps(f"touch {stopped}; {pg_ctl} stop -D {data} -m fast -s")
    home = data if own else world.root / "the service"
    with host_with(world, f'data_directory = "{home}"\nstop_command = {command}'):
        plan = world.cli("--format", "json", "throw-away", "latest", "--dry-run", check=0).json()
        assert (plan["runs"], plan["removes"]) == (True, [str(data), f"{data}.fast"])
        assert "has created no server" in world.cli("look", plan["copy"], check=5).stderr
        assert "Thrown away" in world.cli("throw-away", plan["copy"], "--remove", data, check=0).text
    assert stopped.exists() is own
    assert not data.exists()
    assert not Path(f"{data}.fast").exists()


def test_what_a_restore_left_that_was_not_started_or_not_completed_is_thrown_away(world: World) -> None:
    data = world.root / "left"
    argv = ["restore", "main", "auto", data, "--host", "target", "--target-immediate", "--tablespace",
            f"fast={data}.fast", "--yes"]
    with host_with(world, "start_command = \"false\""):
        assert "could not start" in world.cli(*argv, "--start", check=1).stderr
    plan = world.cli("--format", "json", "throw-away", "latest", "--dry-run", check=0).json()
    assert not plan["runs"]
    world.cli("throw-away", "latest", "--remove", data, check=0)
    assert not data.exists()
    words = [sys.executable, str(DYING), "pgvault.engine.restore.place:Site.flush", "1", "--config",
             str(world.config_file), *map(str, argv)]
    assert subprocess.run(words, capture_output=True, env=environment(), cwd="/", check=False).returncode == -9
    assert (data / MARKER).exists()
    planned = world.cli("--format", "json", "throw-away", "latest", "--dry-run", check=0).json()
    assert planned["copy"] != plan["copy"]
    (data / MARKER).write_text((data / MARKER).read_text().replace(planned["copy"], plan["copy"]))
    assert "not a copy of main" in world.cli("throw-away", "latest", "--remove", data, check=5).stderr
    (data / MARKER).write_text((data / MARKER).read_text().replace(plan["copy"], planned["copy"]))
    world.cli("throw-away", "latest", "--remove", data, check=0)
    assert not data.exists()
    assert not Path(f"{data}.fast").exists()
    theirs = Path(f"{data}.fast") / "PG_18_202506291/1/1"  # it came there before the restore marked the place
    words[2:4] = ["pgvault.engine.restore.send:Sender.send", "1"]
    assert subprocess.run(words, capture_output=True, env=environment(), cwd="/", check=False).returncode == -9
    mark = (data / MARKER).read_text()
    (data / MARKER).unlink()
    assert "its mark is missing" in world.cli("throw-away", "latest", "--remove", data, check=5).stderr
    (data / MARKER).write_text(mark)
    (theirs.parents[2] / MARKER).unlink()
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    world.cli("throw-away", "latest", "--remove", data, check=0)
    assert not data.exists()
    assert theirs.exists()
    remove_tree(theirs.parents[2])
