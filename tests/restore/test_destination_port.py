"""Whether the restored server can listen is known before anything is copied, and it can be given another port."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.account import account
from support.fleet import Fleet
from support.postgres import Server, free_port
from support.ssh import SshHost
from target_world import World, end_world, make_world

from pgvault.engine.restore import contents, preconditions
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.restore_plan import Precondition, RestorePlan
from pgvault.model.target import Immediate

HOST_PLACE = ("port = ", "socket_directory = ")


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    """Its server runs, and keeps its log with a collector of its own, as packages have it."""
    world = make_world(fleet, ssh_hosts("openssh"), settings={"logging_collector": "on"})
    world.backup()
    yield world
    end_world(fleet, world)


@pytest.fixture
def as_configured(world: World) -> Iterator[Callable[..., None]]:
    """Let the host say nothing of port and sockets, or these lines: else the restored configuration decides."""
    written = world.config_file.read_text()

    def configure(*lines: str) -> None:
        kept = [line for line in written.splitlines() if not line.strip().startswith(HOST_PLACE)]
        world.config_file.write_text("\n".join([*kept, *lines]) + "\n")

    yield configure
    world.config_file.write_text(written)


def condition(plan: RestorePlan, name: str) -> Precondition | None:
    return next((each for each in plan.preconditions if each.name == name), None)


def test_the_port_of_a_server_that_runs_there_is_taken(world: World, as_configured: Callable[..., None]) -> None:
    """`.../data2` while `.../data` runs, with the same postgresql.conf."""
    as_configured()
    server = world.server
    plan = world.plan(Immediate())
    assert plan.configuration.listens is not None
    listens = plan.configuration.listens
    assert (listens.port, listens.socket_directories) == (server.port, (str(server.sockets),))
    found = condition(plan, f"port {server.port}")
    assert found is not None
    assert found.outcome is Outcome.FAILED
    assert found.detail == f"{server.process.capitalize()} of {server.data} has the socket for it in " \
                           f"{server.sockets}."
    assert "--port PORT" in found.fix
    directory = world.root / "data2"
    done = world.cli("restore", "main", "auto", directory, "--host", "target", "--target-immediate", "--start", "--yes",
                     check=5)  # fmt: skip
    assert f'condition "port {server.port}" failed' in done.stderr
    assert not directory.exists()


def test_another_port_is_the_way_out(world: World, as_configured: Callable[..., None]) -> None:
    as_configured(f"conninfo = \"host=127.0.0.1 port={world.server.port} user=postgres dbname=postgres\"")
    port = free_port()
    plan = world.plan(Immediate(), port=port)
    assert shlex.join(plan.to_argv()).count(f"--port {port}") == 1
    assert condition(plan, f"port {port}") == Precondition(f"port {port}", Outcome.OK, "free")
    with world.restored(Immediate(), port=port) as restored:
        lines = (restored.data / "postmaster.pid").read_text().splitlines()
        assert (lines[3], lines[4]) == (str(port), str(world.server.sockets))
        assert restored.verdict.proof is not None
        assert restored.verdict.proof.timeline == 2  # it was asked by SQL, where it listens now
        assert f"port = '{port}'" in (restored.data / "postgresql.auto.conf").read_text()


def test_a_taken_tcp_port_is_told_too(world: World, as_configured: Callable[..., None]) -> None:
    as_configured(f"port = {world.server.port}", f'socket_directory = "{world.root}"')
    found = condition(world.plan(Immediate()), f"port {world.server.port}")
    assert found is not None
    assert (found.outcome, found.detail) == (
        Outcome.FAILED, f"{world.server.process.capitalize()} listens there.")


def test_a_server_that_is_not_started_needs_no_port(world: World, as_configured: Callable[..., None]) -> None:
    as_configured()
    plan = world.plan(Immediate(), start=False)
    assert condition(plan, f"port {world.server.port}") is None
    assert not plan.failed


def test_a_host_with_a_start_command_is_only_warned(world: World, as_configured: Callable[..., None]) -> None:
    """It may make the server listen elsewhere."""
    as_configured('start_command = "true"')
    found = condition(world.plan(Immediate()), f"port {world.server.port}")
    assert found is not None
    assert found.outcome is Outcome.WARNING


def test_a_socket_directory_that_is_not_there_is_told(world: World, as_configured: Callable[..., None]) -> None:
    as_configured(f"port = {world.port}", f'socket_directory = "{world.root}/nowhere"')
    plan = world.plan(Immediate())
    assert [each.name for each in plan.failed] == ["socket directory"]
    assert plan.failed[0].detail.startswith(f"{world.root}/nowhere: missing")


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_what_is_no_port_is_wrong_usage(world: World, port: str) -> None:
    done = world.cli("restore", "main", "auto", "/x", "--host", "target", f"--port={port}", "--dry-run", check=2)
    assert "--port must be from 1 to 65535" in done.stderr


def test_the_plan_tells_where_it_will_listen(world: World) -> None:
    directory = world.root / "told"
    argv = ["restore", "main", "auto", directory, "--host", "target", "--target-immediate", "--start", "--dry-run"]
    plan = world.cli("--format", "json", *argv, "--port", world.port, check=0).json()
    assert plan["listens"] == {"port": world.port, "addresses": ["127.0.0.1"],
                               "socket_directories": [str(world.root)]}
    assert f"--port {world.port}" in plan["command"]
    assert f"port {world.port}; TCP on 127.0.0.1; sockets: {world.root}" in world.cli(*argv, check=0).text


# It ends all the same


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the port comes after the last look."""
    monkeypatch.setattr(preconditions, "listening_conditions", lambda *_, **__: iter(()))


def test_a_start_that_fails_says_why_and_what_next(world: World, as_configured: Callable[..., None],
                                                   unseen: None) -> None:
    port = free_port()
    as_configured(f"port = {port}", f'socket_directory = "{world.root}"')
    lock = world.root / f".s.PGSQL.{port}.lock"
    lock.write_text(f"{world.server.pid}\n/srv/data\n")
    account().own(lock)
    with pytest.raises(PgvaultError) as failed, world.restored(Immediate()):
        pass
    lock.unlink()
    error = failed.value
    assert error.message.endswith("did not start")
    assert f'FATAL:  lock file "{lock}" already exists' in (error.detail or "")
    assert f"PID {world.server.pid}" in (error.detail or "")
    hint = error.hint or ""
    assert "Another server has its port" in hint
    assert f"{world.server.installation.bin}/pg_ctl start -D " in hint


def test_a_taken_tcp_port_is_the_cause_that_is_told(world: World, as_configured: Callable[..., None],
                                                    unseen: None) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        as_configured(f"port = {held.getsockname()[1]}", f'socket_directory = "{world.root}"')
        with pytest.raises(PgvaultError) as failed, world.restored(Immediate()):
            pass
    assert "could not bind IPv4 address" in (failed.value.detail or "")
    assert "Another server has its port" in (failed.value.hint or "")


def test_a_setting_that_the_server_does_not_take_is_the_cause_that_is_told(world: World,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    made = contents.recovery_additions
    monkeypatch.setattr(contents, "recovery_additions",
                        lambda *args, **options: [*made(*args, **options), ("shared_buffers", "many")])
    failed = world.plan(Immediate()).failed
    assert [each.name for each in failed] == ["configuration"]
    assert 'invalid value for parameter "shared_buffers": "many"' in failed[0].detail


def test_the_path_in_a_command_is_quoted(world: World, own_server: Callable[..., Server]) -> None:
    """To be pasted on the host, where the programs are on no PATH."""
    running = own_server()
    link = Path(f"{world.root}/it's here")
    link.symlink_to(running.data)
    plan = world.plan(Immediate(), directory=str(link), start=False)
    found = condition(plan, "running server")
    assert found is not None
    assert found.outcome is Outcome.FAILED
    command = found.fix.partition(": ")[2]
    assert shlex.split(command) == [f"{running.installation.bin}/pg_ctl", "stop", "-D", str(link)]
    account().run(shlex.split(command))
