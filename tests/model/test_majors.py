"""What differs between PostgreSQL's majors stands in two places, which know the same ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.installation import MAJORS as PROVEN

import pgvault
from pgvault.model.majors import CONTROL_LAYOUTS, MAJORS, NEWEST, OLDEST, facts_of
from pgvault.wal.versions import FORMATS

COMPARED = re.compile(r"(?:\bmajor|_version(?: // 10000)?)\s*(?:[<>]=?|[!=]=)\s*\d|[<>]=?\s*1\d0000\b")


def test_both_know_the_same_majors_and_the_tests_prove_them() -> None:
    assert list(MAJORS) == list(FORMATS) == list(range(OLDEST, NEWEST + 1))
    assert set(PROVEN) <= MAJORS.keys()


@pytest.mark.parametrize("major", [*range(OLDEST, NEWEST + 1)])
def test_each_value_is_of_its_own_major(major: int) -> None:
    facts = facts_of(major)
    assert (facts.number, FORMATS[major].major) == (major, major)
    assert CONTROL_LAYOUTS[facts.control.version] == facts.control
    assert facts.origins_setting in facts.default_settings


def test_a_newer_major_counts_as_the_newest_and_an_older_one_as_the_oldest() -> None:
    assert facts_of(NEWEST + 1) is MAJORS[NEWEST]
    assert facts_of(0) is MAJORS[OLDEST]


@pytest.mark.parametrize("compared", ["if major >= 15:", "major<14", "server_version >= 140000",
                                      "server_version // 10000 < 17", "number >= 150000"])
def test_a_comparison_is_recognised(compared: str) -> None:
    assert COMPARED.search(compared)


def test_no_module_compares_versions_by_itself() -> None:
    root = Path(pgvault.__file__).parent
    assert [f"{path.relative_to(root)}: {line.strip()}" for path in sorted(root.rglob("*.py"))
            for line in path.read_text().splitlines() if COMPARED.search(line)] == []
