"""What a restore overwrites is exactly what its reviewed plan said: requirements R13 to R15."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from destination_site import listing
from support.account import account
from support.cli import Completed
from support.fleet import Fleet
from support.postgres import Server
from support.ssh import SshHost
from target_world import NAME, World, end_world, make_world

from pgvault.config.load import load
from pgvault.engine.restore import run as running
from pgvault.engine.restore.place import Site
from pgvault.engine.restore.run import run_restore
from pgvault.io import probe
from pgvault.io.hosts import open_host
from pgvault.io.probe_script import MARKER
from pgvault.model.check import Outcome
from pgvault.model.errors import Locked, Refused
from pgvault.model.event import Event, discard
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.target import Immediate
from pgvault.model.text import size, when
from pgvault.store.leases import Concern
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import Vault

OLDER = "20261120T070000Z-01"
"""A job whose restore was cut off."""


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    world = make_world(fleet, ssh_hosts("openssh"))
    world.backup()
    yield world
    end_world(fleet, world)


@pytest.fixture
def copy(own_server: Callable[..., Server]) -> Server:
    """A stopped cluster with main's system identifier."""
    return own_server(start=False)


@pytest.fixture
def stranger(own_server: Callable[..., Server]) -> Server:
    """A stopped cluster that has nothing to do with main."""
    return own_server(fresh=True, start=False)


@pytest.fixture
def place(world: World) -> Path:
    """A directory of the host's login, with nothing in it."""
    directory = world.root / f"place-{len(list(world.root.iterdir()))}"
    directory.mkdir(mode=0o700)
    account().own(directory)
    return directory


def identifier(server: Server) -> str:
    return server.controldata()["Database system identifier"]


def argv(directory: Path, *more: str | Path) -> list[str | Path]:
    return ["restore", NAME, "latest", directory, "--host", "target", "--target-immediate", *more]


def reviewed(world: World, directory: Path, *more: str | Path) -> dict[str, Any]:
    """The plan as a person, or the console, gets to see it."""
    return world.cli("--format", "json", *argv(directory, *more, "--dry-run"), check=0).json()


def overwriting(world: World, directory: Path) -> dict[str, Any]:
    return reviewed(world, directory, "--overwrite", directory)


def facts(plan: dict[str, Any]) -> str:
    """How old and how large what is replaced is."""
    state = plan["destination"]["state"]
    return f"last checkpoint {when(datetime.fromisoformat(state['checkpoint_at']))}, {size(state['size_bytes'])}"


def command(plan: dict[str, Any]) -> list[str]:
    """What the console runs, and what a person pastes."""
    return shlex.split(plan["command"])[1:]


def refused(world: World, plan: dict[str, Any], *watching: Path, how: str = "--yes") -> Completed:
    before, jobs = listing(*watching), set(world.home.glob("jobs/*"))
    done = world.cli(*command(plan), "--yes", how, check=5)
    assert listing(*watching) == before
    assert set(world.home.glob("jobs/*")) == jobs
    return done


def moves_in(comes: Server, to: Path) -> None:
    """A cluster takes the place of what is in a directory."""
    os.rename(to, f"{to}.gone")
    os.rename(comes.data, to)


def left_by(job: str, directory: Path) -> None:
    """What an incomplete restore leaves."""
    (directory / "base").mkdir()
    (directory / MARKER).write_text(f"{job}\nkept\n{directory}\n")
    for path in (directory / "base", directory / MARKER):
        account().own(path)


# The plan tells whose it is


def test_a_copy_of_the_server_is_told_as_one(world: World, copy: Server) -> None:
    plan = overwriting(world, copy.data)
    ours = identifier(copy)
    assert plan["overwrites"] == (f"the cluster of PostgreSQL {copy.major} in {copy.data}: main itself or a copy of it "
                                  f"(system identifier {ours}, {facts(plan)})")
    state = plan["destination"]["state"]
    assert (state["system_identifier"], state["server"], state["holds"]) == (ours, "main", ours)
    assert f"--overwrite {copy.data} --if-holds {ours}" in plan["command"]
    assert {"name": "replaced cluster", "outcome": "ok", "fix": "",
            "detail": "main itself or a copy of it, by its system identifier"} in plan["preconditions"]  # fmt: skip


def test_another_cluster_is_a_warning_that_cannot_be_missed(world: World, stranger: Server) -> None:
    plan = overwriting(world, stranger.data)
    theirs = identifier(stranger)
    assert plan["overwrites"] == (
        f"the cluster of PostgreSQL {stranger.major} in {stranger.data}, NOT a copy of main: it is a cluster that this "
        f"vault does not know (system identifier {theirs}, {facts(plan)})")
    [warning] = [each for each in plan["preconditions"] if each["name"] == "replaced cluster"]
    assert warning["outcome"] == "warning"
    assert theirs in warning["detail"]
    assert identifier(world.server) in warning["detail"]
    assert warning["fix"]
    told = world.cli(*argv(stranger.data, "--overwrite", stranger.data, "--dry-run"), check=0).text
    assert "WARNING: replaced cluster" in told
    assert "NOT a copy of main" in told


def test_another_server_of_the_vault_is_named(world: World, stranger: Server) -> None:
    theirs = identifier(stranger)
    claim(Vault.open(world.home).server("billing"), Identity(theirs, 16 << 20))
    (world.home / "broken").mkdir()
    (world.home / "broken" / "identity.toml").write_text("nonsense")  # is no reason to plan nothing
    plan = overwriting(world, stranger.data)
    assert f"NOT a copy of main: it is billing or a copy of it (system identifier {theirs}," in plan["overwrites"]
    assert plan["destination"]["state"]["server"] == "billing"


@pytest.mark.parametrize("how", ["cut off", "unreadable", "gone"])
def test_a_cluster_that_cannot_be_told_is_said_to_be_one(world: World, copy: Server, how: str) -> None:
    control = copy.data / "global" / "pg_control"
    match how:
        case "cut off":
            os.truncate(control, 7)
        case "unreadable":
            control.chmod(0)
        case "gone":
            control.unlink()
    plan = overwriting(world, copy.data)
    assert plan["overwrites"] == (
        f"the cluster of PostgreSQL {copy.major} in {copy.data}; whether it is a copy of main is not known: its "
        f"global/pg_control is damaged or cannot be read ({size(plan['destination']['state']['size_bytes'])})")
    assert "--if-holds unknown" in plan["command"]
    assert plan["destination"]["state"]["system_identifier"] is None
    [warning] = [each for each in plan["preconditions"] if each["name"] == "replaced cluster"]
    assert warning["outcome"] == "warning"
    world.cli(*command(plan), "--yes", check=0)  # as reviewed
    assert len(list(copy.directory.glob("data.before-*"))) == 1


def test_what_is_no_cluster_is_told_by_its_names(world: World, place: Path) -> None:
    (place / "letter").write_text("keep me")
    plan = overwriting(world, place)
    assert plan["overwrites"] == f"files in {place} that are no cluster: letter (4.0 KiB)"
    assert "--if-holds no-cluster" in plan["command"]
    assert not [each for each in plan["preconditions"] if each["name"] == "replaced cluster"]


def test_a_disk_with_nothing_but_its_lost_and_found_is_nothing(world: World, place: Path) -> None:
    (place / "lost+found").mkdir()
    plan = overwriting(world, place)
    assert (plan["overwrites"], plan["sets_aside"]) == (None, False)
    assert "--if-holds nothing" in plan["command"]


def test_how_old_and_large_it_is_and_what_becomes_of_it(world: World, copy: Server) -> None:
    plan = overwriting(world, copy.data)
    state = plan["destination"]["state"]
    checkpoint = datetime.fromisoformat(state["checkpoint_at"]).timestamp()
    assert checkpoint == time.mktime(time.strptime(copy.controldata()["Time of latest checkpoint"]))
    there = sum(path.lstat().st_size for path in copy.data.rglob("*") if path.is_file())
    assert there * 0.9 < state["size_bytes"] < there * 1.5
    assert plan["kept_as"] == f"{copy.data}.before-JOB"
    told = world.cli(*argv(copy.data, "--overwrite", copy.data, "--dry-run"), check=0).text
    assert facts(plan) in told
    assert f"{copy.data}.before-JOB, JOB being this restore's job, until you remove it" in told
    world.cli(*command(plan), "--yes", check=0)
    [kept] = copy.directory.glob("data.before-*")
    assert (world.home / "jobs" / kept.name.removeprefix("data.before-")).is_dir()


def test_what_is_too_much_to_be_measured_is_said_to_be(world: World, copy: Server,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE", probe.PROBE.replace("du -sxk", "false"))
    plan = world.plan(Immediate(), directory=str(copy.data), overwrite=str(copy.data), start=False)
    assert plan.replaced.overwrites.endswith(", of unknown size")
    assert plan.replaced.directory_state is not None
    assert plan.replaced.directory_state.size_bytes is None


def test_nothing_is_kept_of_nothing(world: World, place: Path) -> None:
    plan = reviewed(world, place)
    assert (plan["kept_as"], plan["destination"]["state"]["checkpoint_at"]) == (None, None)


# The plan is carried out as it was reviewed, or not at all


def test_the_reviewed_plan_runs(world: World, copy: Server) -> None:
    world.cli(*command(overwriting(world, copy.data)), "--yes", check=0)
    [kept] = copy.directory.glob("data.before-*")
    assert (kept / "global" / "pg_control").exists()


@pytest.mark.parametrize("how", ["--yes", "--detach"])
def test_another_cluster_that_came_since_is_not_set_aside(
    world: World, copy: Server, stranger: Server, how: str
) -> None:
    plan = overwriting(world, copy.data)
    ours, theirs = identifier(copy), identifier(stranger)
    moves_in(stranger, copy.data)
    done = refused(world, plan, copy.data, how=how)
    assert 'condition "planned content" failed' in done.stderr
    assert f"made for a directory that holds the cluster of system identifier {ours}; now it holds" in done.stderr
    assert f"(system identifier {theirs}, last checkpoint " in done.stderr
    assert "NOT a copy of main" in done.stderr
    assert "make the plan again" in done.stderr


@pytest.mark.parametrize("comes", ["nothing", "files", "a cluster"])
def test_whatever_else_is_there_by_then_stops_it(world: World, copy: Server, stranger: Server, comes: str) -> None:
    plan = overwriting(world, copy.data if comes != "a cluster" else _with_letter(copy))
    if comes == "a cluster":
        moves_in(stranger, copy.data)
    else:
        os.rename(copy.data, f"{copy.data}.gone")
        copy.data.mkdir(mode=0o700)
        account().own(copy.data)
        if comes == "files":
            (copy.data / "letter").write_text("keep me")
    said = {"nothing": "now it holds nothing", "files": "now it holds files that are no cluster: letter",
            "a cluster": "the plan was made for a directory that holds files that are no cluster"}[comes]  # fmt: skip
    assert said in refused(world, plan, copy.data).stderr.lower()


def _with_letter(server: Server) -> Path:
    """Its data directory, moved away and with a mere file in it."""
    os.rename(server.data, f"{server.data}.before")
    server.data.mkdir(mode=0o700)
    (server.data / "letter").write_text("not a cluster")
    account().own(server.data)
    return server.data


@pytest.mark.parametrize("comes", ["a file", "a closed directory"])
def test_what_cannot_be_looked_into_by_then_is_told_as_that(world: World, place: Path, comes: str) -> None:
    plan = reviewed(world, place)
    if comes == "a file":
        place.rmdir()
        place.write_text("mine")
    else:
        place.chmod(0)
    done = refused(world, plan)
    assert f"{place} {'is not a directory' if comes == 'a file' else 'cannot be read'}." in done.stderr


@pytest.mark.parametrize("how", ["--yes", "--detach"])
def test_an_incomplete_restore_that_came_since_is_not_removed(world: World, place: Path, how: str) -> None:
    plan = reviewed(world, place)
    assert "--if-holds nothing" in plan["command"]
    left_by(OLDER, place)
    done = refused(world, plan, place, how=how)
    assert "the plan was made for a directory that holds nothing" in done.stderr.lower()
    assert f"now it holds what the incomplete restore {OLDER} left" in done.stderr


def test_only_the_incomplete_restore_that_was_reviewed_is_removed(world: World, place: Path) -> None:
    left_by(OLDER, place)
    plan = reviewed(world, place)
    assert plan["overwrites"] == f"what the incomplete restore {OLDER} left"
    (place / MARKER).write_text((place / MARKER).read_text().replace(OLDER, "20261121T070000Z-01"))
    assert "what the incomplete restore 20261121T070000Z-01 left" in refused(world, plan, place).stderr
    (place / MARKER).write_text((place / MARKER).read_text().replace("20261121T070000Z-01", OLDER))
    world.cli(*command(plan), "--yes", check=0)
    assert not (place / MARKER).exists()


def test_what_was_not_reviewed_is_planned_as_before(world: World, place: Path) -> None:
    left_by(OLDER, place)
    world.cli(*argv(place, "--yes"), check=0)
    assert (place / "global" / "pg_control").exists()


@pytest.mark.parametrize("word", ["", "everything", "-1", "7x", "07"])
def test_a_word_that_a_directory_cannot_be_described_by_is_wrong_usage(world: World, place: Path, word: str) -> None:
    done = world.cli(*argv(place, f"--if-holds={word}", "--dry-run"), check=2)
    assert f"not what a directory can hold: '{word}'" in done.stderr


# Between the plan and the first byte


def run(world: World, plan: RestorePlan, emit: Callable[[Event], None] = discard) -> None:
    asyncio.run(run_restore(plan, load(world.config_file), job="test", emit=emit))


def test_what_comes_while_a_person_reads_the_plan_stops_it(world: World, copy: Server, stranger: Server) -> None:
    data = copy.data
    plan = world.plan(Immediate(), directory=str(data), overwrite=str(data), start=False)
    assert Outcome.FAILED not in {each.outcome for each in plan.preconditions}
    moves_in(stranger, data)
    before = listing(data)
    with pytest.raises(Refused, match="planned content") as refusal:
        run(world, plan)
    assert "NOT a copy of main" in (refusal.value.detail or "")
    assert listing(data) == before


def test_what_comes_while_wal_is_salvaged_stops_it(
    world: World, copy: Server, stranger: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gibibytes of WAL take minutes."""
    data, salvage = copy.data, running.salvage
    plan = world.plan(Immediate(), directory=str(data), overwrite=str(data), start=False)

    async def slow(*args: Any, **options: Any) -> tuple[str, ...]:
        found = await salvage(*args, **options)
        moves_in(stranger, data)
        return found

    monkeypatch.setattr(running, "salvage", slow)
    with pytest.raises(Refused, match="planned content"):
        run(world, plan)
    assert not list(data.parent.glob("data.before-*"))


def test_packs_are_not_rewritten_while_a_restore_reads_them(
    world: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, flush = Vault.open(world.home).server(NAME).leases, Site.flush
    held = []

    async def watched(site: Site) -> None:
        with pytest.raises(Locked), leases.hold(Concern.PACKS):
            pass
        held.append(True)
        await flush(site)

    monkeypatch.setattr(Site, "flush", watched)
    run(world, world.plan(Immediate(), directory=str(place), start=False))
    assert held
    with leases.hold(Concern.PACKS):
        pass


def test_another_vaults_restore_that_begins_at_the_same_time_is_not_emptied(place: Path) -> None:
    """No lock holds between two vaults, and both saw an empty directory; the mark decides."""

    async def both() -> None:
        async with await open_host("here", None) as host:
            await Site(host, str(place), (), "20261123T070000Z-01", False).prepare()
            (place / "base").mkdir()
            with pytest.raises(Refused, match="has changed since it was looked at") as refusal:
                await Site(host, str(place), (), "20261123T080000Z-01", False).prepare()
            assert "20261123T070000Z-01" in (refusal.value.detail or "")

    asyncio.run(both())
    assert (place / "base").is_dir()
    assert (place / MARKER).read_text().startswith("20261123T070000Z-01\n")
