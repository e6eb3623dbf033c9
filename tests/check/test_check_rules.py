"""What each check makes of what was seen: the first cause with its evidence and its fix, and nothing drawn as good
that hangs on it. No server is needed for any of this."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_states import (
    ARCHIVES,
    HOME,
    MIB,
    NOW,
    RECEIVER,
    SIZE,
    SLOT,
    SYSTEM,
    backup,
    findings,
    healthy,
    streamed,
    wal,
)

from pgvault.cli.verbs import VERBS
from pgvault.engine.check.facts import Archiver, Place, ServerState, StreamingFacts
from pgvault.engine.check.run import evaluate_checks
from pgvault.engine.check.table import CHECKS
from pgvault.io.server_facts import ServerFacts
from pgvault.model.backup import BackupStatus, Unreadable
from pgvault.model.check import Check, Finding, Outcome, evaluate, failed, not_applicable, ok, overall, warning
from pgvault.model.errors import Corrupt, PgvaultError, Unreachable
from pgvault.model.lsn import Lsn
from pgvault.vault.identity import Identity

BARMANS = ("PostgreSQL", "archive_mode", "wal_level", "archive_command", "continuous archiving", "directories",
           "retention policy settings", "backup maximum age", "compression settings",
           "minimum redundancy requirements", "ssh", "not in recovery")  # fmt: skip
DOWN = Unreachable("could not connect to main", detail="Nothing listens there.", hint="Check that the server runs.")
FAILING = Archiver("000000010000000000000009", NOW - timedelta(hours=2), "00000001000000000000000A", NOW, 7)
NEVER = Archiver("", None, "", None, 0)


# The chain


def test_the_lines_that_barmans_users_know_are_there_in_their_order() -> None:
    assert [check.name for check in CHECKS if check.name in BARMANS] == list(BARMANS)


def test_each_check_stands_below_what_it_needs() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert seen.issuperset(check.needs), check.name
        assert check.name not in seen
        seen.add(check.name)


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=8), st.data())
def test_nothing_that_hangs_on_a_failure_is_drawn_as_good(outcomes, data) -> None:
    """Whatever the table: what is reached from a failed check through needs is skipped and names a failed one."""
    checks = []
    for number, outcome in enumerate(outcomes):
        needs = data.draw(st.sets(st.integers(0, number - 1)) if number else st.just(set()))
        made = Finding("", outcome, "seen")
        checks.append(Check(str(number), lambda _, made=made: made, tuple(map(str, sorted(needs)))))
    found = evaluate(checks, None)
    failures = {finding.name for finding in found if finding.outcome is Outcome.FAILED}
    for check, finding, outcome in zip(checks, found, outcomes, strict=True):
        blocked = any(found[int(need)].root for need in check.needs)
        assert finding.name == check.name
        assert finding.outcome is (Outcome.SKIPPED if blocked else outcome)
        assert finding.root in ({finding.name} if finding.outcome is Outcome.FAILED else failures if blocked else {""})


def test_what_does_not_apply_blocks_nothing() -> None:
    checks = [Check("ssh", lambda _: not_applicable("not configured")), Check("next", lambda _: ok(), ("ssh",))]
    found = evaluate(checks, None)
    assert [finding.outcome for finding in found] == [Outcome.SKIPPED, Outcome.OK]


def test_secrets_are_masked_in_what_was_seen_and_why() -> None:
    told = "could not connect: password=hunter2"
    [found] = evaluate([Check("PostgreSQL", lambda _: failed(told, told, "pgvault check main"))], None)
    assert (found.detail, found.cause) == ("could not connect: password=***",) * 2
    assert found.fix == "pgvault check main"


def test_the_worst_outcome_counts_and_skipped_ones_do_not() -> None:
    assert overall([ok(), not_applicable("no")]) is Outcome.OK
    assert overall([ok(), warning("hm")]) is Outcome.WARNING
    assert overall([warning("hm"), failed("no"), ok()]) is Outcome.FAILED


def test_a_server_out_of_reach_is_one_failure_and_its_echoes_are_blocked() -> None:
    found = findings(healthy(sql=DOWN, streaming=DOWN))
    assert [name for name, finding in found.items() if finding.outcome is Outcome.FAILED] == ["PostgreSQL"]
    assert found["PostgreSQL"] == Finding("PostgreSQL", Outcome.FAILED, DOWN.message, DOWN.detail, DOWN.hint)
    assert found["PostgreSQL streaming"].cause == found["WAL arriving"].cause == "PostgreSQL"
    assert found["backup maximum age"].outcome is Outcome.OK, "the vault can still be judged"


def test_a_server_out_of_reach_of_which_nothing_is_stored_can_be_judged() -> None:
    nothing = healthy(sql=DOWN, streaming=DOWN, identity=None, backups=(), segments={}, free_bytes=None)
    assert evaluate_checks(nothing).outcome is Outcome.FAILED


# Sound states


def test_all_is_well_when_postgresql_archives() -> None:
    report = evaluate_checks(healthy())
    assert report.outcome is Outcome.OK
    assert not report.problems
    assert {f.name for f in report.findings if f.outcome is Outcome.SKIPPED} == {
        "replication slot", "receive-wal running"}


def test_all_is_well_when_wal_is_streamed_and_archiving_is_off() -> None:
    report = evaluate_checks(streamed())
    assert report.outcome is Outcome.OK
    found = {finding.name: finding for finding in report.findings}
    for name in ("archive_mode", "archive_command", "continuous archiving"):
        assert (found[name].outcome, found[name].detail) == (Outcome.OK, "not used: WAL is streamed")
    assert not [f for f in report.findings if f.outcome is Outcome.SKIPPED]


def test_a_library_may_bring_the_wal() -> None:
    """As basic_archive does that writes into `incoming`."""
    report = evaluate_checks(healthy(settings={"archive_library": "basic_archive", "archive_command": ""}))
    found = {finding.name: finding for finding in report.findings}
    assert report.outcome is Outcome.OK
    assert found["archive_command"].detail == "not used: archive_library = basic_archive"


def test_a_vault_that_is_not_there_yet_is_no_failure() -> None:
    new = Place(HOME / "main", Path("/"), True)
    found = findings(healthy(places=(Place(HOME, Path("/"), True), new), identity=None, backups=(), segments={},
                             server={"last_backup_maximum_age": None}))
    assert found["directories"].detail == "does not exist yet: the first backup creates it"
    assert found["backup maximum age"].outcome is Outcome.OK
    assert Outcome.FAILED not in {finding.outcome for name, finding in found.items() if name != "WAL arriving"}


# One thing wrong at a time: what fails, and what is said to mend it

WRONG: dict[str, tuple[Callable[[], ServerState], str, Outcome, str]] = {
    "neither way": (lambda: healthy(settings={"archive_mode": "off", "archive_command": ""}), "archive_mode",
                    Outcome.FAILED, "ALTER SYSTEM SET archive_command = 'ssh pgvault@vault pgvault put-wal main %f"),
    "neither way, the other way": (lambda: healthy(settings={"archive_mode": "off"}), "archive_mode",
                                   Outcome.FAILED, "pgvault receive-wal main"),
    "minimal WAL": (lambda: healthy(settings={"wal_level": "minimal"}), "wal_level", Outcome.FAILED,
                    "ALTER SYSTEM SET wal_level = replica;"),
    "empty command": (lambda: healthy(settings={"archive_command": ""}), "archive_command", Outcome.FAILED,
                      "ALTER SYSTEM SET archive_command"),
    "empty command beside a receiver": (
        lambda: streamed(settings={"archive_mode": "on"}), "archive_command", Outcome.WARNING, "pg_reload_conf"),
    "WAL thrown away": (lambda: healthy(settings={"archive_command": " /bin/true"}), "archive_command",
                        Outcome.FAILED, "put-wal main"),
    "another server's name": (
        lambda: healthy(settings={"archive_command": "pgvault put-wal other %f < %p"}), "archive_command",
        Outcome.FAILED, "put-wal main"),
    "a library that has precedence": (
        lambda: healthy(settings={"archive_library": "basic_archive"}), "archive_command", Outcome.FAILED,
        "ALTER SYSTEM SET archive_library = '';\nALTER SYSTEM SET archive_command ="),
    "a library that archives elsewhere": (
        lambda: healthy(settings={"archive_library": "basic_archive", "archive_command": ""},
                        segments={1: list(range(1, 9))}), "WAL arriving", Outcome.FAILED,
        "ALTER SYSTEM SET archive_library = '';\nALTER SYSTEM SET archive_command ="),
    "archiver fails": (lambda: healthy(facts={"archiver": FAILING}), "continuous archiving", Outcome.FAILED,
                       "pgvault switch-wal main"),
    "archiver never succeeded": (
        lambda: healthy(facts={"archiver": replace(FAILING, last_archived="", last_archived_at=None)}),
        "continuous archiving", Outcome.FAILED, "pg_current_logfile"),
    "nothing archived yet": (lambda: healthy(facts={"archiver": NEVER}), "continuous archiving", Outcome.WARNING,
                             "pgvault switch-wal main"),
    "no senders": (lambda: healthy(settings={"max_wal_senders": "0"}), "max_wal_senders", Outcome.FAILED,
                   "max_wal_senders = 10"),
    "senders in use": (lambda: healthy(facts={"wal_senders": 9}), "max_wal_senders", Outcome.WARNING,
                       "max_wal_senders = 15"),
    "no REPLICATION": (lambda: healthy(facts={"may_replicate": False, "streaming_user": "Rep l"}, streaming=DOWN),
                       "replication rights", Outcome.FAILED, 'ALTER ROLE "Rep l" REPLICATION;'),
    "no streaming": (lambda: healthy(streaming=DOWN), "PostgreSQL streaming", Outcome.FAILED,
                     "Check that the server runs."),
    "two clusters": (lambda: healthy(streaming=StreamingFacts("1", 1)), "PostgreSQL streaming", Outcome.FAILED,
                     "streaming_conninfo"),
    "another cluster": (lambda: healthy(identity=Identity("42", SIZE)), "system identifier", Outcome.FAILED,
                        "[servers.main]"),
    "lost slot": (lambda: streamed(facts={"slot": replace(SLOT, active=False, wal_status="lost")}, receiver=None),
                  "replication slot", Outcome.FAILED, "pgvault backup main"),
    "slot about to be lost": (lambda: streamed(facts={"slot": replace(SLOT, wal_status="unreserved")}),
                              "replication slot", Outcome.WARNING, "pgvault receive-wal main"),
    "slot far behind": (lambda: streamed(facts={"slot": replace(SLOT, restart_lsn=Lsn(0)), "lsn": Lsn(99 * SIZE)},
                                         segments={1: list(range(99))}),
                        "replication slot", Outcome.WARNING, "pg_drop_replication_slot"),
    "a logical slot": (lambda: streamed(facts={"slot": replace(SLOT, kind="logical")}), "replication slot",
                       Outcome.FAILED, "slot_name"),
    "a receiver without a slot": (lambda: streamed(facts={"slot": None}), "replication slot", Outcome.WARNING,
                                  "pgvault receive-wal main --stop"),
    "a receiver that is not connected": (
        lambda: streamed(facts={"slot": replace(SLOT, active=False)}), "receive-wal running", Outcome.WARNING,
        "pgvault receive-wal main"),
    "a receiver that receives nothing": (
        lambda: streamed(heard_at=NOW - timedelta(minutes=9)), "receive-wal running", Outcome.WARNING,
        "pgvault receive-wal main"),
    "slots in use": (lambda: healthy(facts={"slots": 10}), "max_replication_slots", Outcome.WARNING,
                     "max_replication_slots = 15"),
    "no receiver": (lambda: streamed(receiver=None, facts={"slot": replace(SLOT, active=False)}),
                    "receive-wal running", Outcome.FAILED, "pgvault receive-wal main"),
    "no receiver, but an archiver": (
        lambda: healthy(facts={"slot": replace(SLOT, active=False)}), "receive-wal running", Outcome.WARNING,
        "pg_drop_replication_slot('pgvault')"),
    "another receiver": (lambda: streamed(receiver=None), "receive-wal running", Outcome.FAILED, "active_pid"),
    "archived elsewhere": (lambda: healthy(segments={1: list(range(1, 9))}), "WAL arriving", Outcome.FAILED,
                           "ALTER SYSTEM SET archive_command"),
    "stuck": (lambda: streamed(facts={"lsn": Lsn(20 * SIZE)}), "WAL arriving", Outcome.WARNING, "pgvault wal main"),
    "stuck for long": (lambda: streamed(facts={"lsn": Lsn(99 * SIZE)}), "WAL arriving", Outcome.FAILED,
                       "pg_stat_archiver"),
    "incoming is full": (lambda: healthy(segments={1: [1, 2]}, incoming=3), "WAL arriving", Outcome.WARNING,
                         "pgvault archive-wal main"),
    "nothing arrived": (lambda: streamed(segments={}), "WAL arriving", Outcome.WARNING, "pgvault switch-wal main"),
    "index damaged": (lambda: healthy(wal=Corrupt("the index cannot be used", hint="pgvault rebuild-index main")),
                      "WAL arriving", Outcome.FAILED, "pgvault rebuild-index main"),
    "a gap": (lambda: healthy(segments={1: [1, 2, 3, 6, 7, 8, 9]}), "WAL gaps", Outcome.FAILED, "pgvault backup main"),
    "a gap without backups": (lambda: healthy(backups=(), segments={1: [1, 3, 9]}), "WAL gaps", Outcome.WARNING,
                              "pgvault put-wal main NAME"),
    "a backup without its WAL": (lambda: healthy(backups=(backup(20), backup(9, hours_ago=1))), "WAL gaps",
                                 Outcome.FAILED, "pgvault backup main"),
    "quarantine": (lambda: healthy(quarantined=2), "WAL quarantine", Outcome.WARNING, "/vault/main/quarantine"),
    "no vault": (lambda: healthy(problem=PgvaultError("/vault is not empty and is no vault", hint="Point home ...")),
                 "directories", Outcome.FAILED, "Point home"),
    "not ours": (lambda: healthy(places=(Place(HOME, HOME, False),)), "directories", Outcome.FAILED, "chown pgvault"),
    "full": (lambda: healthy(free_bytes=5 * MIB), "space in the vault", Outcome.FAILED, "/vault"),
    "nearly full": (lambda: healthy(free_bytes=50 * MIB), "space in the vault", Outcome.WARNING, "larger file system"),
    "too small for the first": (lambda: healthy(backups=(), facts={"cluster_bytes": 10_000 * MIB}),
                                "space in the vault", Outcome.FAILED, "larger file system"),
    "damaged facts": (lambda: healthy(unreadable=(Unreadable("20261122T000000Z", "status is missing"),)),
                      "backup facts", Outcome.FAILED, "from a copy of the vault"),
    "no backup": (lambda: healthy(backups=()), "backup maximum age", Outcome.FAILED, "pgvault backup main"),
    "old backup": (lambda: healthy(backups=(backup(hours_ago=25),)), "backup maximum age", Outcome.FAILED,
                   "pgvault backup main"),
    "too few": (lambda: healthy(server={"minimum_redundancy": 2}), "minimum redundancy requirements", Outcome.FAILED,
                "pgvault backup main"),
    "no login": (lambda: healthy(ssh=Unreachable("could not log in to db", hint="ssh postgres@db true")), "ssh",
                 Outcome.FAILED, "ssh postgres@db true"),
    "no checksums": (lambda: healthy(settings={"data_checksums": "off"}), "data checksums", Outcome.WARNING,
                     "pg_checksums --enable -D /data"),
    "may not switch": (lambda: healthy(facts={"may_switch_wal": False, "database": "app"}), "SQL rights",
                       Outcome.WARNING, "GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO pgvault;"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_cause_and_its_fix(case: str) -> None:
    make, name, outcome, fix = WRONG[case]
    finding = findings(make())[name]
    assert finding.outcome is outcome, finding
    assert finding.detail
    assert fix in finding.fix


@pytest.mark.parametrize("case", WRONG)
def test_a_fix_only_names_verbs_that_exist(case: str) -> None:
    make, name, _, _ = WRONG[case]
    finding = findings(make())[name]
    for verb in re.findall(r"\bpgvault ([a-z-]+)\b", finding.fix):
        assert verb in VERBS, finding.fix


def _facts(**changes: object) -> ServerFacts:
    return replace(ServerFacts(SYSTEM, "18.6", 18, SIZE, "/data", False), **changes)  # type: ignore[arg-type]


def test_a_newer_major_is_a_warning_and_blocks_nothing() -> None:
    """Rule 34."""
    report = evaluate_checks(healthy(facts={"server": _facts(version="20beta1", major=20)}))
    assert report.outcome is Outcome.WARNING
    assert [finding.name for finding in report.problems] == ["PostgreSQL version"]
    assert "WAL records are not read" in report.problems[0].cause


def test_a_secret_in_a_command_of_the_server_is_not_shown() -> None:
    found = findings(healthy(settings={"archive_command": "PGPASSWORD=hunter2 pgvault put-wal other %f < %p"}))
    assert found["archive_command"].outcome is Outcome.FAILED
    assert "PGPASSWORD=*** pgvault put-wal other" in found["archive_command"].detail
    assert "hunter2" not in str(found)


def test_a_standby_is_told_from_a_primary() -> None:
    found = findings(healthy(facts={"server": _facts(in_recovery=True)}))
    assert found["not in recovery"].outcome is Outcome.FAILED


def test_a_role_that_does_not_see_the_data_directory_is_warned_of_unless_it_is_configured() -> None:
    blind = {"server": _facts(data_directory="")}
    finding = findings(healthy(facts=blind))["SQL rights"]
    assert finding.outcome is Outcome.WARNING
    assert finding.fix == "GRANT pg_read_all_settings TO pgvault;"
    assert findings(healthy(facts=blind, server={"data_directory": "/data"}))["SQL rights"].outcome is Outcome.OK


def test_another_cluster_does_not_count_as_arriving_wal() -> None:
    """Rule 6: what is compared must be of one cluster."""
    found = findings(healthy(identity=Identity("42", SIZE)))
    assert "42" in found["system identifier"].detail
    assert SYSTEM in found["system identifier"].detail
    assert found["WAL arriving"].cause == "system identifier"


def test_the_end_on_a_segment_boundary_belongs_to_the_segment_before() -> None:
    """Rule 5: a server that has just closed segment 9 has finished it, and nothing is behind."""
    assert findings(healthy(facts={"lsn": Lsn(10 * SIZE)}))["WAL arriving"].detail.endswith(", 0 behind")
    assert findings(healthy(facts={"lsn": Lsn(11 * SIZE)}))["WAL arriving"].detail.endswith(", 1 behind")


def test_segments_of_another_timeline_are_not_taken_for_those_of_the_servers() -> None:
    """Rule 13."""
    found = findings(streamed(facts={"timeline": 2}))
    assert found["WAL arriving"].detail == "no segment of timeline 2 has arrived yet"


def test_what_a_receiver_brought_proves_that_archived_wal_is_here_although_the_archiver_sends_it_elsewhere() -> None:
    state = streamed(settings={"archive_mode": "on", "archive_command": "cp %p /mnt/old/%f"},
                     facts={"archiver": ARCHIVES})
    assert evaluate_checks(state).outcome is Outcome.OK


def test_a_gap_stays_until_a_newer_backup_makes_it_harmless() -> None:
    """Rule 16."""
    segments = {1: [1, 2, 3, 6, 7, 8, 9]}
    broken = findings(healthy(segments=segments))["WAL gaps"]
    assert broken.detail == "2 missing after 000000010000000000000003"
    mended = findings(healthy(backups=(backup(), backup(7, hours_ago=1)), segments=segments))["WAL gaps"]
    assert (mended.outcome, mended.detail) == (Outcome.OK, "1 before the newest backup begins")


@pytest.mark.parametrize("useless", [
    {"status": BackupStatus.FAILED}, {"status": BackupStatus.WAITING_FOR_WALS}, {"status": BackupStatus.STARTED},
    {"corrupt_pages": ("base/1/2",)}, {"begin_lsn": Lsn(30 * SIZE), "end_lsn": Lsn(31 * SIZE)},
])  # fmt: skip
def test_failed_damaged_and_gap_broken_backups_do_not_count_as_protection(useless: dict) -> None:
    """Rule 18."""
    old, young = backup(hours_ago=30), backup(5, hours_ago=1, **useless)
    found = findings(healthy(backups=(old, young), server={"minimum_redundancy": 2}))
    assert found["minimum redundancy requirements"].detail == "have 1 backup, expected at least 2"
    assert found["backup maximum age"].detail == \
        "interval provided: 1 day, latest backup age: 1 day, 6 hours"  # fmt: skip


def test_the_age_of_a_backup_is_told_in_barmans_words() -> None:
    found = findings(healthy(backups=()))
    assert found["backup maximum age"].detail == "interval provided: 1 day, latest backup age: No available backups"
    assert found["minimum redundancy requirements"].detail == "have 0 backups, expected at least 0"
    assert found["ssh"].detail == "PostgreSQL server"


def test_a_backup_that_ended_in_the_future_is_not_old() -> None:
    """Rule 33: the clock was put back."""
    assert findings(healthy(backups=(backup(hours_ago=-3),)))["backup maximum age"].outcome is Outcome.OK


def test_a_hostile_path_is_quoted_in_the_fix() -> None:
    """Rule 31."""
    home = Path("/vault; rm -rf $HOME")
    place = Place(home, home, False)
    fix = findings(healthy(places=(place,)))["directories"].fix
    assert shlex.split(fix.partition("&&")[0]) == ["chown", "pgvault", str(home)]


def test_a_receiver_is_told_by_who_it_is() -> None:
    assert findings(streamed())["receive-wal running"].detail == RECEIVER
    assert "500 B behind" in findings(streamed())["replication slot"].detail


def test_wal_without_an_index_of_its_own_is_nothing() -> None:
    assert wal({}).newest == {}
