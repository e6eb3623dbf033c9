"""The command line before any verb does its work: words, exit codes, JSON, and text that no terminal obeys."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import environment, pgvault, pgvault_argv

from pgvault.cli import main as cli
from pgvault.cli.context import Context, may_color
from pgvault.cli.demo import _TextSteps
from pgvault.cli.output import Output, json_text
from pgvault.cli.render import TerminalText
from pgvault.cli.verbs import VERBS, Verb, nearest, resolve
from pgvault.demo.events import CommandStarted, OutputLine, StepStarted
from pgvault.model.errors import (
    Cancelled,
    ConfigError,
    Corrupt,
    CorruptPages,
    InDoubt,
    Locked,
    NoSpace,
    NotFound,
    NotRight,
    PgvaultError,
    Refused,
    Unreachable,
    UsageError,
    WalMissing,
)
from pgvault.model.event import JobStarted, Level, Noted, PhaseStarted, Progressed
from pgvault.model.lsn import Lsn
from pgvault.model.pace import Pace, Progress
from pgvault.model.text import Painted, size, span, visible, width

AT = datetime(2026, 11, 22, 20, 5, 12, tzinfo=UTC)
HOSTILE = "db\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egnp\udce9"


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):
    """A verb `try`, and `get-wal`, that raise what the test gives them."""
    def give(error: BaseException | None) -> None:
        module = SimpleNamespace(COMMANDS={})

        def run(args: object, context: object) -> int:
            if error:
                raise error
            return 1

        from pgvault.cli.command import Command
        for name in ("try", "get-wal"):
            module.COMMANDS[name] = Command("Try.\n\nExample:\n  pgvault try", lambda parser: None, run)
        monkeypatch.setitem(sys.modules, "raising_verb", module)  # type: ignore[arg-type]
        monkeypatch.setitem(VERBS, "try", Verb("raising_verb", "try"))
        monkeypatch.setitem(VERBS, "get-wal", Verb("raising_verb", "try", in_doubt=True))
    return give


def test_help_lists_every_verb_on_a_line_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    lines = capfd.readouterr().out.splitlines()
    for name, verb in VERBS.items():
        assert [line for line in lines if line.split()[:1] == [name] and line.endswith(verb.meaning)], name
    assert max(map(len, lines)) <= 120
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("pgvault ")


@pytest.mark.parametrize("verb", [name for name, verb in VERBS.items() if find_spec(verb.module)])
def test_each_verbs_help_has_an_example(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    shown = capfd.readouterr().out
    assert f"usage: pgvault {verb}" in shown
    assert re.search(r"^Example.*:\n  .*pgvault ", shown, re.MULTILINE)
    assert "--job-id" not in shown
    module = VERBS[verb].module
    assert set(import_module(module).COMMANDS) == {name for name, other in VERBS.items() if other.module == module}


def test_wrong_words_exit_2_and_say_what_was_probably_meant() -> None:
    done = pgvault("list-bakups", "main", check=2)
    assert done.stderr == "pgvault: verb 'list-bakups' does not exist\nhint: Did you mean list-backups?\n"
    assert done.stdout == b""
    assert pgvault(check=2).stderr.startswith("pgvault: the console needs a terminal\n")
    assert "unrecognized arguments: --forma" in pgvault("--forma", "json", "job", "list", check=2).stderr
    assert "invalid choice: 'xml'" in pgvault("--format", "xml", "job", "list", check=2).stderr
    assert "file /nowhere not found" in pgvault("--config", "/nowhere", "job", "list", check=2).stderr


def test_barmans_words_are_understood() -> None:
    pairs = {"list-server": "list-servers", "list-backup": "list-backups", "recover": "restore",
             "show-servers": "show-server", "switch-xlog": "switch-wal"}
    assert {word: resolve(word) for word in pairs} == pairs
    assert resolve("list_backups") is None
    assert nearest("list_backups") == "list-backups"
    assert nearest("xyzzy") is None


@pytest.mark.parametrize(("kind", "code"), [
    (PgvaultError, 1), (UsageError, 2), (ConfigError, 2), (NotRight, 3), (NotFound, 4), (Refused, 5), (Locked, 6),
    (Unreachable, 7), (Corrupt, 8), (WalMissing, 9), (NoSpace, 10), (CorruptPages, 11), (Cancelled, 130),
    (InDoubt, 200)])
def test_each_error_has_its_exit_code_in_text_and_in_json(
        kind: type[PgvaultError], code: int, raising, capfd: pytest.CaptureFixture[str]) -> None:
    raising(kind("could not do it", detail="First.\nSecond.", hint="Do that."))
    assert cli.main(["try"]) == code
    assert capfd.readouterr().err == "pgvault: could not do it\ndetail: First.\n        Second.\nhint: Do that.\n"
    assert cli.main(["try", "--format", "json"]) == code
    assert json.loads(capfd.readouterr().err) == {"schema": 1, "error": {
        "code": kind.code, "message": "could not do it", "detail": "First.\nSecond.", "hint": "Do that.",
        "exit_code": code}}


@pytest.mark.parametrize(("error", "code", "said"), [
    (OSError(28, "No space left on device", "/vault/x"), 10, "no space left\ndetail: The file system of /vault/x is"),
    (PermissionError(13, "Permission denied", "/vault/x"), 5, "could not complete the command: Permission denied"),
    (ExceptionGroup("tasks", [ValueError("an echo"), ExceptionGroup("inner", [Locked("locked")])]), 6, "locked"),
    (KeyboardInterrupt(), 130, "pgvault: cancelled"),
    (ValueError(HOSTILE), 1, "pgvault: internal error\ndetail: ValueError: db\\x1b]0;owned\\x07"),
])
def test_whatever_is_raised_is_told_in_a_line(
        error: BaseException, code: int, said: str, raising, capfd: pytest.CaptureFixture[str]) -> None:
    raising(error)
    assert cli.main(["try"]) == code
    told = capfd.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert not set("\x1b\x07\r\x9b\u202e") & set(told)


def test_debug_shows_where_an_internal_error_came_from(raising, capfd: pytest.CaptureFixture[str]) -> None:
    raising(ValueError("odd"))
    assert cli.main(["--log-level", "debug", "try"]) == 1
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("error", [
    ConfigError("x"), NotFound("x"), Unreachable("x"), ValueError("x"), OSError(5, "I/O"), KeyboardInterrupt(),
    MemoryError(), Corrupt("x")])
def test_no_error_of_get_wal_can_be_read_as_the_end_of_wal(
        error: BaseException, raising, capfd: pytest.CaptureFixture[str]) -> None:
    """Rule 17: PostgreSQL reads 1 to 125 as "no more WAL" and would promote."""
    raising(error)
    assert cli.main(["get-wal"]) == 200
    raising(None)
    assert cli.main(["get-wal"]) == 1  # its own answer: proven absent


@pytest.mark.parametrize("words", [
    ["--confg", "/x", "get-wal", "main", "000000010000000000000001"], ["--format", "xml", "get-wal"],
    ["--config", "/nowhere", "get-wal", "main", "000000010000000000000001"], ["get-wal", "--nonsense"], ["get-wal"]])
def test_a_get_wal_that_is_misspelt_is_in_doubt_too(words: list[str]) -> None:
    """Rule 17, by the real process."""
    pgvault(*words, check=200)


def test_a_missing_module_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(VERBS, "get-wal", Verb("pgvault.cli.not_there", "x", in_doubt=True))
    assert cli.main(["get-wal"]) == 200
    assert "ModuleNotFoundError" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "stream", "code"), [
    (["--help"], "stdout", 141), (["nonsense"], "stderr", 2), (["get-wal", "--help"], "stdout", 200)])
def test_a_reader_that_goes_away_ends_it_quietly(words: list[str], stream: str, code: int) -> None:
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    process = subprocess.Popen(pgvault_argv(*words), env=environment(), **streams)
    os.close(write)
    out, err = process.communicate()
    assert (out or b"", err or b"") == (b"", b"")
    assert process.returncode == code


def test_closed_streams_do_no_harm() -> None:
    shell = 'exec "$@" >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", shell, "sh", *pgvault_argv("nonsense")], env=environment(), check=False)
    assert done.returncode == 2


def test_loading_the_command_line_loads_nothing_heavy() -> None:
    """put-wal and get-wal are waited for by PostgreSQL."""
    code = ("import sys; from pgvault.cli.main import main; main(['--help']); "
            "print(sorted(m for m in sys.modules if m.split('.')[0] in "
            "('asyncio','asyncssh','psycopg','textual','rich','msgspec','humanize','logging','sqlite3','tomli_w')),"
            "file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=True)
    assert done.stderr.decode().strip() == "[]"


def test_a_restore_is_planned_and_begun_without_what_asks_servers() -> None:
    """Somebody waits for both. What is restored is asked when it runs, and a primary only for a standby."""
    code = "import sys; import pgvault.engine.restore.run; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "False"


@given(st.text(st.characters(codec=None)))
def test_no_text_from_outside_moves_the_cursor(text: str) -> None:
    shown = visible(text)
    assert not any(
        ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) <= 0xDFFF or c in "\u2028\u202e" for c in shown)
    shown.encode("utf-8")
    assert visible(shown) == shown


@given(st.dictionaries(st.text(st.characters(codec=None)), st.text(st.characters(codec=None))))
def test_json_is_ascii_without_controls_and_comes_back(document: dict[str, str]) -> None:
    line = json_text(document)
    assert line.isascii()
    assert all(" " <= c < "\x7f" for c in line)
    assert json.loads(line) == {"schema": 1, **document}


def test_json_knows_the_values_of_the_model() -> None:
    line = json_text({"at": AT, "lsn": Lsn.parse("16/B374D848"), "level": Level.ERROR, "event": Noted("x", at=AT),
                      "path": Path("/x"), "sizes": (1, 2)})
    assert json.loads(line) == {"schema": 1, "at": "2026-11-22T20:05:12Z", "lsn": "16/B374D848", "level": "error",
                                "event": {"text": "x", "level": "info", "code": "", "at": "2026-11-22T20:05:12Z"},
                                "path": "/x", "sizes": [1, 2]}


def test_fields_and_tables_are_aligned_also_with_wide_letters() -> None:
    stream = io.StringIO()
    out = Output(stream, color=False)
    out.fields([("Server Name", "main-db"), ("Active", "yes"), ("Note", None)], title="Server main-db:")
    out.table(["Name", "Size"], [["数据", "1.0 KiB"], ["a\n", Painted("12 B", "good")]], right={1})
    assert stream.getvalue() == ("Server main-db:\n"
                                 "  Server Name : main-db\n  Active      : yes\n  Note        : -\n"
                                 "Name     Size\n数据  1.0 KiB\na\\n      12 B\n")


@pytest.mark.parametrize(("wish", "environ", "expected"), [
    ("always", {"NO_COLOR": "1"}, True), ("never", {"TERM": "xterm"}, False), ("auto", {"TERM": "xterm"}, True),
    ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, False), ("auto", {"TERM": "dumb"}, False), ("auto", {}, False)])
def test_colour_is_for_terminals_that_want_it(wish: str, environ: dict[str, str], expected: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert may_color(Terminal(), wish, environ) is expected
    assert may_color(io.StringIO(), wish, environ) is (wish == "always")
    stream = io.StringIO()
    Output(stream, color=expected).line(Painted("ok\x1b[2J", "good"))
    assert stream.getvalue() == ("\x1b[32mok\\x1b[2J\x1b[0m\n" if expected else "ok\\x1b[2J\n")


def test_the_demonstrations_story_breaks_no_word_on_a_terminal() -> None:
    """A path that is longer than a line is the terminal's to break; in a pipe each text stays one line."""
    title = "Start the SSH host standby-db-server: it has PostgreSQL's programs and no database"
    command = ("pgvault", "--config", "/tmp/demo/pgvault.toml", "receive-wal", "main-db-server")
    output = "        directories: OK (process 13235 on vm since 2026-11-30)"
    keeper, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 60))
    with os.fdopen(terminal, "w") as stream:
        tell = _TextSteps(cast("Context", SimpleNamespace(out=Output(stream, color=False))))
        for event in (StepStarted(title), CommandStarted(command, background=True), OutputLine(output)):
            tell(event)
        shown = b""
        while not shown.endswith(b"30)\r\n"):
            shown += os.read(keeper, 10_000)
    os.close(keeper)
    assert shown.decode().replace("\r\n", "\n") == """
 1. Start the SSH host standby-db-server: it has
    PostgreSQL's programs and no database
    $ pgvault --config /tmp/demo/pgvault.toml \\
        receive-wal main-db-server &
            directories: OK (process 13235 on vm since
              2026-11-30)
"""
    pipe = io.StringIO()
    _TextSteps(cast("Context", SimpleNamespace(out=Output(pipe, color=False))))(StepStarted(title))
    assert pipe.getvalue() == f"\n 1. {title}\n"


def test_sizes_and_spans_read_well() -> None:
    assert [size(n) for n in (None, 0, 1023, 1024, 1 << 20, 3 << 39)] == [
        "-", "0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.5 TiB"]
    assert [span(s) for s in (None, 0.25, 59.6, 200, 7500, 400_000)] == [
        "-", "0.2 s", "1 min 00 s", "3 min 20 s", "2 h 05 min", "4 d 15 h"]


def test_progress_fits_the_line_and_knows_what_is_left() -> None:
    pace = Pace()
    pace.start(PhaseStarted("copying", 100 << 20, AT))
    for second in range(1, 31):
        progress = pace.at(Progressed(second << 20, at=AT + timedelta(seconds=second)))
    assert progress.rate == 1 << 20
    assert progress.seconds_left == 70
    assert progress.line(120) == ("copying  [#######-----------------]   30%  30.0 MiB of 100.0 MiB  1.0 MiB/s  "
                                  "1 min 10 s left")
    assert all(width(progress.line(columns)) <= columns for columns in range(10, 120))
    assert "  [" in progress.line(79)
    assert Progress("counting", 5, None, None).line(80) == "counting  5 B"
    assert Progress("empty", 0, 0, None).line(80) == "empty  0 B"


def test_without_a_terminal_progress_is_rare_and_with_nobody_there_it_is_forgotten() -> None:
    stream = io.StringIO()
    show = TerminalText(Output(stream, color=False, forgiving=True))
    show(JobStarted("j", "backup", HOSTILE, "pgvault backup", AT))
    show(PhaseStarted("copying", 100, AT))
    for tick in range(100):
        show(Progressed(tick, at=AT + timedelta(seconds=tick / 4)))
    show(Noted("careful\nvery", Level.WARNING, at=AT))
    show(PhaseStarted("waiting", at=AT))
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if line.startswith("copying  [")]) == 3
    assert lines[-4:-2] == ["warning: careful", "warning: very"]
    assert "\x1b" not in stream.getvalue()


def test_what_is_drawn_stands_above_what_others_write_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    show = TerminalText(Output(stream, color=False, forgiving=True))
    show.close()
    assert stream.getvalue() == ""
    show(PhaseStarted("read WAL", 100, AT))
    show(Progressed(100, at=AT))
    show.close()
    show.close()
    assert stream.getvalue().endswith("\x1b[K\n")
