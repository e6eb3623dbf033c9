"""Every `pgvault VERB --option` that pgvault or its documents name can be typed."""

from __future__ import annotations

import argparse
import ast
import functools
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import pytest
from support.installation import REPOSITORY

from pgvault.cli.command import Parser
from pgvault.cli.verbs import VERBS, resolve

NAMED = re.compile(r"\bpgvault ([a-z][a-z-]*)\b(?!=)([^.,;:)`'\"|\n]*)")
"""A word, and what belongs to the same command as far as one can see."""
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
OPERANDS = re.compile(r" (--[a-z]|[A-Z]{2}|…)")
"""What only a command has behind its verb."""
SAID = frozenset(["catalog", "checks", "knows", "looks", "restores"])
"""What sentences, and the head of a file, say though it looks like a command."""
PLANNED = frozenset(["completion", "cron", "delete", "diagnose", "drill", "expire", "keep", "metrics", "migrate",
                     "serve", "setup", "ssh-command", "verify"]) - VERBS.keys()
"""Verbs of the design that are not there yet: nobody may be sent to one."""
CODE = re.compile(r"^```.*?^```|(?<=\n\n)(?:    [^\n]*\n)+|`[^`\n]+`", re.MULTILINE | re.DOTALL)
"""A fenced block, indented lines, and words between backticks."""
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]


def named_in(path: Path) -> Iterator[tuple[str, str]]:
    """The word after the name, and what follows it."""
    for text in strings_of(path) if path.suffix == ".py" else CODE.findall(path.read_text()):
        yield from NAMED.findall(text)


def is_command(word: str, rest: str, where: Path) -> bool:
    """Whether it is meant to be typed, and not part of a sentence; in the code of a document it always is."""
    if word in SAID:
        return False
    return bool(where.suffix == ".md" or resolve(word) or word in PLANNED or "-" in word or OPERANDS.match(rest)
                or get_close_matches(word, VERBS, cutoff=0.75))


def strings_of(path: Path) -> Iterator[str]:
    """Whole ones, without docstrings: an f-string's values, which could be anything, are an ellipsis."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = said | {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


@functools.cache
def understood(verb: str) -> tuple[frozenset[str], frozenset[str]]:
    """The options of a verb, and its actions where it has such, as `job list`."""
    parser = Parser()
    import_module(VERBS[verb].module).COMMANDS[verb].arguments(parser)
    options, actions, parsers = set[str](), set[str](), [parser]
    while parsers:
        for each in parsers.pop()._actions:
            options.update(each.option_strings)
            if isinstance(each, argparse._SubParsersAction):
                actions.update(each.choices)
                parsers.extend(each.choices.values())
    return frozenset(options), frozenset(actions)


@pytest.mark.parametrize("path", [*sorted(PAGES), REPOSITORY / "pgvault"], ids=lambda path: path.name)
def test_what_is_named_can_be_typed(path: Path) -> None:
    for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        for word, rest in named_in(source):
            if not is_command(word, rest, source):
                continue
            where, verb = f"{source}: pgvault {word}{rest}", resolve(word)
            assert verb, f"{where}: no such verb, but {get_close_matches(word, VERBS)}"
            options, actions = understood(verb)
            assert not set(OPTION.findall(rest)) - options, f"{where}: no such option"
            action = re.match(r" ([a-z]+)\b", rest)
            assert not actions or not action or action[1] in actions, f"{where}: no such action"


def test_a_verb_an_option_and_an_action_that_do_not_exist_are_seen(tmp_path: Path) -> None:
    for said in ("pgvault recieve-wal main", "pgvault backups", "pgvault reindex SERVER",
                 "see pgvault backup main --fulll.", "run pgvault job wait 7", "try pgvault verify."):
        page = tmp_path / "page.py"
        page.write_text(f"HINT = f'{said} {{page}}'\n")
        with pytest.raises(AssertionError, match="no such"):
            test_what_is_named_can_be_typed(page)
