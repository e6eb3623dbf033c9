"""The first view: what a tired person sees first."""

from __future__ import annotations

import asyncio
import shutil
import threading
from datetime import timedelta

import pytest
from desk import NARROW, NOW, WIDE, Desk, failure, press, screen, settle, toasts
from shelf import SERVER
from textual.pilot import Pilot

from pgvault.console.base import Change
from pgvault.console.checks import Checked
from pgvault.console.screens.text_box import TextBox
from pgvault.engine.overview import Protection
from pgvault.model.check import Finding, Outcome
from pgvault.model.errors import Corrupt
from pgvault.model.event import PhaseStarted, Progressed
from pgvault.model.job import JobKind, JobState

DOWN = (
    Finding("PostgreSQL", Outcome.FAILED, "connection refused", "nothing listens on port 5432", "start the server"),
    Finding("wal_level", Outcome.SKIPPED, "blocked by: PostgreSQL", "PostgreSQL"),
    Finding("directories", Outcome.OK), Finding("ssh", Outcome.SKIPPED, "not configured"))


def lines(pilot: Pilot[None], text: str) -> list[str]:
    """Those of the screen that hold the text."""
    return [line for line in screen(pilot).splitlines() if text in line]


def document(*findings: Finding, outcome: str = "ok", server: str = "main") -> dict[str, object]:
    return {"server": server, "outcome": outcome, "checks": [
        {"name": f.name, "outcome": f.outcome.value, "detail": f.detail, "cause": f.cause, "fix": f.fix}
        for f in findings]}


async def test_the_first_screen_says_how_the_server_stands(desk: Desk) -> None:
    desk.protect(days=(20, 21, 22))
    async with desk.open() as pilot:
        row, = lines(pilot, "▸main")
        assert "not run" in row
        for said in ("✓ OK", "23h", "2d to 10m ago"):
            assert said in row
        shown = screen(pilot)
        assert "everything that was promised can be restored" in shown
        assert "2026-11-20 12:01:00Z to 2026-11-23 11:50:00Z, timeline 1" in shown
        assert "3 good, last 20261122T120000Z in 1 min 00 s; 12.7 KiB with WAL " in shown


async def test_a_vault_that_is_read_for_longer_than_the_time_between_two_looks_is_seen(desk: Desk) -> None:
    """Each look ended the one before, whose stamp was kept: the old state stood for good."""
    desk.protect(days=(20, 21, 22))
    async with desk.open() as pilot:
        may_read, read = threading.Event(), pilot.app.queries.protection

        def read_slowly(server: str) -> Protection:
            may_read.wait()
            return read(server)

        pilot.app.queries.protection = read_slowly
        try:
            desk.commit("main", 14, NOW - timedelta(minutes=2))
            for _ in range(3):
                pilot.app._poll_vault()
                await pilot.pause(0.05)
        finally:
            may_read.set()
        await settle(pilot)
        pilot.app._poll_vault()
        await settle(pilot)
        assert "2d to 2m ago" in lines(pilot, "▸main")[0]


async def test_a_short_window_of_some_time_ago_is_not_rounded_away(desk: Desk) -> None:
    desk.protect(days=(23,), until=NOW + timedelta(minutes=3))
    desk.now = NOW + timedelta(minutes=113)
    async with desk.open() as pilot:
        assert "112m to 110m ago" in lines(pilot, "▸main")[0]


async def test_an_environment_is_a_word_beside_the_name(desk: Desk) -> None:
    """R11."""
    desk.serve("main", settings='environment = "production"')
    async with desk.open() as pilot:
        assert "PRODUCTION" in lines(pilot, "▸main")[0]
        assert "PRODUCTION" in lines(pilot, "─ main")[0]


async def test_without_any_backup_it_says_the_key_that_makes_the_first(desk: Desk) -> None:
    async with desk.open() as pilot:
        assert "✗ FAILED" in lines(pilot, "▸main")[0]
        assert "no backup was taken yet" in screen(pilot)
        assert "b takes a backup" in screen(pilot)
    async with desk.open(read_only=True) as pilot:
        assert "pgvault backup main takes a backup" in screen(pilot)


async def test_an_old_backup_is_a_reason_with_its_next_step(desk: Desk) -> None:
    desk.serve("main", settings='last_backup_maximum_age = "1 DAY"')
    desk.protect(days=(20,))
    async with desk.open() as pilot:
        assert "! WARNING" in lines(pilot, "▸main")[0]
        assert lines(pilot, "the last backup is 2 d 23 h old, more than 1 day")
        assert "b takes one" in lines(pilot, "next step")[0]


async def test_a_vault_that_cannot_be_read_is_unknown_and_nothing_of_it_is_good(desk: Desk) -> None:
    """R21."""
    desk.shelf.home.rename(desk.shelf.home.with_name("gone"))
    async with desk.open() as pilot:
        row = lines(pilot, "▸main")[0]
        assert "? UNKNOWN" in row
        assert "OK" not in row
        assert "is not there" in screen(pilot)
        assert "Mount it." in lines(pilot, "next step")[0]


async def test_a_server_that_cannot_be_looked_at_is_unknown(desk: Desk) -> None:
    """R21: whatever it was before."""
    desk.protect()
    app = desk.app()
    async with desk.open(app) as pilot:
        assert "✓ OK" in lines(pilot, "▸main")[0]

        def fails(_: str) -> Protection:
            raise Corrupt("the catalogue cannot be read")

        app.queries.protection = fails
        await app.read_vault(["main"])
        await settle(pilot)
        assert "? UNKNOWN" in lines(pilot, "▸main")[0]
        assert "servers  1 UNKNOWN" in screen(pilot)
        assert "OK" not in lines(pilot, "▸main")[0]


async def test_no_server_is_configured(desk: Desk) -> None:
    """R44."""
    desk.shelf.configure(servers=())
    async with desk.open() as pilot:
        shown = screen(pilot)
        assert "No servers yet." in shown
        assert "[servers.main-db]" in shown
        await press(pilot, "b")
        assert "no server is configured yet" in screen(pilot)


async def test_x_checks_and_the_finding_comes_with_its_cause_and_fix(desk: Desk) -> None:
    desk.says("check main", document(*DOWN, outcome="failed"))
    async with desk.open(size=WIDE) as pilot:
        assert "Not checked yet: x checks this server" in screen(pilot)
        await press(pilot, "x")
        desk.now += timedelta(hours=3)
        pilot.app.notify_views(Change.CLOCK)
        await settle(pilot)
        assert "FAILED 3h" in lines(pilot, "▸main")[0]
        names = [name for name in ("PostgreSQL", "cause", "fix", "wal_level", "directories", "ssh")
                 if lines(pilot, f" {name} ")]
        assert names == ["PostgreSQL", "cause", "fix", "wal_level", "directories", "ssh"]
        assert "start the server" in lines(pilot, "next step")[0]
        await press(pilot, "tab", "tab", "enter")
        assert isinstance(pilot.app.screen, TextBox)
        assert "cause: nothing listens on port 5432" in screen(pilot)


async def test_what_is_well_is_one_line_that_opens_and_the_filter_finds_what_is_folded(desk: Desk) -> None:
    desk.protect()
    app = desk.app()
    well = tuple(Finding(f"check {number}", Outcome.OK) for number in range(30))
    app.checks.found["main"] = Checked(NOW, Outcome.FAILED, (*well, *DOWN))
    async with desk.open(app, size=WIDE) as pilot:
        row, = lines(pilot, "✓ OK       31 checks")
        assert "enter lists them: check 0, check 1" in row
        assert lines(pilot, "1/4"), f"checks, not lines: {screen(pilot)}"
        assert not lines(pilot, "OK       check 0")
        assert screen(pilot).index("connection refused") < screen(pilot).index("31 checks") < screen(pilot).index("ssh")
        await press(pilot, "tab", "tab", "/", "2", "9", "enter")
        assert lines(pilot, "OK       check 29")
        await press(pilot, "escape", "G", "k", "enter")
        assert lines(pilot, "OK       check 0")
        await press(pilot, "enter")
        assert not lines(pilot, "OK       check 0")


async def test_a_large_terminal_shows_the_line_of_time_and_the_backups(desk: Desk) -> None:
    desk.protect(days=(20, 21, 22))
    desk.says("check main", document(*DOWN, outcome="failed"))
    async with desk.open(size=WIDE) as pilot:
        assert lines(pilot, "backups    ◆")
        assert lines(pilot, "window     ├")
        assert len(lines(pilot, "12.7 KiB")) == 1
        assert lines(pilot, "20261121T120000Z   47h")
        await press(pilot, "tab", "tab", "tab", "enter")
        assert lines(pilot, "main / backups / 20261122T120000Z / files")
    async with desk.open() as pilot:
        assert not lines(pilot, "window     ├")


async def test_a_very_large_terminal_is_put_to_use(desk: Desk) -> None:
    """With one backup: each check that is well, the facts of the backup, and higher bars of commits."""
    desk.protect(days=(22,))
    well = [{"name": f"check {number}", "outcome": "ok"} for number in range(33)]
    desk.says("check main", {"server": "main", "outcome": "ok", "checks": well})
    async with desk.open(size=(200, 60)) as pilot:
        await press(pilot, "x")
        assert lines(pilot, "OK       check 32")
        assert lines(pilot, "the newest backup, 20261122T120000Z")
        assert lines(pilot, "compressed, and nothing twice")
        every = screen(pilot).splitlines()
        window, commits = (every.index(lines(pilot, name)[0]) for name in ("window  ", "commits  "))
        assert commits - window > 4
        assert sum(len(line.translate(dict.fromkeys(map(ord, "┃│ ")))) > 5 for line in every) > 45
        await press(pilot, "tab", "enter")
        assert not lines(pilot, "OK       check 32"), "the line that counts them folds them"


async def test_columns_stay_beside_the_name_on_a_wide_terminal(desk: Desk) -> None:
    desk.protect()
    async with desk.open(size=(200, 60)) as pilot:
        assert "▸main    ✓ OK " in lines(pilot, "▸main")[0]
        assert lines(pilot, "┓┌─ checks")


async def test_a_long_name_beside_an_environment_cuts_off_no_outcome(desk: Desk) -> None:
    desk.serve("a-server-with-a-long-name", settings='environment = "production"')
    desk.protect("a-server-with-a-long-name")
    app = desk.app()
    app.checks.found["a-server-with-a-long-name"] = Checked(NOW, Outcome.FAILED, DOWN)
    async with desk.open(app) as pilot:
        row = lines(pilot, "▸a-server")[0]
        assert "PRODUCTION" in row
        assert "FAILED <1m" in row


async def test_a_server_whose_check_failed_is_not_called_well(desk: Desk) -> None:
    """What is stored can be restored, but what is to come may not be stored."""
    desk.protect()
    app = desk.app()
    app.checks.found["main"] = Checked(NOW, Outcome.FAILED, DOWN)
    async with desk.open(app) as pilot:
        assert "OK" not in lines(pilot, "▸main")[0]
        assert "! WARNING" in lines(pilot, "▸main")[0]
        assert "FAILED <1m" in lines(pilot, "▸main")[0]  # not cut off
        assert "servers  1 WARNING" in screen(pilot)
        assert "the check PostgreSQL failed <1m ago: connection refused" in screen(pilot)
        assert "everything that was promised can be restored" not in screen(pilot)


async def test_running_not_run_and_no_answer_look_different(desk: Desk) -> None:
    """R21."""
    desk.says("check main", answer=failure("could not start", hint="Try again."))
    async with desk.open() as pilot:
        commands = pilot.app.queries.commands
        commands.held = asyncio.Event()
        await pilot.press("x")
        await pilot.pause()
        assert "running" in lines(pilot, "▸main")[0]
        assert "The server is asked" in screen(pilot)
        await pilot.press("x")
        await pilot.pause()
        assert "main is being checked" in screen(pilot)
        commands.held.set()
        await settle(pilot)
        assert "no answer" in lines(pilot, "▸main")[0]
        assert lines(pilot, "could not start")
        assert commands.asked == [("check", "main")]


async def test_a_check_without_an_answer_says_why_above_what_was_found_before_with_its_age(desk: Desk) -> None:
    """R21, R34: the vault's disk is gone; that it was well three hours ago must not look like now."""
    desk.says("check main", document(Finding("directories", Outcome.OK), Finding("ssh", Outcome.SKIPPED)))
    async with desk.open(size=WIDE) as pilot:
        await press(pilot, "x")
        assert "✓ OK   " in lines(pilot, "directories")[0]
        desk.now += timedelta(hours=3)
        desk.says("check main", answer=failure("the vault at /srv/vault is not there", "Its disk may not be mounted.",
                                               "Mount it.", "not-found", 4))
        await press(pilot, "x")
        assert "checks  no answer <1m ago; x asks again" in screen(pilot)
        assert "Mount it." in lines(pilot, "next step")[0]
        said = " ".join(screen(pilot).replace("│", " ").split())
        assert ("? no answer the vault at /srv/vault is not there cause Its disk may not be mounted. "
                "next step Mount it. code not-found: pgvault explain not-found") in said
        assert "✓ OK 3h" in lines(pilot, "directories")[0]
        assert "- not run 3h" in lines(pilot, " ssh")[0]
        await press(pilot, "tab", "tab", "enter")
        assert "code: not-found: pgvault explain not-found" in screen(pilot)
        await press(pilot, "escape")
        desk.says("check main", document(Finding("directories", Outcome.OK)))
        await press(pilot, "x")
        assert "no answer" not in screen(pilot)


async def test_cause_and_fix_are_read_whole_without_a_key(desk: Desk) -> None:
    """At 80 columns, where they have the whole width below their finding; the filter keeps them together."""
    cause = "the server's pg_hba.conf has no line that lets the role pgvault in from 10.0.0.9 for replication"
    fix = "add this line to pg_hba.conf: host replication pgvault 10.0.0.9/32 scram-sha-256; then reload it"
    detail = "the connection to 10.0.0.5:5432 was refused by the server's own configuration"
    app = desk.app()
    app.checks.found["main"] = Checked(NOW, Outcome.FAILED, (
        Finding("replication connection", Outcome.FAILED, detail, cause, fix), Finding("directories", Outcome.OK)))
    async with desk.open(app, size=(80, 30)) as pilot:
        told = " ".join(screen(pilot).replace("│", " ").split())
        for said in (detail, f"cause {cause}", f"fix {fix}"):
            assert said in told, said
        await press(pilot, "tab", "tab", "/", *"refused", "enter")
        told = " ".join(screen(pilot).replace("┃", " ").split())
        assert f"fix {fix}" in told
        assert "directories" not in told


async def test_what_cannot_be_read_comes_with_its_code_and_its_own_next_step(desk: Desk) -> None:
    """R34."""
    desk.protect()
    shutil.rmtree(desk.shelf.home)
    async with desk.open(size=WIDE) as pilot:
        assert "? UNKNOWN" in lines(pilot, "▸main")[0]
        assert lines(pilot, " cause ")
        assert lines(pilot, " next step ")
        assert "refused: pgvault explain refused" in lines(pilot, " code ")[0]


async def test_all_are_checked_by_a(desk: Desk) -> None:
    desk.serve("main", "other")
    desk.says("check all", document(Finding("PostgreSQL", Outcome.OK)),
              document(Finding("PostgreSQL", Outcome.WARNING, "slow"), outcome="warning", server="other"))
    async with desk.open() as pilot:
        await press(pilot, "a")
        assert "OK <1m" in lines(pilot, "▸main")[0]
        assert "WARN <1m" in lines(pilot, " other ")[0]


async def test_what_runs_is_seen_with_its_progress_and_its_silence(desk: Desk) -> None:
    """R27, R28."""
    desk.protect()
    job = desk.job(PhaseStarted("copy", 100 << 20, NOW - timedelta(seconds=20)),
                   Progressed(42 << 20, 7, NOW), lives=True)
    desk.job(desk.ended("copied"), kind=JobKind.RESTORE)
    async with desk.open() as pilot:
        row, = lines(pilot, "» backup main")
        assert "42%" in row
        assert "MiB/s" in row
        assert lines(pilot, "✓ restore main  succeeded  <1m ago  copied")
        desk.now += timedelta(seconds=12)
        pilot.app.notify_views(Change.CLOCK)
        await settle(pilot)
        assert lines(pilot, "no news for 12 s  waits on: copy")
        await press(pilot, "b")
        assert toasts(pilot) == [f"a backup of main runs already: job {job}; 4 shows it"]


async def test_a_job_that_failed_says_why(desk: Desk) -> None:
    desk.job(desk.ended(state=JobState.FAILED, error=failure("could not reach main").failure))
    async with desk.open() as pilot:
        assert "could not reach main" in lines(pilot, "✗ backup main  failed")[0]


async def test_fifty_servers_fill_in_as_they_are_read(desk: Desk) -> None:
    """R42: the list stands, and follows the keys, before anything was read."""
    names = [f"db-{number:02}" for number in range(50)]
    desk.shelf.config.write_text(f'[vault]\nhome = "{desk.shelf.home}"\n' + "".join(
        SERVER.format(name=name, settings="") for name in names))
    app, is_held = desk.app(), threading.Event()
    protection = app.queries.protection

    def held(server: str) -> Protection:
        if not is_held.wait(10):  # of a console that waits for it, which would hang
            is_held.set()
        return protection(server)

    app.queries.protection = held
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        await pilot.pause()
        assert "50 servers" in screen(pilot)
        assert "reading" in lines(pilot, "▸db-00")[0]
        await pilot.press("G")
        assert "reading" in lines(pilot, "▸db-49")[0]
        assert not is_held.is_set()
        await pilot.press("g")
        is_held.set()
        await settle(pilot)
        assert "servers  50 FAILED" in screen(pilot)
        await press(pilot, "G")
        assert "✗ FAILED" in lines(pilot, "▸db-49")[0]
        assert pilot.app.server == "db-49"
        await press(pilot, *"/db-3")
        assert "10 of 50" in screen(pilot)


async def test_a_server_in_trouble_is_seen_beside_all_that_goes_on(desk: Desk) -> None:
    """R36: three servers, two jobs, a notice and a check leave room for each server at 80x24."""
    desk.serve("main", "report", "archive")
    desk.protect("main")
    desk.protect("report")
    desk.job(PhaseStarted("copy", 1, NOW), lives=True)
    desk.job(PhaseStarted("copy", 1, NOW), server="report", lives=True)
    app = desk.app(notice="a notice")
    app.checks.found["main"] = Checked(NOW, Outcome.FAILED, DOWN)
    async with desk.open(app) as pilot:
        assert "✗ FAILED" in lines(pilot, " archive ")[0]
        assert "start the server" in lines(pilot, " fix ")[0]


async def test_enter_on_a_server_shows_its_backups(desk: Desk) -> None:
    desk.serve("main", "other")
    desk.protect("other", days=(22,))
    async with desk.open() as pilot:
        await press(pilot, "j", "enter")
        assert "backups of other" in screen(pilot)
        assert "20261122T120000Z" in screen(pilot)


async def test_a_notice_stands_calmly_on_top(desk: Desk) -> None:
    async with desk.open(notice="mytesttable2 was dropped: press r") as pilot:
        assert screen(pilot).splitlines()[2].strip() == "mytesttable2 was dropped: press r"


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_everything_has_its_place(desk: Desk, size: tuple[int, int]) -> None:
    """R36: servers, reason, checks and jobs are all on the screen."""
    desk.protect()
    desk.job(desk.ended("20261122T120000Z"))
    app = desk.app(notice="a notice")
    app.checks.found["main"] = Checked(NOW - timedelta(minutes=2), Outcome.FAILED, DOWN)
    async with desk.open(app, size=size) as pilot:
        shown = screen(pilot)
        for part in ("servers", "WARNING", "checks", "jobs", "start the server", "✓ backup main", "? help", "a notice",
                     "connection refused"):
            assert part in shown, part


async def test_a_tick_while_the_console_ends_draws_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.protect()
    app = desk.app()
    async with desk.open(app):
        close = app._close_all

        async def one_by_one() -> None:
            await app.screen.query("*").remove()
            app.notify_views(Change.CLOCK)
            await close()

        monkeypatch.setattr(app, "_close_all", one_by_one)
