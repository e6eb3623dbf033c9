"""The private names of Textual that the console uses: they are in one module, and Textual still has them so."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

from pgvault.console import textual_private

HOME = Path(textual_private.__file__)
CONSOLE = HOME.parent
TEXTUAL = (App, ChopsUpdate, Compositor, DOMNode, LinuxDriver, MessagePump, Screen, Stylesheet, Widget)
USED: dict[str, tuple[type, str]] = {
    "_attach": (MessagePump, "(self, parent)"),
    "_close_messages_no_wait": (MessagePump, "(self)"),
    "_component_styles": (DOMNode, ""),
    "_compositor": (Screen, ""),
    "_driver": (App, ""),
    "_fatal_error": (App, "(self)"),
    "_file": (LinuxDriver, ""),
    "_get_breakpoint_classes": (Screen, "(self, dimension, breakpoints)"),
    "_get_component_classes": (DOMNode, ""),
    "_handle_exception": (App, "(self, error)"),
    "_must_signal_resume": (LinuxDriver, ""),
    "_notifications": (App, ""),
    "_parent": (MessagePump, ""),
    "_process_component_classes": (Stylesheet, "(self, node)"),
    "_require_parse": (Stylesheet, ""),
    "_sigcont_application": (LinuxDriver, "(self, _)"),
    "_unnotify": (App, "(self, notification, refresh)"),
    "_variables": (Stylesheet, ""),
}
"""With the class that has it, and the parameters of what is called or replaced; none of a value."""

OWN = {"logs.py": {"_file"}, "screen.py": {"_ready"}}
"""Names that classes of the console give to something of their own, and that Textual has in classes below which they do
not stand."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def parsed(of: type) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(of)))


def given_to_self(tree: ast.AST) -> set[str]:
    """The attributes that an object of the class gives itself."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"}


def private_names(of: type) -> set[str]:
    return {name for name in {*vars(of), *given_to_self(parsed(of))} if is_private(name)}


def described(of: type, name: str) -> str:
    """The parameters of a method; empty for a value; what is wrong where the class has no such name."""
    if name not in private_names(of):
        return "is gone"
    here: Any = vars(of).get(name)
    function = getattr(here, "__func__", here)
    return f"({', '.join(inspect.signature(function).parameters)})" if inspect.isfunction(function) else ""


def names_in(path: Path) -> set[str]:
    """The private names of Textual that a module uses, or by chance gives to something of its own."""
    tree = ast.parse(path.read_text())
    every = set[str]().union(*map(private_names, TEXTUAL))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return (used | made) & every


@pytest.mark.parametrize("name", USED)
def test_textual_has_what_is_used_of_its_inside(name: str) -> None:
    of, parameters = USED[name]
    assert described(of, name) == parameters, (
        f"Textual {version('textual')} has changed {of.__name__}.{name}, which is private to it: see what "
        f"{HOME.name} uses it for, and whether that still holds")


def test_each_private_name_in_use_is_looked_at() -> None:
    assert names_in(HOME) == set(USED)


@pytest.mark.parametrize("path", sorted(CONSOLE.rglob("*.py")), ids=lambda path: str(path.relative_to(CONSOLE)))
def test_no_other_module_reaches_into_textual(path: Path) -> None:
    imported = [node.module for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("textual")]
    if path != HOME and any(imported):
        assert names_in(path) - OWN.get(path.name, set()) == set(), f"{HOME.name} is the place for it"
        assert [name for name in imported if "._" in name] == []
