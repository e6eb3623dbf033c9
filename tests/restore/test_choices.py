"""`restore --choices`: what a target comes to, with every backup judged and the nearest targets where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.cli import Completed
from support.fleet import Fleet
from support.objects import wal_path
from support.ssh import SshHost
from target_world import Ended, World, end_world, make_world

from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.times import rfc3339, utc
from pgvault.vault import catalog

MICROSECOND = timedelta(microseconds=1)


class Gap:
    """Values 1 to 4, each in a segment of its own; the second one's is lost. Backups before 1, before 4 and after 4.

    Behind them value 5 with the restore point `twice` on either side.
    """

    def __init__(self, world: World) -> None:
        self.world, server = world, world.server
        server.sql("CREATE TABLE logged (value int)")
        self.oldest = world.backup()
        names = [self.add(1), self.add(2), self.add(3)]
        self.middle = world.backup()
        self.add(4)
        self.newest = world.backup()
        server.sql("SELECT pg_create_restore_point('twice')")
        self.add(5, close=False)
        server.sql("SELECT pg_create_restore_point('twice')")
        server.sql("SELECT pg_create_restore_point('--start')")
        self.ended: list[Ended] = world.ended(world.take_wal())
        self.lost = names[1]
        wal_path(world.vault, self.lost).unlink()
        world.cli("rebuild-index", "main", check=0)

    def add(self, value: int, *, close: bool = True) -> str:
        self.world.server.sql(f"INSERT INTO logged VALUES ({value})")
        return self.world.take_wal() if close else ""

    @property
    def before(self) -> Ended:
        """The last commit before the gap."""
        return max((each for each in self.ended if self.segment(each) < self.lost), key=lambda each: each.lsn)

    @property
    def lost_commit(self) -> Ended:
        return next(each for each in self.ended if self.segment(each) == self.lost)

    def segment(self, each: Ended) -> str:
        return f"00000001{each.lsn >> 32:08X}{(each.lsn & 0xFFFFFFFF) >> 20:08X}"

    def ask(self, *options: str, backup: str = "auto") -> dict[str, Any]:
        document = choices(self.world, *options, backup=backup).json()
        for place in document["nearest"]:  # whatever is offered leads to a plan
            again = choices(self.world, *place["options"], backup=place["backup"] or backup).json()
            assert again["reachable"], (place, again)
            assert (again["stop"]["lsn"], again["stop"]["time"]) == (place["lsn"], place["time"])
        return document


def choices(world: World, *options: str, backup: str = "auto", code: int = 0) -> Completed:
    return world.cli("restore", "main", backup, "--choices", *options, "--format", "json", check=code)


def fit(document: dict[str, Any], backup: Backup) -> dict[str, Any]:
    return next(each for each in document["backups"] if each["id"] == backup.id)


def places(document: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(each["when"], each["time"], each["backup"]) for each in document["nearest"]]


@pytest.fixture(scope="module")
def gap(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Gap]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1, settings={"wal_keep_size": "4GB"})
    yield Gap(world)
    end_world(fleet, world)


def test_a_target_that_can_be_reached(gap: Gap) -> None:
    commit = gap.ended[-1]
    document = gap.ask("--target-time", utc(commit.time - MICROSECOND))
    assert document["reachable"]
    assert (document["reason"], document["nearest"]) == (None, [])
    assert document["target"]["options"] == ["--target-time", utc(commit.time - MICROSECOND)]
    plan = gap.world.cli("restore", "main", "auto", "/nowhere", "--host", "target", "--dry-run", "--format", "json",
                         *document["target"]["options"]).json()
    assert document["stop"] == {"lsn": plan["target"]["stop_lsn"], "replayed": False, "timeline": 1,
                                "time": plan["target"]["stop_time"]}
    assert (document["backup"], document["timeline"]) == (plan["backup"], plan["timeline"]) == (gap.newest.id, 1)
    newest, middle, oldest = document["backups"]
    assert (newest["proposed"], newest["segments"], newest["wal_bytes"]) == (
        True, plan["wal"]["segments"], plan["wal"]["bytes"])
    more = middle["segments"] - newest["segments"]
    assert (middle["fits"], middle["proposed"]) == (True, False)
    assert middle["reason"].startswith(f"would fit too, replays {more} segment")
    assert not oldest["fits"]
    assert f"segment {gap.lost} behind it is missing" in oldest["reason"]
    assert (oldest["segments"], oldest["wal_bytes"]) == (None, None)


def test_no_host_and_no_server_is_asked(gap: Gap) -> None:
    gap.world.write_config(conninfo="host=127.0.0.1 port=1 user=postgres dbname=postgres")
    try:
        assert gap.ask("--host", "target", "--target-end")["backup"] == gap.newest.id
    finally:
        gap.world.write_config()


def test_behind_the_last_commit_the_last_one_is_nearest(gap: Gap) -> None:
    last = max(each.time for each in gap.ended)
    document = gap.ask("--target-time", utc(last + timedelta(hours=1)))
    assert not document["reachable"]
    assert (document["backup"], document["stop"]) == (None, None)
    assert "the last commit is of" in document["reason"]
    assert places(document) == [("earlier", rfc3339(last), None)]
    assert document["nearest"][0]["options"] == ["--target-time", utc(last), "--target-timeline", "1"]
    assert fit(document, gap.newest)["reason"].startswith("reaches only to ")


def test_before_the_oldest_backup_its_end_is_nearest(gap: Gap) -> None:
    document = gap.ask("--target-time", utc(gap.oldest.started_at - timedelta(days=1)))
    assert f"before the end of backup {gap.oldest.id}" in document["reason"]
    assert places(document) == [("later", rfc3339(gap.oldest.end_time), gap.oldest.id)]
    place = document["nearest"][0]
    assert place["options"] == ["--target-immediate", "--target-timeline", "1"]
    assert (place["lsn"], place["text"]) == (str(gap.oldest.end_lsn), f"the end of backup {gap.oldest.id}")
    for each in document["backups"]:
        assert each["reason"].startswith("ends after the target, at ")


@pytest.mark.parametrize("kind", ["time", "position"])
def test_in_a_gap_there_is_one_on_either_side(gap: Gap, kind: str) -> None:
    lost = gap.lost_commit
    document = gap.ask(*(("--target-time", utc(lost.time)) if kind == "time" else ("--target-lsn", str(lost.lsn))))
    assert places(document) == [("earlier", rfc3339(gap.before.time), None),
                                ("later", rfc3339(gap.middle.end_time), gap.middle.id)]
    assert f"segment {gap.lost} behind it is missing" in document["reason"]


def test_the_windows_are_what_lies_on_either_side(gap: Gap) -> None:
    first, second = gap.ask()["windows"]
    assert first["earliest"] == {"time": rfc3339(gap.oldest.end_time), "lsn": str(gap.oldest.end_lsn), "timeline": 1}
    assert first["latest"]["time"] == rfc3339(gap.before.time)
    assert first["backups"] == [gap.oldest.id]
    assert second["earliest"]["time"] == rfc3339(gap.middle.end_time)
    assert second["latest"]["time"] == rfc3339(max(each.time for each in gap.ended))
    assert second["backups"] == [gap.middle.id, gap.newest.id]
    for bound in (first["latest"], second["latest"]):
        assert gap.ask("--target-time", bound["time"])["reachable"]


def test_the_end_of_the_wal_behind_a_named_backup(gap: Gap) -> None:
    """A gap is no end; another backup is."""
    document = gap.ask("--target-end", backup=gap.oldest.id)
    assert places(document)[0][0::2] == ("at", gap.newest.id)
    assert ("earlier", rfc3339(gap.before.time), None) in places(document)
    assert fit(document, gap.newest)["fits"]
    assert not any(each["proposed"] for each in document["backups"])
    assert gap.ask("--target-end", backup="latest")["backup"] == gap.newest.id


def test_the_end_of_each_backup_is_another_place(gap: Gap) -> None:
    document = gap.ask("--target-immediate")
    assert document["backup"] == gap.newest.id
    assert document["stop"]["lsn"] == str(gap.newest.end_lsn)
    assert fit(document, gap.oldest)["reason"].startswith(f"would stop at another place, {gap.oldest.end_lsn}")
    assert gap.ask("--target-immediate", backup="oldest")["backup"] == gap.oldest.id


def test_a_name_that_was_given_twice_is_offered_as_both_places(gap: Gap) -> None:
    document = gap.ask("--target-name", "twice")
    assert document["reason"] == "There are 2 restore points named 'twice'."
    assert [each["when"] for each in document["nearest"]] == ["at", "at"]
    first, second = (each["lsn"] for each in document["nearest"])
    assert first < second
    assert all(each["kind"] == "AtLsn" for each in document["nearest"])


def test_a_name_that_looks_like_an_option_stays_a_name(gap: Gap) -> None:
    document = gap.ask("--target-name=--start")
    assert document["target"]["options"] == ["--target-name=--start"]
    assert gap.ask(*document["target"]["options"])["reachable"]


def test_an_unknown_name_and_an_unknown_timeline(gap: Gap) -> None:
    unknown = gap.ask("--target-name", "thrice")
    assert (unknown["reachable"], unknown["nearest"]) == (False, [])
    assert "'twice'" in unknown["reason"]
    assert fit(unknown, gap.newest)["reason"] == "has no such target in the WAL behind it"
    other = gap.ask("--target-end", "--target-timeline", "7")
    assert other["reason"] == "Timeline 7 is not in the archive."
    assert fit(other, gap.newest)["reason"] == "lies on another branch, timeline 1"


def test_backups_that_are_not_whole(gap: Gap) -> None:
    """Corrupt pages make one the last resort; one that is not done cannot be restored, and one may be unreadable."""
    vault = gap.world.vault
    corrupt, failed = (replace(gap.newest, corrupt_pages=("base/5/1259",)),
                       replace(gap.middle, status=BackupStatus.FAILED, error="the connection was lost"))
    try:
        catalog.write(vault, corrupt)
        document = gap.ask("--target-end")
        assert document["backup"] == gap.middle.id
        assert fit(document, gap.newest)["reason"] == \
            "would fit too, but the server reported corrupt pages in base/5/1259"
        catalog.write(vault, failed)
        document = gap.ask("--target-end")
        assert fit(document, gap.newest)["proposed"]
        assert "no whole one fits" in fit(document, gap.newest)["reason"]
        assert fit(document, gap.middle)["reason"] == "failed: the connection was lost"
        named = gap.ask("--target-immediate", backup=gap.middle.id)
        assert "is FAILED" in named["reason"]
        assert named["nearest"][0]["backup"] == gap.newest.id
    finally:
        catalog.write(vault, gap.newest)
        catalog.write(vault, gap.middle)


def test_in_text(gap: Gap) -> None:
    lost = gap.lost_commit
    done = gap.world.cli("restore", "main", "--choices", "--target-time", utc(lost.time), check=0)
    lines = done.text.splitlines()
    assert any(line.startswith("  earlier") and utc(gap.before.time) in line for line in lines)
    assert f"pgvault restore main {gap.middle.id} --target-immediate --target-timeline 1" in done.text
    assert sum(gap.lost in line for line in lines) == 2
    done = gap.world.cli("restore", "main", "--choices", check=0)
    assert f"{gap.newest.id}  proposed" in done.text


def test_exit_codes(gap: Gap) -> None:
    assert gap.world.cli("restore", "other", "--choices").returncode == 4
    assert choices(gap.world, backup="20200101T000000Z", code=4)
    for wrong in (["--target-time", "yesterday"], ["--dry-run"], ["--detach"], ["--target-lsn", "x"]):
        done = choices(gap.world, *wrong, code=2)
        assert done.stdout == b""
        assert json.loads(done.stderr)["error"]["code"] == "usage"
