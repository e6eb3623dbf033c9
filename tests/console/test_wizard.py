"""The recovery wizard as it is used: from what happened to the proof, back again, and where it says no."""

from __future__ import annotations

import asyncio

from desk import WIDE, Desk, Played, failure, press, screen, settle, words, write
from recovery import (
    BACKUP,
    COMMAND,
    DIRECTORY,
    DROPPED,
    JOB,
    OCCUPIED,
    OLDER,
    TOO_LATE,
    VERDICT,
    accident,
    choices,
    condition,
    draft_of,
    plan,
    planned,
    ready,
    recovering,
    running,
    space,
    succeeded,
    wizard,
)

from pgvault.console.recovery.draft import Then, What
from pgvault.console.recovery.drafts import draft_file
from pgvault.console.recovery.steps import Step
from pgvault.console.screens.confirm import Confirm
from pgvault.console.screens.text_box import TextBox
from pgvault.console.wizard.opening import open_wizard
from pgvault.console.wizard.point_step import PointStep
from pgvault.model.event import Failure, Level, Noted, PhaseStarted
from pgvault.model.job import JobState
from pgvault.model.lsn import Lsn
from pgvault.model.target import AtLsn, AtName, AtTime
from pgvault.vault import wal_index

TO_POINT = ("enter",)
TO_WHERE = (*TO_POINT, "enter")
TO_REVIEW = (*TO_WHERE, "enter")
TO_RUN = (*TO_REVIEW, "enter")


# The straight way


async def test_a_dropped_table_is_back_with_nothing_but_enter(desk: Desk) -> None:
    ready(desk)
    assert succeeded(desk) == JOB
    async with recovering(desk) as pilot:
        assert "step 1 of 6" in screen(pilot)
        await press(pilot, "enter")
        assert DROPPED in screen(pilot)
        assert "before 0/E01ADF0 on timeline 1" in screen(pilot)
        await press(pilot, "enter")
        assert f"standby:{DIRECTORY}" in screen(pilot)
        await press(pilot, "enter")
        assert f"Enter: restore to standby:{DIRECTORY}" in screen(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.PROOF
        assert "is there with 1500 rows" in " ".join(screen(pilot).replace("┃", "").split())
        await press(pilot, "enter")
        assert draft_of(desk) is None
        asked = [" ".join(words) for words in pilot.app.queries.commands.asked]
    assert asked[0] == "events main --newest-first --all-timelines --partial --kind drop --kind truncate " \
                       "--kind rewrite --kind drop-database"
    assert f"{COMMAND.removeprefix('pgvault ')} --yes --detach" in asked  # exactly the plan's command
    questions = [option for words in asked for option in ("--choices", "--dry-run") if option in words]
    assert questions == ["--choices", "--dry-run"]  # a person in a hurry waits for each


async def test_where_to_is_asked_anew_when_one_comes_back_to_it(desk: Desk) -> None:
    """The WAL went on meanwhile, and may need a place for one more tablespace."""
    ready(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        desk.says("restore main auto --target-lsn 0/E01ADF0 --exclusive --target-timeline 1 --choices",
                  choices(spaces=(space("fast"),)))
        await press(pilot, "escape")
        assert "a place for it; it was in /mnt/fast" in screen(pilot)


async def test_a_point_is_asked_anew_when_one_comes_back_to_it(desk: Desk) -> None:
    """What was known of it before is not handed on to the next step, where it would take a place away again."""
    ready(desk)
    async with recovering(desk, *TO_REVIEW) as pilot:
        desk.says("restore main auto --target-lsn 0/E01ADF0 --exclusive --target-timeline 1 --choices",
                  choices(spaces=(space("fast"),)))
        await press(pilot, "escape", "escape", "enter")
        assert wizard(pilot).draft.step is Step.WHERE
        assert "a place for it; it was in /mnt/fast" in screen(pilot)


async def test_an_answer_that_was_waited_for_takes_nobody_on_who_has_gone_back(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_POINT) as pilot:
        asking = pilot.app.queries.commands
        assert isinstance(asking, Played)
        wizard(pilot).query_one(PointStep)._forget()
        asking.held = asyncio.Event()
        wizard(pilot).query_one(PointStep).come_up()
        await pilot.press("enter", "escape")
        assert wizard(pilot).draft.step is Step.WHAT
        asking.held.set()
        await settle(pilot)
        assert (wizard(pilot).draft.step, wizard(pilot).draft.point) == (Step.WHAT, None)


async def test_the_finder_names_the_newest_accident_first(desk: Desk) -> None:
    ready(desk)
    desk.says("events main", accident(), accident(name="customers", at="2026-11-23T10:00:00Z", lsn="0/D000000"))
    async with recovering(desk, *TO_POINT) as pilot:
        text = screen(pilot)
        assert text.index(DROPPED) < text.index("DROP TABLE shop.public.customers") < text.index("another point")
        await press(pilot, "down", "enter")
        draft = wizard(pilot).draft
        assert draft.point
        assert (draft.point.target, draft.point.timeline) == (AtLsn(Lsn(0xD000000), False), 1)
        assert draft.expect == ("shop.public.customers",)


async def test_the_command_is_shown_from_the_third_step_on(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE, "c") as pilot:
        assert isinstance(pilot.app.screen, TextBox)
        assert f"restore main auto {DIRECTORY} --host standby --target-lsn 0/E01ADF0 --exclusive" in \
            pilot.app.screen._text
        await press(pilot, "escape", "enter", "c")
        assert pilot.app.screen._text.endswith(COMMAND.removeprefix("pgvault "))


# Points


async def test_where_nothing_was_found_nothing_is_to_be_chosen(desk: Desk) -> None:
    ready(desk)
    desk.says("events main")
    async with recovering(desk, "enter") as pilot:
        assert "┃ all archived WAL was searched, 0 found" in screen(pilot).replace("│", "┃")
        assert "the accident to undo" not in screen(pilot)


async def test_a_point_that_cannot_be_reached_cannot_be_chosen(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto --target-time 2026-11-23 13:00:00+00", TOO_LATE)
    async with recovering(desk, "down", "down", "down", "enter") as pilot:  # a bad deploy
        await write(pilot, "2026-11-23 14:00 Europe/Paris")
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.POINT
        assert "that is 2026-11-23 13:00:00+00" in screen(pilot)
        assert "the archived WAL reaches to 0/F000000" in screen(pilot)
        assert "earlier  2026-11-23 11:50:00Z" in screen(pilot)
        await press(pilot, "enter")  # the nearest one has the focus
        draft = wizard(pilot).draft
        assert draft.step is Step.WHERE
        assert draft.point
        assert isinstance(draft.point.target, AtTime)
        assert draft.point.target.time.isoformat() == "2026-11-23T11:50:00+00:00"


async def test_a_time_without_a_zone_is_refused_with_what_to_write(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, "down", "down", "down", "enter") as pilot:
        await write(pilot, "2026-11-23 11:00")
        await press(pilot, "enter")
        assert "names no time zone; add one" in screen(pilot)
        assert wizard(pilot).draft.point is None


async def test_another_point_than_the_accidents(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_POINT, "end", "enter") as pilot:
        assert "the latest: all archived WAL" in screen(pilot)
        await press(pilot, "down", "down", "down", "down", "enter")
        await write(pilot, "0/E000000")
        await press(pilot, "down", "right", "enter")  # just before it
        draft = wizard(pilot).draft
        assert draft.step is Step.WHERE
        assert draft.point
        assert draft.point.target == AtLsn(Lsn(0xE000000), False)
        await press(pilot, "escape")
        assert "0/E000000" in screen(pilot)
        await press(pilot, "escape")  # from what was typed to the accidents
        assert DROPPED in screen(pilot)


async def test_known_restore_points_are_offered(desk: Desk) -> None:
    ready(desk)
    with wal_index.writing(desk.shelf.server("main")) as index:
        index.connection.execute("INSERT INTO restore_point (name, timeline, number, lsn, end_lsn, at) VALUES "
                                 "('before [red] deploy', 1, 14, 234881024, 234881100, 1795432800000000)")
    async with recovering(desk, *TO_POINT, "end", "enter", "down", "down", "enter") as pilot:
        assert "before [red] deploy" in screen(pilot)
        await press(pilot, "enter", "enter")
        draft = wizard(pilot).draft
        assert draft.point
        assert (draft.point.target, draft.point.timeline) == (AtName("before [red] deploy"), 1)


async def test_another_backup_is_chosen_from_those_that_fit(desk: Desk) -> None:
    ready(desk)
    desk.says(f"restore main {OLDER} --target", choices(backup=OLDER))
    async with recovering(desk, *TO_POINT, "B") as pilot:
        await press(pilot, "end", "enter")
        assert "does not fit: it failed" in screen(pilot)
        await press(pilot, "up", "enter")
        assert f"{OLDER}, chosen by you" in screen(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft.backup == OLDER


async def test_a_search_that_fails_says_why_and_any_point_can_still_be_named(desk: Desk) -> None:
    ready(desk)
    desk.says("events main", answer=failure("could not read the WAL", "Input/output error.", "Check the disk."))
    async with recovering(desk, *TO_POINT) as pilot:
        assert "could not read the WAL" in screen(pilot)
        assert "Check the disk." in screen(pilot)
        desk.says("events main", accident())
        await press(pilot, "t")
        assert DROPPED in screen(pilot)


async def test_outside_text_is_never_markup(desk: Desk) -> None:
    ready(desk)
    desk.says("events main", accident(name="x [/data/pg] y", at="2026-11-23T11:40:14Z"),
              accident(name="[red]\x1b[31m" + "表" * 5000, at="2026-11-23T11:40:13Z", lsn="0/D"),
              accident(name="b\u202eackwards", lsn="0/C"))
    async with recovering(desk, *TO_POINT) as pilot:
        assert "x [/data/pg] y" in screen(pilot)
        assert "\\x1b[31m" in screen(pilot)
        assert "\x1b" not in screen(pilot)
        await press(pilot, "down", "down", "enter")
        assert wizard(pilot).draft.step is Step.WHERE


async def test_a_point_from_elsewhere_begins_where_it_is_checked(desk: Desk) -> None:
    ready(desk)
    async with desk.open() as pilot:
        open_wizard(pilot.app, "main", target=AtLsn(Lsn(0xE000000), False), timeline=1, expect=("shop.public.orders",))
        await settle(pilot)
        await press(pilot, "enter")
        draft = wizard(pilot).draft
        assert (draft.step, draft.expect) == (Step.WHERE, ("shop.public.orders",))


# Where to


async def test_going_back_loses_nothing(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE, "right") as pilot:
        assert wizard(pilot).draft.host == "other"
        await press(pilot, "enter")
        assert "no directory is named" in screen(pilot)
        await press(pilot, "tab")
        await write(pilot, "/srv/copy [1]")
        await press(pilot, "tab", "right")
        before = wizard(pilot).draft
        assert (before.directory, before.then) == ("/srv/copy [1]", Then.PAUSE)
        await press(pilot, "escape", "escape")
        assert wizard(pilot).draft.step is Step.WHAT
        await press(pilot, "enter", "enter")
        assert wizard(pilot).draft == before
        assert "/srv/copy [1]" in screen(pilot)


async def test_escape_never_leaves_the_console(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE, *["escape"] * 3) as pilot:
        assert "your answers are kept" in screen(pilot)
        await press(pilot, "escape", "escape")
        assert pilot.app.is_running


async def test_each_tablespace_needs_a_place(desk: Desk) -> None:
    """Those that replay creates, too."""
    ready(desk, choices(spaces=(space("fast"), space("later", 16401, is_new=True))))
    async with recovering(desk, *TO_WHERE) as pilot:
        assert "tablespace fast: no directory is named" in screen(pilot)
        await press(pilot, *["down"] * 6)
        await write(pilot, "/srv/fast")
        assert "tablespace later: no directory is named" in screen(pilot)
        assert "later was created after the backup began, in /mnt/later" in words(pilot)
        await press(pilot, "down")
        await write(pilot, "/srv/later")
        assert wizard(pilot).draft.tablespaces == (("fast", "/srv/fast"), ("later", "/srv/later"))
        assert "unread WAL" not in screen(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW


async def test_wal_that_nobody_can_read_is_replayed_only_when_it_was_said(desk: Desk) -> None:
    ready(desk, choices(unread=("00000001000000000000000C",)))
    async with recovering(desk, *TO_WHERE) as pilot:
        assert "unread WAL   <refuse>" in screen(pilot)
        assert "--allow-unread-wal" not in wizard(pilot).draft.words()
        await press(pilot, *["down"] * 6, "right")
        assert "--allow-unread-wal" in wizard(pilot).draft.words()
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW


async def test_the_port_is_a_field_and_an_advice_leads_to_it(desk: Desk) -> None:
    ready(desk)
    taken = condition("port 5432", "failed", "Process 7 (postgres) listens there.",
                      "Have the restored server listen on another one: --port PORT; or stop that one first.")
    desk.says("restore main auto /srv", answer=planned(plan(taken)))
    async with recovering(desk, *TO_REVIEW) as pilot:
        said = " ".join(screen(pilot).replace("┃", "").split())
        assert 'Here: esc goes back to where this is chosen: "port".' in said
        await press(pilot, "escape", *["down"] * 5)
        assert "(the host's own, or the one in the restored configuration)" in screen(pilot)
        await write(pilot, "99999")
        assert "a port is a number from 1 to 65,535, not '99999'" in screen(pilot)
        await press(pilot, "backspace")
        assert wizard(pilot).draft.port == "9999"
        assert "--port 9999" in " ".join(wizard(pilot).draft.words())


async def test_the_command_stands_where_there_is_room_whatever_came_last(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE, size=WIDE) as pilot:
        before = screen(pilot)
        assert "command      pgvault" in before
        await press(pilot, "right")
        await press(pilot, "left")
        assert screen(pilot) == before


# The plan


async def test_a_plan_that_cannot_run_says_what_to_change(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=planned(plan(OCCUPIED)))
    async with recovering(desk, *TO_REVIEW) as pilot:
        assert "cannot run" in screen(pilot)
        assert "holds a cluster of PostgreSQL 18" in " ".join(screen(pilot).replace("┃", "").split())
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        assert not any("--detach" in words for words in pilot.app.queries.commands.asked)


async def test_what_overwrites_asks_for_the_directory(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    what = f"the cluster of PostgreSQL 18 in {DIRECTORY}"
    desk.says("restore main auto /srv", answer=planned(plan(overwrites=what)))
    async with recovering(desk, *TO_REVIEW, "enter") as pilot:
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "tab", "enter")  # on an empty line
        assert isinstance(pilot.app.screen, Confirm)
        await write(pilot, "/srv/pg")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm)
        await write(pilot, "/18/main")
        assert not any("--detach" in words for words in pilot.app.queries.commands.asked)
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.PROOF


async def test_an_unreachable_host_is_tried_again(desk: Desk) -> None:
    ready(desk)
    desk.says("restore main auto /srv", answer=failure("could not reach standby", "Connection refused.",
                                                       "Check that sshd runs there.", "unreachable", 7))
    async with recovering(desk, *TO_REVIEW) as pilot:
        assert "could not reach standby" in screen(pilot)
        assert "Check that sshd runs there." in screen(pilot)
        desk.says("restore main auto /srv", answer=planned(plan()))
        await press(pilot, "t")
        assert f"Enter: restore to standby:{DIRECTORY}" in screen(pilot)


async def test_a_world_that_moved_since_the_plan_is_told(desk: Desk) -> None:
    ready(desk)
    desk.says(f"restore main {BACKUP} /srv", answer=failure(
        "cannot restore to standby:/srv/pg/18/main: condition \"directory\" failed",
        f"{DIRECTORY} holds a file.", "Choose another directory.", "refused", 5))
    async with recovering(desk, *TO_RUN) as pilot:
        assert wizard(pilot).draft.step is Step.REVIEW
        text = " ".join(screen(pilot).replace("┃", "").split())
        assert "conditions have changed since the plan was made" in text
        assert "holds a file." in text
        assert wizard(pilot).draft.job == ""


async def test_read_only_plans_and_restores_nothing(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_REVIEW, read_only=True) as pilot:
        assert "step 4 of 4" in screen(pilot)
        assert "proof" not in wizard(pilot).path_bar.text
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.REVIEW
        assert not any("--detach" in words for words in pilot.app.queries.commands.asked)


# Running, and how it ends


async def test_a_running_restore_is_left_and_found_again(desk: Desk) -> None:
    ready(desk)
    running(desk)
    async with recovering(desk, *TO_RUN) as pilot:
        assert "copies the backup and its WAL" in screen(pilot)
        assert "72.0 MiB of 144.0 MiB" in screen(pilot)
        await press(pilot, "escape")
        assert f"job {JOB} continues" in screen(pilot)
    async with recovering(desk, "enter") as pilot:  # another console: the draft leads to the job
        assert wizard(pilot).draft.step is Step.RUN
        assert "72.0 MiB of 144.0 MiB" in screen(pilot)


async def test_silence_is_told_with_what_it_waits_for(desk: Desk) -> None:
    ready(desk)
    running(desk)
    desk.now = desk.now.replace(second=42)
    async with recovering(desk, *TO_RUN) as pilot:
        assert "no news for 42 s: it waits for the destination" in screen(pilot)


async def test_cancelling_takes_two_steps(desk: Desk) -> None:
    ready(desk)
    running(desk)
    desk.says("job cancel", {"schema": 1, "job": {}})
    async with recovering(desk, *TO_RUN, "X", "enter") as pilot:  # the cursor begins on what does nothing
        assert not any("cancel" in words for words in pilot.app.queries.commands.asked)
        await press(pilot, "X", "down", "enter")
        assert ("job", "cancel", JOB, "--wait") in pilot.app.queries.commands.asked
        (desk.journal(JOB).parent / "cancel").touch()
        await pilot.app.read_jobs()
        await press(pilot, "X")
        assert "what was begun is being undone" in screen(pilot)
        assert not isinstance(pilot.app.screen, Confirm)


async def test_a_restore_that_failed_says_why_and_in_which_state_things_are(desk: Desk) -> None:
    ready(desk)
    running(desk, PhaseStarted("copy", 144 << 20, desk.now),
            Noted(f"{DIRECTORY} on standby is incomplete and marked so", Level.WARNING, "incomplete", desk.now),
            desk.ended(state=JobState.FAILED, error=Failure("could not write: no space left", "It is full.",
                                                            "Free space there.", "no-space", 10)), lives=False)
    async with recovering(desk, *TO_RUN) as pilot:
        text = screen(pilot)
        for expected in ("the restore failed", "no space left", "It is full.", "Free space there.",
                         "10: pgvault explain", "is incomplete and marked so"):
            assert expected in text
        await press(pilot, "enter")  # the plan is made again, with all that was said
        draft = wizard(pilot).draft
        assert (draft.step, draft.job, draft.what) == (Step.REVIEW, "", What.TABLE)


async def test_the_proof_has_the_verdict_and_the_way_in(desk: Desk) -> None:
    ready(desk)
    succeeded(desk)
    async with recovering(desk, *TO_RUN) as pilot:
        text = " ".join(screen(pilot).replace("┃", "").split())
        for expected in (VERDICT, "psql here, and back again"):
            assert expected in text
        await press(pilot, "G")
        text = " ".join(screen(pilot).replace("┃", "").split())
        for expected in ("archiving is off there", "recovery stopping before"):
            assert expected in text


# After a crash


async def test_a_crash_loses_nothing(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE, "right", "tab") as pilot:
        await write(pilot, "/srv/else")
        said = wizard(pilot).draft
    async with recovering(desk) as pilot:
        assert "an unfinished recovery of main" in screen(pilot)
        assert f"just before {DROPPED}" in screen(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft == said
        assert "/srv/else" in screen(pilot)


async def test_an_unfinished_recovery_can_be_forgotten(desk: Desk) -> None:
    ready(desk)
    async with recovering(desk, *TO_WHERE):
        pass
    async with recovering(desk, "down", "enter") as pilot:
        draft = wizard(pilot).draft
        assert (draft.step, draft.what, draft.point) == (Step.WHAT, None, None)
    async with recovering(desk, "escape") as pilot:
        assert "servers" in screen(pilot)


async def test_a_draft_that_cannot_be_saved_is_told_once(desk: Desk) -> None:
    ready(desk)
    file = draft_file(desk.shelf.home, "main")
    assert file
    directory = file.path.parent
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.write_text("")  # where a directory has to be
    async with recovering(desk, "enter") as pilot:
        assert "could not save the draft" in screen(pilot)
        await press(pilot, "enter")
        assert wizard(pilot).draft.step is Step.WHERE
        assert "could not save the draft" not in screen(pilot)
        assert "main / recover, not saved / where to" in screen(pilot)
