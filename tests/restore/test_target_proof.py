"""What a restore proves when the server was started: rules 30 and 28, cases 32 and 33; and each major of PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.account import account
from support.cli import python_for
from support.fleet import Fleet
from support.objects import wal_path
from support.ssh import SshHost
from target_world import Restored, World, end_world, lsn, make_world

from pgvault.engine.restore import prove
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError, UsageError, WalMissing
from pgvault.model.event import PhaseStarted, Progressed
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, TargetAction
from pgvault.vault.compression import Compression, decompressed


def fill(world: World) -> None:
    """Values 1 and 2 with the restore point `between`; then more WAL than a second of polling replays."""
    world.server.sql("CREATE TABLE logged (value int)")
    world.server.sql("CREATE TABLE bulk (filler text)")
    world.backup()
    world.server.sql("INSERT INTO logged VALUES (1)")
    world.server.sql("INSERT INTO bulk SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i")
    world.server.sql("SELECT pg_create_restore_point('between')")
    world.take_wal()
    world.server.sql("INSERT INTO logged VALUES (2)")
    world.take_wal()


@pytest.fixture(scope="module")
def world(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    made = make_world(fleet, ssh_hosts("openssh"))
    fill(made)
    yield made
    end_world(fleet, made)


def check_progress(restored: Restored) -> None:
    """Of each phase: never backwards, never more than its total."""
    total, done, phases = None, 0, []
    for event in restored.events:
        if isinstance(event, PhaseStarted):
            total, done = event.total_bytes, 0
            phases.append(event.phase)
        elif isinstance(event, Progressed):
            assert done <= event.done_bytes <= (total or event.done_bytes)
            done = event.done_bytes
    assert phases[-1] == "recover"
    assert done == total


@pytest.mark.parametrize("target", [AtName("between"), EndOfWal(), Immediate()], ids=["name", "end", "immediate"])
def test_progress_ends_at_its_total(world: World, target: object) -> None:
    with world.restored(target) as restored:
        check_progress(restored)


def test_the_verdict_at_the_command_line(world: World) -> None:
    """Rule 30: the log's line, the last replayed commit, the new timeline; and the plan's position among them."""
    data = world.root / "by-command"
    try:
        done = world.cli("restore", "main", "auto", data, "--host", "target", "--target-name", "between", "--start",
                         "--yes", "--format", "json", check=0)
        proof = done.json()["proof"]
        timeline = proof["timeline"]
        assert (proof["state"], timeline > 1) == ("promoted", True)
        assert proof["last_commit"].endswith("Z")
        assert any("recovery stopping after WAL location" in line for line in proof["log"])
        assert any(f"selected new timeline ID: {timeline}" in line for line in proof["log"])
        journal = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        assert any("recovery stopping" in json.dumps(event) for event in journal)
        assert f"on timeline {timeline}, last replayed commit" in done.json()["verdict"]
        job = journal[0]["job"]
        world.stop(data)
        plan = world.cli("restore", "main", "auto", world.root / "next", "--host", "target", "--start", "--dry-run",
                         "--format", "json", check=0).json()
        assert plan["estimate_seconds"] > 0
        assert plan["estimate_basis"].startswith(f"measured by job {job} on target: ")
        assert plan["estimate_basis"].endswith(" replay a GiB")
    finally:
        world.stop(data)


@pytest.mark.parametrize("leads_to", ["the restored server", "the original server"])
def test_a_conninfo_of_the_host_has_to_lead_to_the_restored_server(world: World, leads_to: str) -> None:
    """Rule 30: what the original server says of itself proves nothing."""
    conninfo = world.server.conninfo() if leads_to == "the original server" else \
        f"host={world.root} port={world.port} user=postgres dbname=postgres"
    written = world.config_file.read_text()
    world.config_file.write_text(f'{written}\nconninfo = "{conninfo}"\n')
    try:
        if leads_to == "the original server":
            with pytest.raises(PgvaultError, match="does not lead to the restored server"), \
                    world.restored(AtName("between")):
                pass
        else:
            with world.restored(AtName("between")) as restored:
                assert restored.verdict.proof.state == "promoted"
    finally:
        world.config_file.write_text(written)


def test_pause_is_proven(world: World) -> None:
    with world.restored(AtName("between"), action=TargetAction.PAUSE) as restored:
        assert restored.verdict.proof.state == "paused"
        assert restored.sql("SELECT pg_is_in_recovery(), pg_is_wal_replay_paused()") == [(True, True)]
        assert restored.column("SELECT value FROM logged") == [1]
        check_progress(restored)


def test_shutdown_is_proven(world: World) -> None:
    with world.restored(AtName("between"), action=TargetAction.SHUTDOWN) as restored:
        assert restored.verdict.proof.state == "shut down"
        assert any("recovery stopping" in line for line in restored.verdict.proof.log)
        assert not (restored.data / "postmaster.pid").exists()
        assert (restored.data / "recovery.signal").exists()


def test_a_standby_follows_and_tells_its_lag(world: World) -> None:
    """Case 32."""
    with world.restored(EndOfWal(), standby=True) as restored:
        proof = restored.verdict.proof
        assert proof.state == "following"
        assert proof.lag_bytes is not None
        assert f"{proof.lag_bytes} bytes behind the original server" in str(restored.verdict)
        world.server.sql("INSERT INTO logged VALUES (3)")
        here = world.server.scalar("SELECT application_name, sync_state FROM pg_stat_replication")
        assert here
        reached = lsn(world.server.current_lsn())
        prove_reached(restored, reached)
        assert restored.column("SELECT value FROM logged") == [1, 2, 3]
        assert restored.sql("SELECT pg_is_in_recovery()") == [(True,)]
        world.server.sql("DELETE FROM logged WHERE value = 3")
    with pytest.raises(UsageError):
        world.plan(AtName("between"), standby=True)


def prove_reached(restored: Restored, position: int) -> None:
    from support.postgres import wait_until

    wait_until(lambda: lsn(restored.column("SELECT pg_last_wal_replay_lsn()::text")[0]) >= position)


def test_a_standby_that_cannot_follow_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "FOLLOW_SECONDS", 1.0)
    world.write_config(conninfo="host=127.0.0.1 port=1 user=postgres dbname=postgres")
    try:
        with pytest.raises(PgvaultError) as failed, world.restored(EndOfWal(), standby=True):
            pass
        assert "does not follow the original server" in failed.value.message
        assert "FATAL" in failed.value.detail
    finally:
        world.write_config()


def test_recovery_that_ends_too_soon_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 30. PostgreSQL promotes without a word where its WAL ends, also when some of it was lost on the way."""
    from pgvault.engine.restore import contents

    last = world.plan(EndOfWal()).source.wal.last
    command = contents.RESTORE_COMMAND
    monkeypatch.setattr(contents, "RESTORE_COMMAND", f'if [ "%f" = {last} ]; then exit 1; fi; {command}')
    with pytest.raises(WalMissing) as failed, world.restored(EndOfWal()):
        pass
    assert "before the end of the archived WAL" in failed.value.message


@pytest.mark.parametrize("where", ["moved", "without its indexes", "read-only", "read-only without the WAL's index"])
def test_the_vault_alone_is_enough(world: World, where: str) -> None:
    """Case 33, rule 28: the original server is gone, and the vault was copied to another place."""
    copy = world.root / "copied vault"
    if os.geteuid() == 0 and not account().may_read(Path(python_for(account()))):
        pytest.skip("only a person without root's rights can be kept from writing")
    shutil.copytree(world.home, copy)
    try:
        config = world.write_config(copy, conninfo="host=127.0.0.1 port=1 user=postgres dbname=postgres")
        config.chmod(0o644)
        if "without" in where:
            for index in (copy / "main").glob("wal.sqlite*" if "read-only" in where else "*.sqlite*"):
                index.unlink()
        account().own(copy)
        if "read-only" in where:
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
        data = world.root / "elsewhere"
        arguments = ["restore", "main", "auto", data, "--target-name", "between"]
        from support.cli import pgvault

        person = {"config": config, "account": account(), "env": {"XDG_STATE_HOME": str(world.root / "state")}}
        host = hosts_for_a_person(config, world)
        plan = pgvault(*arguments, *host, "--dry-run", "--format", "json", **person)
        assert plan.returncode == 0, plan
        done = pgvault(*arguments, *host, "--yes", "--start", "--format", "json", **person)
        assert done.returncode == 0, done
        assert done.json()["proof"]["state"] == "promoted"
        world.stop(data)
        shutil.rmtree(data)
    finally:
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(copy)


def hosts_for_a_person(config: Path, world: World) -> list[str]:
    """This machine, as the account that may run PostgreSQL and nothing else."""
    text = config.read_text()
    config.write_text(text[: text.index("[hosts.target]")] + f"""
            [hosts.here]
            local = true
            bin_directory = "{world.server.installation.bin}"
            port = {world.port}
            socket_directory = "{world.root}"
            """)
    return ["--host", "here"]


def test_wal_of_an_unknown_major_is_not_searched(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> None:
    """Rules 34 and 35: to the end it can be restored when a person allows it, with a warning; nothing is guessed."""
    world = make_world(fleet, ssh_hosts("openssh"), 18, megabytes=1)
    try:
        world.backup()
        world.server.sql("SELECT pg_create_restore_point('between')")
        world.server.sql("CREATE TABLE logged (value int)")
        world.take_wal()
        plain = world.plan(AtName("between"))
        for path in world.vault.wal.glob("*/*.zst"):
            _make_newer(path)
        world.cli("rebuild-index", "main", check=0)
        for target in (AtName("between"), AtTime(plain.point.stop_time), AtLsn(plain.point.stop_lsn), AtXid(1000)):
            with pytest.raises(WalMissing) as refused:
                world.plan(target)
            assert "Not read: the WAL of a newer PostgreSQL is not known to this version." in refused.value.detail
            assert "--target-end" in refused.value.hint
        for target in (EndOfWal(), Immediate()):
            for allowed, outcome in ((False, Outcome.FAILED), (True, Outcome.WARNING)):
                found = world.plan(target, allow_unread=allowed).preconditions
                unread, = (each for each in found if each.name == "unread WAL")
                assert unread.outcome is outcome
                assert "newer PostgreSQL" in unread.detail
    finally:
        end_world(fleet, world)


def _make_newer(path: Path) -> None:
    """The magic number of its pages, as a newer PostgreSQL may write it."""
    with path.open("rb") as file:
        data = bytearray(b"".join(decompressed(file)))
    for page in range(0, len(data), 8192):
        if data[page : page + 2] == b"\x18\xd1":
            data[page : page + 2] = b"\x30\xd1"
    compression = Compression(1)
    path.write_bytes(compression.add(bytes(data)) + compression.finish())


def test_each_major_stops_at_a_time_a_name_and_the_backups_end(fleet: Fleet, ssh_hosts: Callable[[str], SshHost],
                                                               major: int) -> None:
    world = make_world(fleet, ssh_hosts("openssh"), major, megabytes=1)
    try:
        server = world.server
        server.sql("CREATE TABLE logged (value int)")
        backup = world.backup()
        server.sql("INSERT INTO logged VALUES (1)")
        server.sql("SELECT pg_create_restore_point('one')")
        xid = server.scalar("INSERT INTO logged VALUES (2) RETURNING pg_current_xact_id()::xid::text")
        time = server.scalar("SELECT pg_xact_commit_timestamp(%s::xid)", (xid,))
        server.sql("INSERT INTO logged VALUES (3)")
        world.take_wal()
        for target, there in ((AtName("one"), [1]), (AtTime(time), [1, 2]), (Immediate(), [])):
            with world.restored(target, backup=backup.id) as restored:
                assert restored.column("SELECT value FROM logged ORDER BY value") == there, target
                assert restored.verdict.proof.timeline > 1
        with world.restored(AtName("one"), backup=backup.id, action=TargetAction.PAUSE) as restored:
            assert restored.verdict.proof.state == "paused"
    finally:
        end_world(fleet, world)


def test_the_archived_file_is_what_is_sent(world: World) -> None:
    """Rule 27: the WAL from the backup's start to the target's segment, and no more."""
    plan = world.plan(AtName("between"))
    assert plan.source.wal.last < world.plan(EndOfWal()).source.wal.last
    with world.restored(AtName("between"), start=False) as restored:
        sent = {path.name for path in (restored.data / "pgvault_wal").iterdir()} - {".keep"}
    assert {name for name in sent if not name.endswith(".history")} == set(plan.source.wal.segments)
    assert all(wal_path(world.vault, name).exists() for name in plan.source.wal.segments)
