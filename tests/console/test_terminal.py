"""What only a terminal shows: what is sent to it, and what happens when it goes away."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import IO, cast

import pytest
from desk import Desk
from shelf import Shelf, at, made_backup
from support.cli import environment, pgvault, pgvault_argv
from support.installation import REPOSITORY
from terminal import Terminal
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread
from workshop import VERB, Workshop, wait_until

from pgvault.console.textual_private import TerminalFile
from pgvault.jobs.hold import is_alive
from pgvault.model.event import JobFinished
from pgvault.model.job import JobKind, JobState
from pgvault.vault import catalog

QUIET_SECONDS = 7.0
"""Longer than the console waits between two looks at the vault."""
A_SECOND = 2048
"""Bytes that a running job may cost."""


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A vault with one backup of one server that cannot be reached, and a verb that works until it is told to end."""
    home, place, config = tmp_path / "vault", tmp_path / "place", tmp_path / "pgvault.toml"
    place.mkdir()
    shelf = Shelf(home, config)
    shelf.configure(servers=("main-db",))
    catalog.create(shelf.server("main-db"), made_backup(at(20), server="main-db"))
    shop = Workshop(home, place, config)
    yield shop
    shop.let_go()
    for process in shop.processes:
        process.communicate(timeout=60)


@pytest.fixture
def console(workshop: Workshop, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens the console on the workshop's vault: `console("--ascii", columns=120, NO_COLOR="1")`."""
    opened: list[Terminal] = []

    def open_console(*options: str, columns: int = 80, lines: int = 24, wait: bool = True, checks: bool = False,
                     **env: str) -> Terminal:
        argv = pgvault_argv("console", *["--no-check"] * (not checks), *options, config=workshop.config)
        extra = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(tmp_path / "state"),
                 "PYTHONPATH": os.pathsep.join([str(VERB), str(REPOSITORY)]), **env}
        kept = {name: value for name, value in environment(extra=extra).items()
                if name not in ("NO_COLOR", "COLORTERM") or name in env}
        terminal = Terminal(argv, kept, columns=columns, lines=lines)
        opened.append(terminal)
        if wait:
            terminal.wait_for("main-db")
            terminal.settle(1.5)  # where a job runs already, it is never so quiet for so long
        return terminal

    yield open_console
    for terminal in opened:
        terminal.__exit__(None, None, None)


def test_a_console_that_is_looked_at_sends_nothing(console: Callable[..., Terminal]) -> None:
    """R38. Only the clock's minute is sent, and the head's line is all that it takes."""
    terminal = console()
    came = terminal.read(QUIET_SECONDS)
    assert came == b"" or len(came) < 1000, came


def test_a_running_job_costs_little(console: Callable[..., Terminal], workshop: Workshop) -> None:
    """R38: on the first view as on that of the jobs."""
    terminal = console()
    workshop.start_working()
    for key in ("1", "4"):
        terminal.type(key)
        terminal.wait_for("copying")
        terminal.settle()
        assert len(terminal.read(QUIET_SECONDS)) < A_SECOND * QUIET_SECONDS


def test_a_name_server_that_answers_nobody_holds_up_no_end(console: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, socket, sys, time\n"
        "def ask(*_, **__):\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'asked-by-{{sys.argv[-1]}}').touch()\n"
        "    time.sleep(3600)\n"
        "socket.getaddrinfo = ask\n")
    terminal = console(PYTHONPATH=os.pathsep.join([str(tmp_path), str(VERB), str(REPOSITORY)]), checks=True)
    wait_until((tmp_path / "asked-by-console").exists, "a name to be looked up")
    terminal.type("ctrl+q")
    assert terminal.end() == 0


def test_a_closed_terminal_ends_the_console_and_not_the_job(console: Callable[..., Terminal],
                                                            workshop: Workshop) -> None:
    """R22, R41: the job ends well, and a new console has its whole history."""
    job = pgvault("job", "list", config=workshop.config)  # the vault is readable
    assert job.returncode == 0
    terminal = console()
    workshop.start_working(start_new_session=True)
    terminal.wait_for("1 job running")
    terminal.hang_up()
    assert terminal.process.wait(20) == 0
    assert is_alive(workshop.directory())
    workshop.let_go()
    wait_until(lambda: workshop.job().state.final, "the job's end")
    again = console()
    again.type("4")
    again.wait_for("worked in place")


def test_a_console_that_was_not_suspended_does_not_begin_anew(console: Callable[..., Terminal]) -> None:
    """A terminal that is closed brings SIGCONT beside SIGHUP."""
    terminal = console()
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.type("2")
    terminal.wait_for("main-db / backups")
    assert terminal.sent.count(b"\x1b[?1049h") == 1


def test_what_is_written_to_a_closed_terminal_is_not_waited_for() -> None:
    master, slave = pty.openpty()
    writer = WriterThread(cast("IO[str]", TerminalFile(os.fdopen(slave, "w", closefd=False))))
    writer.start()
    os.close(master)

    def write_much() -> None:
        for _ in range(2 * MAX_QUEUED_WRITES):
            writer.write("frame\n")
        writer.stop()

    writing = Thread(target=write_much, daemon=True)
    writing.start()
    writing.join(60)
    os.close(slave)
    assert not writing.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_signal_leaves_the_terminal_as_it_was(console: Callable[..., Terminal], number: signal.Signals) -> None:
    """R41: the cursor is back and the alternate screen is left."""
    terminal = console()
    os.kill(terminal.process.pid, number)
    assert terminal.end() == 0
    assert b"\x1b[?1049l" in terminal.sent
    assert terminal.sent.rfind(b"\x1b[?25h") > terminal.sent.rfind(b"\x1b[?25l")


def test_leaving_says_what_goes_on(console: Callable[..., Terminal], workshop: Workshop) -> None:
    """R25."""
    terminal = console()
    workshop.start_working(start_new_session=True)
    terminal.wait_for("1 job running")
    terminal.type("q")
    assert terminal.end() == 0
    assert f"job {workshop.directory().name} continues: pgvault job watch".encode() in terminal.sent


def test_a_suspended_console_comes_back_whole(console: Callable[..., Terminal]) -> None:
    """R40: by ctrl+z, and fg of a shell."""
    terminal = console()
    before = terminal.text
    terminal.type("ctrl+z")
    wait_until(lambda: _state(terminal.process) == "T" or not terminal.read_one(0.1), "the console stops")
    wait_until(lambda: _state(terminal.process) == "T", "the console stops")
    terminal.settle()
    terminal.screen.reset()
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.wait_for(lambda text: text.splitlines()[1:] == before.splitlines()[1:])


def test_a_look_at_a_restored_server_begins_on_a_terminal_of_its_own(console: Callable[..., Terminal],
                                                                     workshop: Workshop) -> None:
    """What stood there before the console, such as the demo's story, is no part of it."""
    Desk(Shelf(workshop.home, workshop.config)).job(
        JobFinished(JobState.SUCCEEDED, "restored to this machine:/srv/pg", None, at(21)), kind=JobKind.RESTORE,
        server="main-db", command="pgvault restore main-db", started=at(21))
    terminal = console()
    terminal.type("4")
    terminal.wait_for("restore main-db")
    terminal.type("enter")
    terminal.wait_for("s look")
    terminal.type("s")
    terminal.wait_for("Enter goes back")  # its plan names no place
    assert terminal.text.splitlines()[0].startswith("The server in ")
    terminal.type("enter")
    terminal.wait_for("s look")


def _state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_ascii_means_ascii(console: Callable[..., Terminal]) -> None:
    """R37: every view, the help and a dialog."""
    terminal = console("--ascii")
    for key in ("1", "2", "3", "4", "5", "?", "escape", "r", "escape", "@", "escape"):
        terminal.type(key)
        terminal.settle()
    assert [byte for byte in terminal.sent if byte > 126] == []


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"TERM": "linux"}], ids=str)
def test_a_terminal_without_unicode_gets_none(console: Callable[..., Terminal], env: dict[str, str]) -> None:
    terminal = console(**env)
    assert [byte for byte in terminal.sent if byte > 126] == []


def test_no_color_means_none(console: Callable[..., Terminal]) -> None:
    """R37: bold, dim and reverse are left; no code sets a colour."""
    terminal = console(NO_COLOR="1")
    for key in ("2", "3", "4", "?"):
        terminal.type(key)
        terminal.settle()
    codes = {code for match in re.findall(rb"\x1b\[([0-9;]*)m", bytes(terminal.sent)) for code in match.split(b";")}
    assert not {code for code in codes if code.isdigit() and (30 <= int(code) <= 38 or 40 <= int(code) <= 48
                                                              or 90 <= int(code) <= 107)}


def test_a_terminal_with_sixteen_colours_gets_these(console: Callable[..., Terminal]) -> None:
    terminal = console(TERM="xterm")
    assert not re.search(rb"\x1b\[[0-9;]*[34]8;", bytes(terminal.sent))


def test_a_dumb_terminal_is_pointed_to_the_verbs(console: Callable[..., Terminal]) -> None:
    terminal = console(TERM="dumb", wait=False)
    assert terminal.end() == 2
    assert b"\x1b[?" not in terminal.sent
    assert b"pgvault status SERVER" in terminal.sent


def test_without_a_terminal_it_is_not_opened(workshop: Workshop) -> None:
    done = workshop.run(check=2)
    assert "the console needs a terminal" in done.stderr


def test_the_mouse_is_left_to_the_terminal_where_asked(console: Callable[..., Terminal]) -> None:
    """R43."""
    assert b"\x1b[?1000h" not in console("--no-mouse").sent
    assert b"\x1b[?1000h" in console().sent


def test_a_small_terminal_says_what_it_needs(console: Callable[..., Terminal], workshop: Workshop) -> None:
    """R36: it can be left, what runs is shown, and a larger window brings the view back."""
    workshop.start_working()
    terminal = console(columns=60, lines=12, wait=False, COLUMNS="80", LINES="24")  # as a shell may have exported them
    terminal.wait_for("80x24")
    terminal.wait_for("60x12")
    terminal.wait_for("copying")
    terminal.settle()
    terminal.resize(80, 24)
    terminal.wait_for("main-db / overview")  # its job's line has the name, too
    terminal.settle()
    terminal.resize(60, 12)
    terminal.wait_for("80x24")
    terminal.type("ctrl+q")
    assert terminal.end() == 0


def test_a_fault_of_the_console_is_told_and_logged_without_the_values_of_its_variables(
        console: Callable[..., Terminal], tmp_path: Path) -> None:
    """The terminal is as it was, and the log has the traceback; what runs is not touched."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text("import pgvault.console.queries as w\n"
                      "w.operator = lambda secret='hunter2': 1 / 0\n")
    path = os.pathsep.join([str(tmp_path), str(VERB), str(REPOSITORY)])
    terminal = console(PYTHONPATH=path, wait=False)
    assert terminal.end() == 1
    assert b"internal error" in terminal.sent
    assert b"ZeroDivisionError" in terminal.sent
    assert b"hunter2" not in terminal.sent
