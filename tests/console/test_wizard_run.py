"""The running restore: every phase with what it came to, the one that runs, what is to come, and the newest events."""

from __future__ import annotations

from datetime import timedelta

from desk import NARROW, NOW, WIDE, Desk, screen
from recovery import ready, recovering, running

from pgvault.console.glyphs import UNICODE
from pgvault.console.jobbook import Followed
from pgvault.console.recovery.draft import Draft, Then
from pgvault.console.recovery.running import Course, Phase, run_fields, to_come
from pgvault.model.event import CommandRan, Noted, PhaseStarted, Progressed
from pgvault.model.job import Job, JobKind, JobState
from pgvault.model.pace import Progress

TO_RUN = ("enter", "enter", "enter", "enter")
DRAFT = Draft("main", expect=("shop.public.orders",))


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_a_course_keeps_what_each_phase_came_to() -> None:
    course = Course()
    course.take([PhaseStarted("copy", 100, NOW), Progressed(60, 1, NOW), Progressed(100, 2, NOW)])
    course.take([PhaseStarted("flush", None, NOW + after(12))])
    assert course.phases == [Phase("copy", NOW, NOW + after(12), 100), Phase("flush", NOW + after(12), None, 0)]


def test_what_is_to_come_is_what_the_plan_has() -> None:
    assert to_come(DRAFT, ["copy"]) == ["flush", "start", "recover", "look"]
    assert to_come(Draft("main", expect=()), ["salvage", "copy", "flush"]) == ["start", "recover"]
    assert to_come(Draft("main", start=False), []) == ["copy", "flush"]
    assert to_come(Draft("main", then=Then.SHUTDOWN, expect=("a.b.c",)), ["recover"]) == []
    assert to_come(DRAFT, ["a phase of a newer version"]) == ["copy", "flush", "start", "recover", "look"]


def test_one_phase_runs_whatever_was_read_first() -> None:
    """The journal is read a moment after the job was looked at."""
    job = Job("20261123T120000Z-01", JobKind.RESTORE, "main", JobState.RUNNING, "", None, "", NOW, None, "", None)
    behind = Followed(job, "copy", NOW, Progress("copy", 50, 100, None), NOW)
    phases = [Phase("copy", NOW, NOW + after(1), 100), Phase("flush", NOW + after(1))]
    shown = {field.name: field.text for field in run_fields(DRAFT, behind, phases, NOW + after(2), UNICODE, 78)}
    assert shown["done"] == "copies the backup and its WAL: 100 B in 1 s"
    assert shown["now"] == "flushes everything to the destination's disks, for 1 s"
    assert not any("%" in field.text for field in run_fields(DRAFT, behind, phases, NOW, UNICODE, 78))


def test_a_server_that_stands_still_is_drawn_as_that() -> None:
    """Not as 24 % done with some seconds left: it says where it stands, and what it said of that."""
    job = Job("20261123T120000Z-01", JobKind.RESTORE, "main", JobState.RUNNING, "", None, "", NOW, None, "", None)
    followed = Followed(job, "recover", NOW, Progress("recover", 24 << 20, 100 << 20, 11.0 * (1 << 20)),
                        NOW + after(31), moved_at=NOW, note="nothing has moved for 30 s: it waits for a lock")
    shown = "\n".join(field.text for field in run_fields(DRAFT, followed, [Phase("recover", NOW)], NOW + after(33),
                                                           UNICODE, 78))
    assert "24%, 24.0 MiB of 100.0 MiB" in shown
    assert "nothing has moved for 30 s: it waits for a lock" in shown
    assert "left" not in shown
    assert UNICODE.filled not in shown
    moving = "\n".join(field.text for field in run_fields(DRAFT, followed, [Phase("recover", NOW)], NOW, UNICODE, 78))
    assert "7 s left" in moving
    assert UNICODE.filled in moving


async def test_all_phases_are_seen_on_any_terminal(desk: Desk) -> None:
    ready(desk)
    running(desk, PhaseStarted("salvage", None, NOW), PhaseStarted("copy", 144 << 20, NOW + after(3)),
            Progressed(144 << 20, 1210, NOW + after(15)), PhaseStarted("flush", None, NOW + after(15)),
            CommandRan("standby", "sync", 0.2, 0, NOW + after(15)), PhaseStarted("recover", 32 << 20, NOW + after(16)),
            Progressed(8 << 20, 0, NOW + after(17)),
            Noted("standby says: LOG:  redo starts at 0/A000028", at=NOW + after(17)))
    desk.now = NOW + after(20)
    for size in (NARROW, WIDE):
        async with recovering(desk, *(TO_RUN if size == NARROW else ["enter"]), size=size) as pilot:
            shown = [" ".join(line.strip("┃│ ").split()) for line in screen(pilot).splitlines()]
            for expected in ("done saves the WAL of what is overwritten: 3 s",
                             "copies the backup and its WAL: 144.0 MiB in 12 s",
                             "now replays WAL up to the target, in the restored server, for 4 s",
                             "then looks whether the expected tables are there",
                             "state running, 20 s since it began; last heard of 3 s ago"):
                assert expected in shown
            assert any("25%" in line and "8.0 MiB of 32.0 MiB" in line for line in shown)
            assert any("redo starts at 0/A000028" in line for line in shown)
            assert any(line.startswith("┏━ the newest events") or "─ the newest events" in line
                       for line in screen(pilot).splitlines())
