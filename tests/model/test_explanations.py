"""Every code that an error may carry is explained, and the verb says so."""

from __future__ import annotations

import pytest
from support.cli import pgvault

from pgvault.model.errors import Locked, PgvaultError, kinds, of_code
from pgvault.model.explanations import EXPLANATIONS


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.code)
def test_every_error_class_has_its_text(kind: type[PgvaultError]) -> None:
    explained = EXPLANATIONS[kind.code]
    for text in (explained.meaning, *explained.causes, *explained.steps):
        assert text[0].isalnum()
        assert text.endswith("."), "sentences"
    assert explained.causes
    assert explained.steps


def test_nothing_else_is_explained_but_bugs() -> None:
    assert EXPLANATIONS.keys() == {"internal"} | {kind.code for kind in kinds()}
    assert of_code("locked") is Locked
    assert of_code("internal") is PgvaultError


def test_the_verb_tells_meaning_causes_and_next_steps() -> None:
    told = pgvault("explain", "locked", check=0).text
    assert told.startswith("locked  (exit code 6)\n")
    assert "Usual causes:\n  - " in told
    assert "Next steps:\n  1. pgvault job list --state running" in told
    document = pgvault("--format", "json", "explain", "locked", check=0).json()
    assert document["exit_code"] == 6
    assert document["next_steps"] == list(EXPLANATIONS["locked"].steps)


def test_without_a_code_all_are_listed() -> None:
    listed = pgvault("explain", check=0).text.splitlines()[1:]
    assert [line.split()[0] for line in listed] == list(EXPLANATIONS)
    assert len(pgvault("--format", "json", "explain", check=0).json()["codes"]) == len(EXPLANATIONS)


def test_an_unknown_code_names_the_nearest() -> None:
    done = pgvault("explain", "wal-mising", check=4)
    assert 'Did you mean "wal-missing"?' in done.stderr
