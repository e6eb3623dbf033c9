"""Case 28, rule 23: a time that is typed has one meaning, or is refused with those it may have; through the CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from support.cli import Completed
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import World, end_world, make_world

HOST_ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]


@pytest.fixture(scope="module")
def typed(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[World]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1)
    world.server.sql("CREATE TABLE logged (value int)")
    world.begun = datetime.now(UTC)
    world.backup()
    world.server.sql("INSERT INTO logged VALUES (1)")
    world.instant = world.server.scalar("SELECT clock_timestamp()")
    world.server.sql("INSERT INTO logged VALUES (2)")
    world.take_wal()
    yield world
    end_world(fleet, world)


def plan(world: World, time: str, zone: str = "UTC", *options: str) -> Completed:
    return world.cli("restore", "main", "auto", world.root / "typed", "--host", "target", "--dry-run", "--format",
                     "json", "--target-time", time, *options, env={"TZ": zone})


@pytest.mark.parametrize(("time", "said"), [
    ("2026-10-25 02:30 Europe/Paris", ["2026-10-25 00:30:00+00", "2026-10-25 01:30:00+00"]),
    ("2026-03-29 02:30 Europe/Paris", ["2026-03-29 00:30:00+00", "2026-03-29 01:30:00+00"]),
    ("2026-11-22 20:05:12", ["names no time zone"]),
    ("2026-11-22 20:05:12 EST", ["'EST'", "unambiguous"]),
    ("2026-11-22 20:05:12 Mars/Olympus", ["Mars/Olympus"]),
    ("yesterday", ["not a time"]),
    ("2026-11-22 25:00 Europe/Paris", ["not a time"]),
    ("", ["not a time"]),
])  # fmt: skip
def test_what_has_no_single_meaning_is_refused_with_its_readings(typed: World, time: str, said: list[str]) -> None:
    done = plan(typed, time, "Europe/Paris")
    assert done.returncode == 2, done
    assert done.stdout == b""
    for words in said:
        assert words in done.stderr


def forms(moment: datetime) -> list[str]:
    clock = "%Y-%m-%d %H:%M:%S.%f"
    paris = moment.astimezone(ZoneInfo("Europe/Paris")).strftime(clock)
    east = moment.astimezone(timezone(timedelta(hours=2))).strftime(clock)
    india = moment.astimezone(ZoneInfo("Asia/Kolkata")).strftime(clock)
    return [moment.strftime(f"{clock}Z"), moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), f"{east}+02", f"{east}+02:00",
            f"{india} +0530", f"{paris} Europe/Paris", f"{india} Asia/Kolkata"]


@pytest.mark.parametrize("number", range(7))
def test_every_form_names_the_same_instant_whatever_the_zone_of_this_machine(typed: World, number: int) -> None:
    moment = typed.instant.astimezone(UTC)
    text = forms(moment)[number]
    done = plan(typed, text, HOST_ZONES[number % 3])
    assert done.returncode == 0, done
    document = done.json()
    shown = moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0") + "+00"
    assert shown in document["target"]["text"]
    assert text in document["target"]["text"]  # as it was typed
    assert f"--target-time '{shown}'" in document["command"]
    assert document["target"]["stop_time"].endswith("Z")


def test_the_configured_zone_is_taken_for_a_time_without_one(typed: World) -> None:
    moment = typed.instant.astimezone(ZoneInfo("Asia/Kolkata"))
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    typed.config_file.write_text(typed.config_file.read_text().replace(
        "parallel_jobs", 'timezone = "Asia/Kolkata"\nparallel_jobs'))
    try:
        with_zone, other = (plan(typed, text, zone).json() for zone in ("UTC", "America/New_York"))
        assert with_zone["target"] == other["target"]
        assert moment.astimezone(UTC).strftime("%H:%M:%S.%f").rstrip("0") in with_zone["target"]["text"]
        assert plan(typed, f"{text}+05:30").json()["target"]["stop_lsn"] == with_zone["target"]["stop_lsn"]
    finally:
        typed.write_config()


def test_a_time_before_a_quiet_backup_is_refused(typed: World) -> None:
    """Rule 22. No commit in the WAL of the backup says how late it was: the backup's own end does."""
    for moment in (typed.begun, typed.begun - timedelta(days=400)):
        done = plan(typed, moment.isoformat())
        assert done.returncode == 9, done
        assert "before the end of backup" in done.stderr


def test_a_time_and_another_target_are_not_both_taken(typed: World) -> None:
    assert plan(typed, "2026-11-22 20:05:12Z", "UTC", "--target-end").returncode == 2
    for option in ("--target-lsn", "--target-name", "--target-xid"):  # as with a shell variable that is not set
        assert typed.cli("restore", "main", "auto", "/nowhere", "--host", "target", option, "").returncode in (2, 9)
    bare = typed.cli("restore", "main", "--host", "target", "/nowhere", "--exclusive", "--target-name", "x")
    assert bare.returncode == 2
