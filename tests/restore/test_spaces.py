"""Tablespaces that replay creates: each goes where the plan says, and never where the live server has its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.account import account
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import World, end_world, make_world

from pgvault.engine.restore.sent_wal import SentWal
from pgvault.model.check import Outcome
from pgvault.model.errors import Refused, UsageError
from pgvault.model.replay import TablespaceCreated
from pgvault.model.segment import Segment
from pgvault.model.target import AtName, EndOfWal
from pgvault.vault import wal_index
from pgvault.wal.effects import effects_of


class Site:
    """After the backup its tablespace is dropped, one is created and dropped, then another one; restore points lie
    between them."""

    def __init__(self, world: World) -> None:
        self.world, server = world, world.server
        server.sql("CREATE TABLE kept (n int)")
        server.new_tablespace("old")
        server.sql("CREATE TABLE left_over TABLESPACE old AS SELECT generate_series(1, 10) AS n")
        world.backup()
        server.sql("DROP TABLE left_over; CHECKPOINT")
        server.sql("DROP TABLESPACE old")
        server.new_tablespace("brief")
        server.sql("CREATE TABLE short_lived TABLESPACE brief AS SELECT generate_series(1, 10) AS n")
        self.point("during")
        server.sql("DROP TABLE short_lived; CHECKPOINT")
        server.sql("DROP TABLESPACE brief")
        self.point("between")
        self.live = server.new_tablespace("fast")
        server.sql("CREATE TABLE live TABLESPACE fast AS SELECT generate_series(1, 1000) AS n")
        self.point("with")
        server.sql("INSERT INTO live SELECT generate_series(1001, 3000); CHECKPOINT")
        world.take_wal()

    def point(self, name: str) -> None:
        self.world.server.sql("SELECT pg_create_restore_point(%s)", (name,))

    def files(self) -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in self.live.rglob("*")}

    def place(self, name: str) -> Path:
        """In a directory of the account that runs the servers."""
        return self.world.server.directory / name


@pytest.fixture(scope="module", params=[13, 15, 18])
def site(request: pytest.FixtureRequest, fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Site]:
    world = make_world(fleet, ssh_hosts("openssh"), request.param, megabytes=1, settings={"autovacuum": "off"})
    yield Site(world)
    end_world(fleet, world)


def test_it_goes_to_the_place_that_was_said_and_the_live_one_stays_whole(site: Site) -> None:
    before, place = site.files(), site.place("elsewhere")
    with site.world.restored(AtName("with"), tablespaces=(f"fast={place}",)) as restored:
        (link,) = (path for path in (restored.data / "pg_tblspc").iterdir())
        assert link.resolve() == place.resolve()
        assert restored.column("SELECT count(*) FROM live") == [1000]
        restored.sql("DELETE FROM live")
        restored.sql("VACUUM live")
        restored.sql("CHECKPOINT")
        assert restored.column("SELECT count(*) FROM live") == [0]
        new = next(space for space in restored.verdict.plan.destination.tablespaces if space.name == "fast")
        assert (new.is_new, new.is_gone, new.original) == (True, False, str(site.live))
    assert site.files() == before
    site.world.server.restart()
    assert site.world.server.scalar("SELECT count(*) FROM live") == 3000
    account().run(["rm", "-rf", place])


def test_without_a_place_it_is_refused_by_name_before_anything_is_written(site: Site) -> None:
    with pytest.raises(Refused) as refused:
        site.world.plan(AtName("with"))
    assert "fast, created after the backup began, needs a place" in refused.value.message
    assert "--tablespace fast=PATH" in (refused.value.hint or "")
    done = site.world.cli("restore", "main", "auto", site.place("never"), "--host", "target", "--target-name", "with",
                          "--yes", check=5)
    assert str(site.live) in done.stderr
    assert not site.place("never").exists()


def test_the_live_directory_is_no_place_for_the_copy(site: Site) -> None:
    plan = site.world.plan(AtName("with"), tablespaces=(f"fast={site.live}",))
    assert "tablespace fast" in [each.name for each in plan.failed]


def test_one_that_is_dropped_before_the_target_needs_no_place(site: Site) -> None:
    before = site.files()
    with site.world.restored(AtName("between")) as restored:
        assert list((restored.data / "pg_tblspc").iterdir()) == []
        assert restored.column("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'") == []
    with pytest.raises(Refused, match="brief"):
        site.world.plan(AtName("during"))
    assert site.files() == before


def test_a_name_that_neither_the_backup_nor_the_wal_has(site: Site) -> None:
    with pytest.raises(UsageError) as refused:
        site.world.plan(AtName("with"), tablespaces=("nosuch=/tmp/x",))
    assert "fast" in (refused.value.detail or "")


def test_a_plan_shows_it_and_its_command_makes_the_same_plan(site: Site) -> None:
    place = site.place("planned")
    plan = site.world.plan(EndOfWal(), tablespaces=(f"fast={place}",))
    assert f"fast={place}" in plan.to_argv()
    said = site.world.cli("--format", "json", *plan.to_argv()[1:], "--dry-run", check=0).stdout
    spaces = json.loads(said)["destination"]
    assert spaces["tablespaces"] == {"fast": str(place)}
    assert [(each["name"], each["created_after_backup_began"], each["dropped_before_target"])
            for each in spaces["tablespace_details"]] == [
                ("old", False, True), ("brief", True, True), ("fast", True, False)]


def test_choices_name_those_that_need_a_place(site: Site) -> None:
    said = site.world.cli("--format", "json", "restore", "main", "--target-name", "with", "--choices", check=0).stdout
    told = json.loads(said)
    assert [(each["name"], each["original"], each["created_after_backup_began"]) for each in told["tablespaces"]] == [
        ("fast", str(site.live), True)]
    assert told["unread_wal"] == []
    assert f"--tablespace fast=PATH; on the server it is in {site.live}" in site.world.cli(
        "restore", "main", "--target-name", "with", "--choices", check=0).stdout.decode()


def test_wal_that_nobody_could_read_is_replayed_only_when_it_was_said(site: Site) -> None:
    plan = site.world.plan(EndOfWal(), tablespaces=(f"fast={site.place('unread')}",))
    first = Segment.parse(plan.source.wal.first, plan.source.backup.segment_size)
    with wal_index.writing(site.world.vault) as index:
        index.connection.execute("UPDATE facts SET problem = 'of an unknown version' WHERE number = ?", (first.number,))
    try:
        plan = site.world.plan(EndOfWal(), tablespaces=(f"fast={site.place('unread')}",))
        assert [each.name for each in plan.failed] == ["unread WAL"]
        assert "--allow-unread-wal" not in plan.to_argv()
        plan = site.world.plan(EndOfWal(), tablespaces=(f"fast={site.place('unread')}",), allow_unread=True)
        assert not plan.failed
        assert "--allow-unread-wal" in plan.to_argv()
        said = site.world.cli("--format", "json", "restore", "main", "--choices", check=0).stdout
        assert len(json.loads(said)["unread_wal"]) == 1
    finally:
        with wal_index.writing(site.world.vault) as index:
            index.connection.execute("UPDATE facts SET problem = NULL")


def test_a_standby_says_where_later_ones_go(site: Site) -> None:
    plan = site.world.plan(EndOfWal(), standby=True, tablespaces=(f"fast={site.place('standby')}",))
    (later,) = (each for each in plan.preconditions if each.name == "later tablespaces")
    assert later.outcome is Outcome.WARNING
    assert "at the same path" in later.detail


def test_what_came_to_the_unfinished_segment_after_the_plan_has_no_path_either(site: Site) -> None:
    world, server = site.world, site.world.server
    server.sql("INSERT INTO kept VALUES (1)")
    name = server.scalar("SELECT pg_walfile_name(pg_current_wal_lsn())")
    partial = world.vault.spool.streaming / f"{name}.partial"
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes((server.wal / name).read_bytes())
    plan = world.plan(EndOfWal(), partial=True, tablespaces=(f"fast={site.place('partial')}",))
    assert plan.source.wal.partial
    location = server.new_tablespace("newest")
    server.sql("CHECKPOINT")
    partial.write_bytes((server.wal / name).read_bytes())
    size = plan.source.backup.segment_size
    items = SentWal(world.vault, plan.source.wal, size).items("wal")
    sent = {Path(item.path).name: b"".join(item.plain()) for item in items}
    start = Segment.parse(name, size).start(size)
    for content, is_sent in ((partial.read_bytes(), False), (sent[name], True)):
        created = [each for each in effects_of([(start, content)]) if isinstance(each, TablespaceCreated)]
        assert [each.path for each in created] == [str(location)]  # the index still reads where it was
        assert (b"\0" + str(location)[1:].encode() in content) is is_sent
        assert (str(location).encode() in content) is not is_sent
    partial.unlink()
    server.sql("DROP TABLESPACE newest")
