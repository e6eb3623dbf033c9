"""What comes from outside is drawn as it is: brackets, control characters, wide and long texts (R35)."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from desk import NARROW, NOW, Desk, failure, press, screen, settle
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shelf import Shelf, at, made_backup

from pgvault.console import backup_facts, server_status
from pgvault.console.check_rows import check_table, first_failure, worst_first
from pgvault.console.checks import Checked, NoAnswer
from pgvault.console.fields import failed, laid_out
from pgvault.console.glyphs import ASCII, UNICODE
from pgvault.model.backup import Backup, BackupStatus, Unreadable
from pgvault.model.catalogue import Catalogued
from pgvault.model.check import Finding, Outcome
from pgvault.model.event import Failure
from pgvault.model.job import JobState
from pgvault.model.retention import Retention, RetentionVerdict
from pgvault.model.text import age, visible, width

TEXTS = st.one_of(
    st.text(max_size=80),
    st.sampled_from(["x [/data/pg] y", "[red]", "[/]", "\x1b[31m", "a\r\nb\tc", "漢字" * 30, "\u202eabc", "ש" * 60,
                     "é" * 10, "\u0301", "[link=x]", "A" * 10_000]))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=TEXTS, error=TEXTS, detail=TEXTS)
@example("x [/data/pg] y", "[red]", "[/]")
@example("\x1b[31m", "\u202eabc", "A" * 10_000)
def test_screens_stand_whatever_they_are_told(name: str, error: str, detail: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        desk = Desk(Shelf(Path(home) / "vault", Path(home) / "pgvault.toml"))
        desk.serve("main")
        storable = "".join(char for char in name if char.isprintable() and not 0xD800 <= ord(char) < 0xE000)
        desk.shelf.put(
            replace(made_backup(at(21)), name=storable), made_backup(
                at(22), status=BackupStatus.FAILED, finished_at=None, end_lsn=None,
                error=error.encode("utf-8", "backslashreplace").decode()))
        desk.job(desk.ended(state=JobState.FAILED, error=failure(error or "it failed").failure))
        asyncio.run(_walk(desk, name, error, detail))
        desk.close()


async def _walk(desk: Desk, name: str, error: str, detail: str) -> None:
    app = desk.app(notice=name)
    app.checks.found["main"] = Checked(NOW, Outcome.FAILED, (
        Finding(name or "it", Outcome.FAILED, detail, error, name), Finding(error or "other", Outcome.OK, detail)))
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await settle(pilot)
        assert all(width(line) <= 80 for line in screen(pilot).splitlines())
        await press(pilot, "tab", "tab", "enter", "escape", "2", "enter", "escape", "j", "enter")
        assert "\x1b" not in screen(pilot)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.integers(40, 200))
def test_facts_are_never_wider_than_their_place(name: str, error: str, columns: int) -> None:
    for status in BackupStatus:
        row = backup_facts.Row(_entry(made_backup(at(21), status=status, name=name, error=error,
                                                  corrupt_pages=(name,))))
        for line in laid_out(backup_facts.backup_fields(row, error), columns):
            assert sum(width(str(part)) for part in line) <= columns
    row = backup_facts.Row(Unreadable("20261122T120000Z", error))
    assert all(visible(str(part)) == str(part)
               for line in laid_out(backup_facts.backup_fields(row), 60) for part in line)


@settings(deadline=None)
@given(st.lists(st.builds(Finding, TEXTS, st.sampled_from(Outcome), TEXTS, TEXTS, TEXTS), max_size=20))
def test_what_is_wrong_stands_above_what_it_blocks_and_what_is_well(findings: list[Finding]) -> None:
    shown = worst_first(findings)
    assert sorted(map(id, shown)) == sorted(map(id, findings))
    ranks = [{Outcome.FAILED: 0, Outcome.WARNING: 1, Outcome.OK: 3}.get(each.outcome, 2 if each.cause else 4)
             for each in shown]
    assert ranks == sorted(ranks)
    worst = first_failure(findings)
    assert (worst is None) is all(each.outcome in (Outcome.OK, Outcome.SKIPPED) for each in findings)


@settings(deadline=None)
@given(st.lists(st.builds(Finding, TEXTS, st.sampled_from(Outcome), TEXTS, TEXTS, TEXTS), max_size=20),
       st.one_of(st.none(), st.builds(Failure, TEXTS, TEXTS, TEXTS, TEXTS, st.just(1))), st.integers(60, 200))
def test_checks_are_never_wider_than_their_place(findings: list[Finding], failure: Failure | None,
                                                 columns: int) -> None:
    table = check_table(Checked(NOW, Outcome.OK, tuple(findings)), NoAnswer(NOW, failure) if failure else None, NOW,
                        columns, UNICODE)
    first, second, _ = (column.width + 2 for column in table.columns)
    for row in table.rows:
        assert width(str(row.cells[-1])) <= columns - 1 - first - (second if len(row.cells) == 3 else 0)


def test_a_hint_of_two_lines_stays_one_of_two_lines() -> None:
    """Such as what is to be added to pg_hba.conf: it is copied from the screen."""
    refused = Failure("could not connect", "", "Add this line:\nhost  all  pgvault", "unreachable", 7)
    shown = ["".join(map(str, line)).strip() for line in laid_out(failed(refused), 60)]
    assert shown[1:3] == ["next step    Add this line:", "host  all  pgvault"]


@pytest.mark.parametrize("glyphs", [ASCII, UNICODE])
def test_nothing_unknown_is_drawn_as_good(glyphs) -> None:
    assert server_status.state_part(None, None, glyphs).style == "dim"
    assert str(server_status.reach(None, NOW)) == str(server_status.last_backup(None, NOW)) == "-"
    assert age(None, NOW) == "-"


def _entry(backup: Backup) -> Catalogued:
    return Catalogued(backup, None, None, RetentionVerdict(Retention.NOT_COUNTED, "failed"), None, None, None)
