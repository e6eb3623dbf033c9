"""docs/cli.md describes what the verbs print: each field of real documents, each verb, each exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from story import SETTINGS, Story
from support.documented import KNOWN_TYPES, PAGE, check, tables
from support.fleet import Fleet
from support.ssh import SshHost
from target_world import end_world, make_world

from pgvault.cli.command import GLOBAL_WITH_VALUE
from pgvault.cli.verbs import VERBS
from pgvault.cli.wal import document
from pgvault.engine.restore.condition import Closed
from pgvault.engine.wal_status import NotRead, WalStatus
from pgvault.jobs.encoding import plain
from pgvault.model.errors import kinds
from pgvault.model.explanations import EXPLANATIONS
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import TimelineTree
from pgvault.model.window import DAMAGED, Break, Broken, Survey

ELSEWHERE = frozenset(["demo", "demo --headless", "demo --keep"])
"""What the tests of the demonstration look at."""
TEXT = frozenset(["console", "receive-wal", "put-wal", "get-wal"])
"""The verbs that print no document."""
SEGMENT = Segment(1, 7)
DAMAGED_ARCHIVE = WalStatus(
    Survey((), (), (Broken("20261122T200512Z", SEGMENT),), (Break(SEGMENT, Lsn(0x7000028), DAMAGED, False),)),
    TimelineTree(()), 1 << 20, 0, (), (NotRead(SEGMENT.name(1 << 20), "of PostgreSQL 42"),), 0, (), ())
"""What no test does to a real archive for this."""


@pytest.fixture(scope="module")
def documents(fleet: Fleet, ssh_hosts: Callable[[str], SshHost]) -> Iterator[Mapping[str, list[Any]]]:
    world = make_world(fleet, ssh_hosts("openssh"), megabytes=1, server_settings=SETTINGS)
    try:
        told = Story(world).tell()
        told["wal"].append({"schema": 1, "server": "main", **plain(document(DAMAGED_ARCHIVE))})
        [restored] = told["restore"]
        closed = Closed("shop", "could not open file", "Restore it from another backup.")
        told["restore"].append({**restored, "proof": {**restored["proof"], "closed": plain([closed])}})
        yield told
    finally:
        world.stop(world.root / "restored")
        end_world(fleet, world)


def test_every_field_is_described_and_every_described_field_is_there(documents: Mapping[str, list[Any]]) -> None:
    wrong = [each for heading, found in documents.items() for one in found for each in check(heading, one)]
    assert not wrong, "\n".join(sorted(set(wrong))[:40])
    unmet = {heading: table.unmet for heading, table in tables().items() if heading not in ELSEWHERE and table.unmet}
    assert not unmet, "described, and in no document"


def test_every_type_is_one_that_the_page_explains() -> None:
    for table in tables().values():
        for path, row in table.rows.items():
            for each in re.split(", | or ", row.of or row.type):
                assert each in KNOWN_TYPES or each in tables(), f"{table.name}: {path} is of type {each}"


def test_what_is_not_as_described_is_seen(documents: Mapping[str, list[Any]]) -> None:
    found = documents["list-servers"][0]
    assert check("list-servers", found) == []
    assert check("list-servers", {**found, "more": 1}) == ["list-servers: more is not described"]
    assert check("list-servers", {"schema": 1}) == ["list-servers: servers is described and not there"]
    assert check("list-servers", {"schema": 1, "servers": [{"name": None, "description": 1}]}) == [
        "list-servers.servers[0].name is null", "list-servers.servers[0].description is no string: 1"]


def sections() -> Mapping[str, str]:
    """The text of each verb's section."""
    parts = re.split(r"^### `([a-z-]+)`$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_verb_has_its_section_with_an_example() -> None:
    assert list(sections()) == list(VERBS), "in the order of the verbs"
    for verb, text in sections().items():
        assert re.search(rf"^    .*\bpgvault {verb}\b", text, re.MULTILINE), f"{verb} has no example"
        described = [name for name in tables() if name.split(" ")[0] == verb]
        assert described or verb in TEXT or re.search(r"\(#(backup|expire)\)", text), f"{verb} has no document"


def test_each_alias_and_each_option_of_all_verbs_is_named() -> None:
    before, _, _ = PAGE.read_text().partition("## Exit codes")
    for name in (*(alias for verb in VERBS.values() for alias in verb.aliases), *GLOBAL_WITH_VALUE):
        assert re.search(rf"`{name}[` ]", before), f"{name} is not named"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    rows = re.findall(r"^\| (\d+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    described = {int(code): set(re.findall(r"`([a-z-]+)`", words)) for code, words in rows}
    expected: dict[int, set[str]] = {0: set()}
    for kind in kinds():
        expected.setdefault(kind.exit_code, set()).add(kind.code)
    expected[1].add("internal")
    assert described == expected
    assert set().union(*described.values()) == set(EXPLANATIONS)
    for verb, text in sections().items():
        for codes in re.findall(r"^Exit codes: (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
            named = {int(each) for each in re.findall(r"(?<![\w`-])\d+\b", codes)} - {125}
            assert verb == "check" or named <= set(described), f"{verb}: {named}"
