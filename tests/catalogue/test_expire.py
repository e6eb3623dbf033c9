"""expire, delete and keep: what a policy lets go is shown with its reasons, and goes; nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shelf import SIZE, Shelf, made_backup

from pgvault.model.backup import Backup, BackupStatus, Keep
from pgvault.model.errors import Refused
from pgvault.model.segment import Segment
from pgvault.store.keys import Kind
from pgvault.store.leases import Concern
from pgvault.vault import catalog, wal_index
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault
from pgvault.vault.packs import pack_names

WINDOW = 'retention_policy = "RECOVERY WINDOW OF 7 DAYS"'


def days_ago(days: float) -> datetime:
    return (datetime.now(UTC) - timedelta(days=days)).replace(microsecond=0)


def stored(shelf: Shelf, days: int, segment: int, server: str = "main") -> Backup:
    return shelf.with_files(made_backup(days_ago(days), server=server, segment=segment),
                            {"a": b"a" * 9000, f"b{days}": b"b" * days})


@pytest.fixture
def four(shelf: Shelf) -> list[Backup]:
    """Backups of 30, 20, 10 and 1 days ago, with real files, and WAL from before the first to after the last."""
    shelf.configure(WINDOW)
    claim(shelf.server(), Identity("7300000000000000001", SIZE))
    made = [stored(shelf, days, 10 * number) for number, days in enumerate((30, 20, 10, 1), 1)]
    archive(shelf.server(), 5, 45)
    return made


def archive(server: ServerVault, first: int, last: int) -> None:
    """Segments as files and as rows, the newest of which came now."""
    with wal_index.writing(server) as index:
        for number in range(first, last + 1):
            name = Segment(1, number).name(SIZE)
            server.store.put(server.key(Kind.WAL, name), b"wal")
            index.add(wal_index.StoredFile(name, "segment", 1, number, SIZE, 3, bytes(32),
                                           int(datetime.now(UTC).timestamp() * 1_000_000)))


def archived(server: ServerVault) -> list[int]:
    """The segments that are there as files; as rows they are the same."""
    names = [each.name for each in server.store.list(Kind.WAL, server.name)]
    with wal_index.reading(server) as index:
        assert sorted(index.names()) == names
    return [Segment.parse(name, SIZE).number for name in names]


def ids(server: ServerVault) -> list[str]:
    return [each.id for each in catalog.backups(server)]


def test_what_is_outside_the_window_goes_with_its_wal(shelf: Shelf, four: list[Backup]) -> None:
    server, (oldest, old, begins, newest) = shelf.server(), four
    plan = shelf.run("expire", "main", "--dry-run").text
    assert f"{oldest.id}  deleted  outside RECOVERY WINDOW OF 7 DAYS, and nothing needs it" in plan
    assert f"{begins.id}  NEEDED  the recovery window on timeline 1 begins with it" in plan
    assert "Delete 2 backups and 25 WAL files of main: up to " in plan
    assert ids(server) == [each.id for each in four], "only shown"
    done = shelf.run("expire", "main")
    assert f"main: deleted {oldest.id}, {old.id}; removed 25 WAL files (75 B)" in done.text
    assert ids(server) == [begins.id, newest.id]
    assert archived(server) == list(range(30, 46))
    assert not Path(catalog.location(server, oldest.id)).exists()
    again = shelf.run("expire", "main")
    assert "no backup expired" in again.text


def test_the_plan_as_json_has_every_verdict(shelf: Shelf, four: list[Backup]) -> None:
    plan = shelf.json("expire", "main", "--dry-run", "--policy", "REDUNDANCY 1")
    assert [(each["id"], each["verdict"], each["deleted"]) for each in plan["backups"]] == [
        *((each.id, "OBSOLETE", True) for each in four[:3]), (four[3].id, "VALID", False)]
    assert (plan["policy"], plan["wal_files"], plan["command"]) == ("REDUNDANCY 1", 35, None)
    done = shelf.json("expire", "main")
    assert done["deleted"] == [each.id for each in four[:2]], "the policy of the configuration counts"
    assert done["wal_bytes"] == 75


def test_another_policy_is_only_tried(shelf: Shelf, four: list[Backup]) -> None:
    refused = shelf.run("expire", "main", "--policy", "REDUNDANCY 1", check=2)
    assert "--policy needs --dry-run" in refused.stderr
    refused = shelf.run("expire", "main", "--dry-run", "--policy", "KEEP 0 DAILY", check=2)
    assert "0 DAILY would keep no backup" in refused.stderr


def test_without_a_policy_nothing_expires(shelf: Shelf, four: list[Backup]) -> None:
    shelf.configure()
    assert "Nothing expires." in shelf.run("expire", "main", "--dry-run").text
    shelf.run("expire", "main")
    assert len(ids(shelf.server())) == 4
    assert len(archived(shelf.server())) == 41


def test_what_is_kept_stays_with_the_wal_it_is_kept_with(shelf: Shelf, four: list[Backup]) -> None:
    server = shelf.server()
    assert "is kept (standalone) until it is released" in shelf.run(
        "keep", "main", four[0].id, "--target", "standalone").text
    shelf.run("expire", "main")
    assert ids(server) == [four[0].id, four[2].id, four[3].id]
    assert archived(server) == [10, *range(30, 46)]
    assert shelf.json("show-backup", "main", four[0].id)["keep"] == "standalone"
    assert shelf.json("keep", "main", four[0].id, "--release")["keep"] is None
    shelf.run("expire", "main")
    assert ids(server) == [four[2].id, four[3].id]


def test_a_failed_backup_cannot_be_kept(shelf: Shelf) -> None:
    shelf.put(failed := made_backup(days_ago(1), status=BackupStatus.FAILED))
    assert "cannot be kept: it is FAILED" in shelf.run("keep", "main", failed.id, check=5).stderr


def test_one_backup_is_deleted_when_asked(shelf: Shelf, four: list[Backup]) -> None:
    server = shelf.server()
    assert "needs a confirmation" in shelf.run("delete", "main", four[2].id, check=2).stderr
    assert "as asked" in shelf.run("delete", "main", four[2].id, "--dry-run").text
    shelf.run("delete", "main", four[2].id, "--yes")
    assert ids(server) == [four[0].id, four[1].id, four[3].id]
    assert archived(server) == list(range(10, 46)), "what no backup needs goes"
    assert shelf.run("show-backup", "main", four[2].id, check=4).stderr


def test_the_last_good_backup_is_not_deleted_by_mistake(shelf: Shelf, four: list[Backup]) -> None:
    shelf.configure("minimum_redundancy = 4")
    assert "fewer than minimum_redundancy requires" in shelf.run("delete", "main", four[0].id, "--yes", check=5).stderr
    shelf.configure()
    for each in four[:3]:
        shelf.run("delete", "main", each.id, "--yes")
    refused = shelf.run("delete", "main", four[3].id, "--yes", check=5).stderr
    assert "is the last good one of main" in refused
    assert "--force" in refused
    shelf.run("delete", "main", four[3].id, "--yes", "--force")
    assert ids(shelf.server()) == []
    assert archived(shelf.server()) == list(range(40, 46)), "without a backup no WAL goes"


def test_what_is_kept_is_released_before_it_is_deleted(shelf: Shelf, four: list[Backup]) -> None:
    shelf.run("keep", "main", four[0].id)
    refused = shelf.run("delete", "main", four[0].id, "--yes", check=5)
    assert f"pgvault keep main {four[0].id} --release" in refused.stderr


def test_a_clock_that_jumped_expires_nothing(shelf: Shelf) -> None:
    shelf.configure(WINDOW)
    stored(shelf, 500, 10)
    stored(shelf, 400, 20)
    shelf.archive(1, 10, 20)
    refused = shelf.run("expire", "main", check=5).stderr
    assert "the clock of this machine may be wrong" in refused
    assert "nothing has come into the vault since" in refused
    assert len(ids(shelf.server())) == 2
    shelf.run("expire", "main", "--trust-clock")
    assert len(ids(shelf.server())) == 1


def test_while_a_restore_reads_only_the_space_waits(shelf: Shelf, four: list[Backup]) -> None:
    server = shelf.server()
    packs = pack_names(server)
    with server.leases.hold(Concern.PACKS, shared=True):
        done = shelf.run("expire", "main")
    assert "space is freed by the next run" in done.stderr
    assert ids(server) == [four[2].id, four[3].id]
    assert len(archived(server)) == 41
    assert pack_names(server) == packs
    shelf.run("expire", "main")
    assert archived(server) == list(range(30, 46))


def test_a_backup_that_runs_is_not_disturbed(shelf: Shelf, four: list[Backup]) -> None:
    with shelf.server().leases.hold(Concern.BACKUP, job="20261101T120000Z-01"):
        assert shelf.run("expire", "main", check=6).stderr
    assert len(ids(shelf.server())) == 4


def test_an_unreadable_backup_keeps_all_wal_and_all_packs(shelf: Shelf, four: list[Backup]) -> None:
    server = shelf.server()
    facts = Path(catalog.location(server, four[1].id)) / "backup.toml"
    facts.write_text("nonsense = 1")
    done = shelf.run("expire", "main")
    assert "no WAL and no pack is removed while a backup cannot be read" in done.stderr
    assert ids(server) == [four[2].id, four[3].id]
    assert len(archived(server)) == 41


def test_without_the_index_of_the_wal_nothing_is_decided(shelf: Shelf, four: list[Backup]) -> None:
    shelf.server().cache.wal.write_bytes(b"no database, but long enough to be taken for one" * 99)
    refused = shelf.run("expire", "main", check=1).stderr
    assert "it is not known which backups of main can be restored, so none is deleted" in refused
    assert "pgvault rebuild-index main" in refused
    assert len(ids(shelf.server())) == 4


def test_one_server_that_fails_does_not_stop_the_others(shelf: Shelf) -> None:
    shelf.configure(WINDOW, ("broken", "main"))
    for name in ("broken", "main"):
        for number, days in enumerate((30, 20, 1), 1):
            stored(shelf, days, 10 * number, name)
        shelf.archive(1, 10, 30, server=name)
    shelf.server("broken").cache.wal.write_bytes(b"no database, but long enough to be taken for one" * 99)
    done = shelf.run("expire", "all", check=1)
    assert "broken" in done.stderr
    assert len(ids(shelf.server("broken"))) == 3
    assert len(ids(shelf.server("main"))) == 2


def test_from_cron_nothing_is_said_when_nothing_expires(shelf: Shelf) -> None:
    shelf.configure(WINDOW)
    stored(shelf, 1, 10)
    shelf.archive(1, 10, 12)
    done = shelf.run("expire", "main")
    assert (done.text, done.stderr) == ("", "")
    assert shelf.json("expire", "main")["deleted"] == []


def test_a_backup_that_is_kept_meanwhile_is_not_deleted(shelf: Shelf, four: list[Backup]) -> None:
    """Also where that happens between the plan and the act."""
    server = shelf.server()
    catalog.keep(server, four[0].id, Keep.FULL)
    with pytest.raises(Refused, match="is kept on request"):
        catalog.delete(server, four[0].id, datetime.now(UTC))
    assert len(ids(server)) == 4


def test_without_a_policy_what_an_interrupted_delete_left_is_removed_by_the_next_run(shelf: Shelf,
                                                                                     four: list[Backup]) -> None:
    shelf.configure()
    server = shelf.server()
    with server.leases.hold(Concern.PACKS, shared=True):
        shelf.run("delete", "main", four[0].id, "--yes")
    assert len(archived(server)) == 41
    shelf.run("expire", "main")
    assert archived(server) == list(range(20, 46))


def test_a_job_of_its_own_carries_out_what_was_shown(shelf: Shelf) -> None:
    """The clock that was trusted is trusted by the job, and a job with nothing left to do ends as one."""
    shelf.configure(WINDOW)
    for number, days in enumerate((500, 400), 1):
        stored(shelf, days, 10 * number)
    shelf.archive(1, 10, 20)
    for _ in range(2):
        job = shelf.json("expire", "main", "--trust-clock", "--detach")["job"]
        assert shelf.run("job", "watch", job).returncode == 0
        assert len(ids(shelf.server())) == 1


def test_a_plan_that_was_shown_is_carried_out_as_shown_or_not_at_all(shelf: Shelf, four: list[Backup]) -> None:
    command = shelf.json("expire", "main", "--dry-run")["command"].split()[1:]
    shelf.configure('retention_policy = "REDUNDANCY 1"')  # as if another backup had ended meanwhile
    refused = shelf.run(*command, check=5).stderr
    assert "other backups of main expire now than in that plan" in refused
    assert len(ids(shelf.server())) == 4
    shelf.configure(WINDOW)
    shelf.run(*command)
    assert len(ids(shelf.server())) == 2
