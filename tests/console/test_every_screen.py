"""What holds on every screen: the footer, the breadcrumb, esc and ctrl+q, and what a button says that it does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from desk import Desk, press, screen, settle, write
from recovery import plan, planned, ready, recovering, running
from textual._compositor import Compositor
from textual.geometry import Size
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import TextArea

from pgvault.console.base import Change
from pgvault.console.fields import Field
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.model.event import PhaseStarted, Progressed

DEEP = "/srv/postgresql/databases/production/cluster-with-a-long-name/18/main/data-of-the-recovery-of-november"
KINDS = [("1",), ("2",), ("3",), ("4",), ("5",), ("1", "question_mark"), ("1", "ctrl+p"), ("1", "at"), ("1", "b"),
         ("1", "c"), ("1", "y"), ("4", "enter"), ("4", "X"), ("2", "slash"), ("1", "r"), ("1", "r", "enter"),
         ("1", "r", "enter", "enter"), ("1", "r", "enter", "enter", "tab"), ("1", "r", "enter", "enter", "enter")]
"""Keys to every kind of screen and dialog."""


@pytest.fixture
def full(desk: Desk) -> Desk:
    """Everything has something in it, and a restore runs."""
    ready(desk)
    running(desk)
    desk.says("wal main", {"schema": 1})
    return desk


def lines(pilot: Pilot[None]) -> list[str]:
    return screen(pilot).splitlines()


def joined(text: str) -> str:
    """Without borders and blanks, as if nothing were wrapped."""
    return "".join(text.translate(dict.fromkeys(map(ord, "┃│▸"), " ")).split())


async def test_no_key_that_works_is_left_out_for_one_that_does_not(desk: Desk) -> None:
    """R3: where nothing is in the vault yet many keys have nothing to do; one line, and the help at its end."""
    async with desk.open() as pilot:
        for view in "12345":
            await press(pilot, view)
            keys = [pilot.app.view._key(action) for action in pilot.app.view.actions() if action.in_footer]
            footer = lines(pilot)[-1]
            shown = [f" {key.key} {key.label} " in f"{footer} " for key in keys if key.available]
            assert len(footer) <= 80
            assert footer.endswith(" ? help")
            if f"({keys[0].key}" in footer:  # one that does not work has room
                assert all(shown), f"{footer}\nbut {[key for key in keys if key.available]}"


async def test_ctrl_q_always_quits(full: Desk) -> None:
    """R6: from every screen, dialog and line in which one types."""
    for keys in KINDS:
        app = full.app()
        async with full.open(app) as pilot:
            await press(pilot, *keys, "ctrl+q")
        assert app.farewell, keys


async def test_esc_never_quits_and_where_one_is_stands_on_the_screen_whatever_lies_over_it(full: Desk) -> None:
    """R6, R10."""
    async with full.open() as pilot:
        for keys in KINDS:
            await press(pilot, *keys)
            assert lines(pilot)[1].startswith(f" {' / '.join(pilot.app.view.crumbs())} "), keys
            await press(pilot, *["escape"] * (len(keys) + 1))
            assert pilot.app.is_running, keys
            assert len(pilot.app.screen_stack) == 1, keys
        pilot.app.push_screen(Confirm("long", [Field("", f"line {number}") for number in range(90)], act="do it"))
        await settle(pilot)
        assert lines(pilot)[1].startswith(" main / overview ")
        assert "back, and change nothing" in screen(pilot)
        assert "lines below" in screen(pilot)


async def test_the_end_of_where_one_is_is_seen_behind_a_long_name_and_all_of_it_can_be_copied(desk: Desk) -> None:
    """R10."""
    server = "a-server-with-a-name-that-is-as-long-as-names-may-be-at-all-63c"
    desk.serve(server)
    desk.protect(server, days=(22,))
    async with desk.open() as pilot:
        await press(pilot, "2")
        assert lines(pilot)[1].rstrip().endswith("… / backups / 20261122T120000Z")
        await press(pilot, "ctrl+y")
        assert pilot.app.clipboard == f"{server} / backups / 20261122T120000Z"


async def test_the_whole_directory_stands_in_what_is_confirmed(desk: Desk) -> None:
    """R16: where it is typed, where it is chosen, and beside Enter; the key is there with what has room."""
    ready(desk)
    there = plan(overwrites="a cluster of PostgreSQL 18, stopped")
    there["destination"]["directory"] = DEEP
    desk.says("restore main auto /srv", answer=planned(there))
    async with recovering(desk, "enter", "enter", "enter", "enter") as pilot:
        assert f"Tooverwritestandby:{DEEP},type" in joined(screen(pilot))
        await write(pilot, DEEP)
        assert lines(pilot)[-1].startswith(" enter overwrite standby:/srv/postgresql")
        await press(pilot, "escape")
        pilot.app.push_screen(Confirm("open", [], act=f"open the server in {DEEP}"))
        await settle(pilot)
        assert f"opentheserverin{DEEP}." in joined(screen(pilot))
        free = plan()
        free["destination"]["directory"] = DEEP
        desk.says("restore main auto /srv", answer=planned(free))
        await press(pilot, "escape", "escape", "enter")
        assert f"Enter:restoretostandby:{DEEP}" in joined(screen(pilot))


async def test_a_job_at_work_says_when_it_was_heard_of_last(desk: Desk) -> None:
    """R27: phase, bytes, rate, time left and the age of the last event."""
    begun = desk.now - timedelta(seconds=20)
    desk.job(PhaseStarted("copy", 100 << 20, begun), Progressed(40 << 20, 1, begun + timedelta(seconds=16)), lives=True,
             started=begun)
    async with desk.open(size=(120, 40)) as pilot:
        await press(pilot, "4")
        assert "20 s elapsed, heard 4 s ago" in screen(pilot)
        for told in ("copy", "40%", "40.0 MiB of 100.0 MiB", "2.5 MiB/s", "24 s left"):
            assert told in screen(pilot)
        desk.now += timedelta(seconds=7)
        pilot.app.notify_views(Change.CLOCK)
        await settle(pilot)
        assert "heard" not in lines(pilot)[3]
        assert "no news for 11 s" in screen(pilot)


async def test_what_is_copied_stands_in_a_box_even_where_no_terminal_takes_it(desk: Desk) -> None:
    """R31."""
    desk.protect(days=(22,))
    async with desk.open() as pilot:
        await press(pilot, "y")
        text = pilot.app.screen.query_one(TextArea).text
        assert pilot.app.clipboard in ("\n".join(text.splitlines()), text)
        assert text.startswith("main\n")


async def test_a_question_that_is_longer_than_the_screen_is_read_with_the_keys_that_its_footer_names(
        desk: Desk) -> None:
    """And the choice stays on the one that does nothing."""
    async with desk.open() as pilot:
        long = [Field("", f"line {number} of the plan") for number in range(60)]
        for typed in ("", "/srv/pg"):
            pilot.app.push_screen(Confirm("sure", long, act="overwrite db2:/srv/pg", typed=typed and Typed(typed)))
            await settle(pilot)
            assert "pgup pgdn read" in lines(pilot)[-1]
            for _ in range(10):
                await press(pilot, "pagedown")
            assert "line 59 of the plan" in screen(pilot)
            assert "▸back, and change nothing" in screen(pilot)
            await press(pilot, "pageup", "escape")
        pilot.app.push_screen(Confirm("sure", long[:1], act="do it"))
        await settle(pilot)
        assert "pgdn" not in lines(pilot)[-1]


async def test_a_box_has_its_height_from_the_first_frame_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heights, reflow = [], Compositor.reflow

    def noted(self: Compositor, parent: Widget, size: Size) -> object:
        found = reflow(self, parent, size)
        if isinstance(parent, Confirm):
            heights.append(self.full_map[parent.query_one(".dialog")].region.height)
        return found

    monkeypatch.setattr(Compositor, "reflow", noted)
    async with desk.open() as pilot:
        pilot.app.push_screen(Confirm("throw away", [], act=f"remove standby:{DEEP}", typed=Typed(DEEP)))
        await settle(pilot)
        assert "fromitsfirst/on" in joined(screen(pilot))
        assert len(set(heights)) == 1, heights


async def test_what_is_to_be_typed_is_said_exactly(desk: Desk) -> None:
    """The act names the host, too, which is not part of the directory."""
    async with desk.open() as pilot:
        pilot.app.push_screen(Confirm("throw away", [], act="remove db2:/srv/pg", typed=Typed("/srv/pg")))
        await settle(pilot)
        assert "To remove db2:/srv/pg, type the whole directory, from its first / on:" in screen(pilot)
        for typed, keys in (("/srv/p", "type the directory  esc back"), ("g", "enter remove db2:/srv/pg  esc back"),
                            ("x", "type the directory  esc back")):
            await write(pilot, typed)
            assert lines(pilot)[-1].strip() == keys, "Enter does it only behind the whole directory"


async def test_the_head_goes_along_with_the_size_of_the_terminal(full: Desk) -> None:
    """At once, and not with the next look at the clock."""
    async with full.open() as pilot:
        pilot.app.paused = True
        await pilot.resize_terminal(70, 20)
        await settle(pilot)
        assert "small: 80x24 shows more" in lines(pilot)[1]
        assert "dba@ops1" not in lines(pilot)[0]
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "small" not in lines(pilot)[1]
        assert "dba@ops1" in lines(pilot)[0]
