"""Rule 31: nothing from outside reaches a shell unquoted, and no secret reaches a report."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgvault.io import quoting
from pgvault.model.errors import Refused

ARGUMENT = st.text(
    st.one_of(st.sampled_from(" \n\r\t'\"\\$`!*?[]{}()<>|&;#~^%=-"), st.characters(codec="utf-8")), max_size=12,
).filter(lambda text: "\0" not in text)  # fmt: skip
LOGIN_SHELLS = (["sh"], ["dash"], ["bash"], ["busybox", "sh"], ["zsh"], ["fish"], ["tcsh"], ["ksh"])


@pytest.fixture(params=LOGIN_SHELLS, ids=" ".join)
def login_shell(request: pytest.FixtureRequest) -> list[str]:
    if not shutil.which(request.param[0]):
        pytest.skip(f"{request.param[0]} is not installed")
    return request.param


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(ARGUMENT, max_size=4))
def test_every_argument_arrives_as_it_was_whatever_the_login_shell(login_shell: list[str], arguments: list[str]):
    command = "exec " + quoting.join(["printf", r"%s\0", "first", *arguments])
    line = quoting.for_login_shell(command, "marker")
    done = subprocess.run([*login_shell, "-c", line], capture_output=True, timeout=30)
    said = done.stdout.partition(b"marker\n")[2]
    assert said.split(b"\0")[:-1] == [b"first", *(argument.encode() for argument in arguments)]


def test_a_name_that_is_not_utf8_arrives_byte_by_byte(login_shell: list[str]):
    name = b"caf\xe9\x01\xff".decode("utf-8", "surrogateescape")
    line = quoting.for_login_shell("exec " + quoting.join(["printf", "%s", name]), "marker")
    done = subprocess.run([*login_shell, "-c", line], capture_output=True, timeout=30)
    assert done.stdout == b"marker\ncaf\xe9\x01\xff"


def test_a_long_script_arrives(login_shell: list[str]):
    script = "# it's long!\n" * 2000 + "printf %s done\n"
    line = quoting.for_login_shell("exec " + quoting.join(["sh", "-c", script]), "marker")
    done = subprocess.run([*login_shell, "-c", line], capture_output=True, timeout=30)
    assert done.stdout == b"marker\ndone"


def test_a_nul_byte_is_refused():
    with pytest.raises(Refused, match="NUL"):
        quoting.encode("a\0b")


@pytest.mark.parametrize(("stages", "status"), [
    ([["cat"], ["cat"]], 0),
    ([["sh", "-c", "cat; exit 3"], ["cat"], ["cat"]], 3),
    ([["cat"], ["sh", "-c", "cat; exit 4"], ["cat"]], 4),
    ([["cat"], ["cat"], ["sh", "-c", "cat; exit 5"]], 5),
    ([["sh", "-c", "cat; kill -9 $$"], ["cat"]], 137),
    ([["no-such-program"], ["cat"]], 127),
])  # fmt: skip
def test_a_pipeline_fails_when_any_part_of_it_fails(stages: list[list[str]], status: int):
    done = subprocess.run(["sh", "-c", quoting.pipeline(stages)], input=b"through", capture_output=True, timeout=30)
    assert done.returncode == status
    if stages[0][0] != "no-such-program":
        assert done.stdout == b"through"


@pytest.mark.parametrize("reported_first", ["the broken pipe", "the cause"])
def test_a_broken_pipe_is_not_taken_for_the_cause(tmp_path: Path, reported_first: str):
    """A stage is seen to have reported when the shell around it, which its first process notes, has ended."""
    noted = str(tmp_path / "shell")
    ended = 'until [ -s "$0" ]; do sleep 0.01; done; shell=$(cat "$0"); while :; do ' \
            "case $(cat /proc/$shell/stat 2>/dev/null) in '' | *') Z '*) break ;; esac; sleep 0.01; done"
    writer = ["sh", "-c", 'echo $PPID > "$0"; exec cat /dev/zero', noted]
    if reported_first == "the broken pipe":
        stages = [writer, ["head", "-c", "1"], ["sh", "-c", f"{ended}; exit 6", noted]]
    else:
        stages = [writer, ["sh", "-c", "exit 6"]]  # the writer's pipe breaks when this stage has ended
    assert subprocess.run(["sh", "-c", quoting.pipeline(stages)], capture_output=True, timeout=30).returncode == 6


def test_the_arguments_of_a_pipeline_are_no_part_of_its_script():
    script = quoting.pipeline([["printf", "%s", "a\necho intruder #'"], ["cat"]])
    done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=30)
    assert done.stdout == b"a\necho intruder #'"


@pytest.mark.parametrize("argv", [
    ["start", "host=db password='hunter2 x' user=me"], ["start", "--password", "hunter2 x"],
    ["sshpass", "-p", "hunter2", "ssh"], ["env", "AWS_SECRET_ACCESS_KEY=hunter2", "start"],
])  # fmt: skip
def test_a_shown_command_has_no_secret_and_as_many_words(argv: list[str]):
    shown = quoting.shown(argv)
    assert "hunter2" not in shown
    assert len(shlex.split(shown)) == len(argv)


def test_a_script_is_shown_by_its_first_line():
    shown = quoting.shown(["sh", "-c", "# look at the destination\n" + "x" * 100, "pgvault", "/it's"])
    assert shown == """sh -c '# look at the destination ...' pgvault '/it'"'"'s'"""
