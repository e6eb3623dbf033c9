"""Every file of a vault belongs to its owner alone, whatever the umask: they all come from one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgvault

SOURCE = Path(pgvault.__file__).parent
MAKERS = ("write_text", "write_bytes", "touch", "mkdir", "makedirs", "mkfifo")


def made_elsewhere(text: str) -> Iterator[int]:
    """The lines on which a file or directory is made other than by `open_private` and `make_directory`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr == "O_CREAT":
            yield node.lineno
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        makes = name == "open" and any(set(mode) <= set("wxab+t") and set(mode) & set("wxa") for mode in modes)
        if name in MAKERS or (makes and not is_descriptor(node.args[0])):
            yield node.lineno


def is_descriptor(node: ast.expr) -> bool:
    return ast.unparse(node).startswith(("open_private(", "descriptor"))


@pytest.mark.parametrize("layer", ["store", "vault", "jobs", "engine"])
def test_files_are_made_in_one_place(layer: str) -> None:
    found = [f"{path.relative_to(SOURCE)}:{line}" for path in sorted((SOURCE / layer).rglob("*.py"))
             if path != SOURCE / "store/files.py" for line in made_elsewhere(path.read_text())]
    assert found == []


@pytest.mark.parametrize("text", [
    "os.open(path, os.O_RDWR | os.O_CREAT, 0o600)", "path.open('wb')", "open(path, 'x')", "path.write_text('')",
    "open(path, mode, 'a+')", "path.mkdir()"])
def test_a_file_that_is_made_elsewhere_is_found(text: str) -> None:
    assert list(made_elsewhere(text)) == [1]


@pytest.mark.parametrize("text", [
    "open(open_private(path), 'wb')", "path.open('r+b')", "open(descriptor, 'wb')", "path.open()", "os.open(path, 0)"])
def test_what_makes_no_file_is_not(text: str) -> None:
    assert list(made_elsewhere(text)) == []
