"""Small rules that everything stands on: names, labels, sizes, errors, findings, versions, times of files."""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pgvault.model.backup import major_of
from pgvault.model.backup_plan import BackupPlan
from pgvault.model.check import Finding, Outcome, failed, not_applicable, ok, overall, warning
from pgvault.model.errors import OTHER_USER, NoSpace, PgvaultError, Refused, from_os_error, one_line
from pgvault.model.event import now
from pgvault.model.lsn import Lsn
from pgvault.model.names import check_label, check_name
from pgvault.model.segment import HistoryFile, parse_wal_name
from pgvault.model.times import exact, of_epoch, parse_time, rfc3339, utc
from pgvault.model.units import format_rate, format_size

pytestmark = pytest.mark.usefixtures("far_from_utc")


@pytest.mark.parametrize("name", ["a", "0", "main-db_1.x", "a" * 63, "a-", "a_", "ALL"])
def test_names(name: str) -> None:
    assert check_name(name, "server") == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "_a", "a.", "a..b", "a" * 64, "a/b", "a b", "ä", "a\n"])
def test_what_is_no_name(name: str) -> None:
    """A name becomes a directory's."""
    with pytest.raises(ValueError, match="name") as failure:
        check_name(name, "server")
    assert str(failure.value) == (f"{name!r} cannot be a server's name: use 1 to 63 letters, digits, '-', '_' and '.', "
                                  "starting with a letter or digit")


@pytest.mark.parametrize("name", ["all", "jobs", "locks", "vault"])
def test_words_of_pgvaults_own(name: str) -> None:
    with pytest.raises(ValueError, match="name") as failure:
        check_name(name, "host")
    assert str(failure.value) == f"{name!r} cannot be a host's name: the word is reserved"


def test_labels_are_one_line() -> None:
    for text in ("", "weekly, before the upgrade", "x" * 200, "äß\x80"):
        assert check_label(text, "backup's name") == text
    for text in ("x" * 201, "a\nb", "\x1f", "\x7f"):
        with pytest.raises(ValueError, match="200") as failure:
            check_label(text, "backup's name")
        assert str(failure.value) == \
            "a backup's name must be one line of at most 200 characters without control characters"


@pytest.mark.parametrize(("octets", "told"), [
    (0, "0B"), (1, "1B"), (1023, "1023B"), (1024, "1kB"), (1025, "1025B"), (1536, "1536B"), (3 << 20, "3MB"),
    (1 << 30, "1GB"), (5 << 40, "5TB"), ((1 << 30) + 1024, "1048577kB")])
def test_sizes_are_written_exactly(octets: int, told: str) -> None:
    assert format_size(octets) == told
    assert format_rate(octets) == f"{told}/s"


@pytest.mark.parametrize(("version", "major"), [("18.1", 18), ("19beta1", 19), ("9.6", 9), ("", 0), ("devel", 0)])
def test_majors(version: str, major: int) -> None:
    assert major_of(version) == major


@pytest.mark.parametrize(("text", "position"), [
    ("0/0", 0), ("0/3000028", 0x3000028), ("16/B374D848", 0x16B374D848), ("ffffffff/FFFFFFFF", (1 << 64) - 1)])
def test_positions_are_written_as_postgresql_writes_them(text: str, position: int) -> None:
    assert Lsn.parse(text) == position
    assert str(Lsn(position)) == text.upper()
    assert repr(Lsn(position)) == f"Lsn('{text.upper()}')"


@pytest.mark.parametrize("text", ["", "0", "/1", "1/", "1/123456789", "g/0", "1/2/3", "-1/0"])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="position") as failure:
        Lsn.parse(text)
    assert str(failure.value) == f"not a WAL position: {text!r}; write it as 16/B374D848"


def test_a_timelines_number_is_hexadecimal() -> None:
    assert parse_wal_name("0000001A.history") == HistoryFile("0000001A.history", 26)


def test_errors_say_what_why_and_what_to_do() -> None:
    error = PgvaultError("could not do it", detail="It is broken.", hint="Mend it.")
    assert error.args == ("could not do it",)
    assert str(error) == "could not do it\ndetail: It is broken.\nhint: Mend it."
    assert one_line(error) == "could not do it. It is broken. Mend it."
    assert str(PgvaultError("could not")) == one_line(PgvaultError("could not")) == "could not"
    assert one_line(PgvaultError("could not", hint="Wait.")) == "could not. Wait."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system_in_words(number: int) -> None:
    told = from_os_error(OSError(number, os.strerror(number), "/vault/x"), "store it")
    assert type(told) is NoSpace
    assert told.message == "could not store it: no space left"
    assert told.detail == "The file system of /vault/x is full."
    assert told.hint == "Free space there, or move the directory to a larger file system, and run this again."
    assert from_os_error(OSError(number, ""), "store it").detail == "The file system of the destination is full."


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_what_may_not_be_used_in_words(number: int) -> None:
    told = from_os_error(OSError(number, "No way", "/vault/x"), "store it")
    assert type(told) is Refused
    assert (told.message, told.detail, told.hint) == (
        "could not store it: No way", "This user may not access /vault/x.", OTHER_USER)
    assert from_os_error(OSError(number, "No way"), "store it").detail == "This user may not access it."


def test_other_failures_of_the_system_in_words() -> None:
    told = from_os_error(OSError(errno.EIO, "Input/output error", "/vault/x"), "store it")
    assert type(told) is PgvaultError
    assert (told.message, told.detail) == ("could not store it: Input/output error", "Path: /vault/x.")
    told = from_os_error(OSError("odd"), "store it")
    assert (told.message, told.detail, told.hint) == ("could not store it: odd", "", "")


def test_findings() -> None:
    assert warning("seen", "why", "do") == Finding("", Outcome.WARNING, "seen", "why", "do")
    assert failed("seen", "why", "do") == Finding("", Outcome.FAILED, "seen", "why", "do")
    assert warning("seen") == Finding("", Outcome.WARNING, "seen")
    assert failed("seen") == Finding("", Outcome.FAILED, "seen")
    assert ok("seen") == Finding("", Outcome.OK, "seen")
    assert ok() == Finding("", Outcome.OK)
    assert not_applicable("why") == Finding("", Outcome.SKIPPED, "why")
    assert not_applicable("why").root == ""


def test_the_worst_finding_counts() -> None:
    assert overall([]) is overall([ok(), not_applicable("x")]) is Outcome.OK
    assert overall([ok(), warning("x")]) is Outcome.WARNING
    assert overall([warning("x"), failed("x"), ok()]) is Outcome.FAILED


def test_a_backups_plan_is_a_command() -> None:
    assert BackupPlan("main").to_argv() == ["pgvault", "backup", "main", "--jobs", "1", "--no-immediate-checkpoint"]
    plan = BackupPlan("main", "weekly", full=True, immediate_checkpoint=True, workers=4, bandwidth_limit=3 << 20,
                      wait_lock=True)
    assert plan.to_argv() == ["pgvault", "backup", "main", "--jobs", "4", "--immediate-checkpoint", "--name", "weekly",
                              "--bwlimit", "3MB/s", "--full", "--wait-lock"]


@pytest.mark.parametrize(("microsecond", "told"), [(0, ""), (500_000, ".5"), (1, ".000001"), (120, ".00012")])
def test_a_time_keeps_its_fraction(microsecond: int, told: str) -> None:
    moment = datetime(2026, 11, 22, 20, 5, 10, microsecond, tzinfo=timezone(timedelta(hours=1)))
    assert exact(moment) == f"2026-11-22 19:05:10{told}Z"
    assert utc(moment) == f"2026-11-22 19:05:10{told}+00"
    assert parse_time(rfc3339(moment)) == parse_time(exact(moment)) == moment
    assert rfc3339(moment).startswith("2026-11-22T19:05:10")


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01 00:00:01,5Z", 1.5), ("1970-01-01T00:00z", 0), ("1970-01-01 15:59:59+15:59:59", 0),
    ("1970-01-01 00:00 -00:00:01", 1), ("1970-01-01 +0030", -1800), ("1970-01-02 UTC", 86400)])
def test_offsets_are_read_to_the_second(text: str, seconds: float) -> None:
    assert parse_time(text).timestamp() == seconds


@pytest.mark.parametrize(("text", "said"), [
    ("yesterday", "not a time: 'yesterday'; write it as 2026-11-22 20:05:12.5+00 or 2026-11-22 20:05 Europe/Paris"),
    ("1970-01-01 00:00+16", "not an offset from UTC: '+16'"),
    ("1970-01-01 00:00+01:60", "not an offset from UTC: '+01:60'"),
    ("1970-01-01 00:00+01:00:60", "not an offset from UTC: '+01:00:60'"),
    ("1970-01-01 00:00 CET", "'CET' is not an unambiguous time zone; "
                             "use an offset such as +02 or a name such as Europe/Paris"),
    ("2026-03-29 02:30 Europe/Paris", "'2026-03-29 02:30 Europe/Paris' does not exist: the clocks in Europe/Paris")])
def test_what_names_no_instant_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        parse_time(text)


def test_times_are_in_utc_whatever_the_machines_zone() -> None:
    assert now().tzinfo is UTC
    assert parse_time("2026-11-22 20:05 Europe/Paris").tzinfo is UTC
    assert parse_time("2026-11-22 20:05+01").tzinfo is UTC
    assert of_epoch(0) == datetime(1970, 1, 1, tzinfo=UTC)
    for impossible in (1e300, float("nan"), 1 << 62):
        assert of_epoch(impossible) is None
