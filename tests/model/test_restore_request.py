"""What is asked of a restore, as options and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.model.errors import UsageError
from pgvault.model.lsn import Lsn
from pgvault.model.relation import RelationName
from pgvault.model.restore_request import RestoreRequest, parse, parse_point, point_options
from pgvault.model.target import AtLsn, AtName, AtTime, AtXid, EndOfWal, Immediate, Target, TargetAction
from pgvault.model.window import instant

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
PATHS = TEXTS.map(lambda text: f"/{text}")
PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)
TARGETS: st.SearchStrategy[Target] = st.one_of(
    st.builds(AtTime, st.integers(946_684_800_000_000, 4_102_444_800_000_000).map(instant), st.booleans()),
    st.builds(AtLsn, st.integers(0, 2**64 - 1).map(Lsn), st.booleans()),
    st.builds(AtXid, st.integers(0, 2**64), st.booleans()), st.builds(AtName, TEXTS), st.just(Immediate()),
    st.just(EndOfWal()))
POINTS = st.tuples(TARGETS, st.none() | st.integers(1, 2**31), st.booleans())
REQUESTS = st.builds(
    RestoreRequest, server=NAMES, backup=st.sampled_from(["auto", "latest", "20261121T120000Z"]),
    host=st.just("") | NAMES, directory=st.just("") | PATHS, target=TARGETS, timeline=st.none() | st.integers(1, 2**31),
    action=st.sampled_from(TargetAction), standby=st.booleans(),
    tablespaces=st.lists(st.tuples(PARTS, PATHS).map("=".join), max_size=3).map(tuple),
    overwrite=st.just("") | PATHS | st.just("-x"),
    if_holds=st.sampled_from(["", "nothing", "unknown", "no-cluster", "7301234567890123456"]),
    workers=st.none() | st.integers(1, 64), bandwidth_limit=st.none() | st.integers(1, 2**40), start=st.booleans(),
    partial=st.booleans(), allow_unread=st.booleans(),
    expects=st.lists(st.builds(RelationName, PARTS, PARTS, PARTS), max_size=2).map(tuple),
    port=st.none() | st.integers(1, 65535))


def untyped(request: RestoreRequest) -> RestoreRequest:
    """The request without the letters in which a time was typed."""
    return replace(request, target=replace(request.target, typed="")) if isinstance(request.target, AtTime) else request


@given(REQUESTS)
def test_a_request_is_read_back_from_its_command_line_or_refused_as_it_would_be(request: RestoreRequest) -> None:
    words = request.to_argv()
    assert words[:2] == ["pgvault", "restore"]
    refused = refusal_of(request.check)
    assert refusal_of(lambda: parse(words[2:])) == refused
    if not refused:
        # The end of "the" backup is the end of the newest one.
        newest = request.backup == "auto" and isinstance(request.target, Immediate)
        assert untyped(parse(words[2:])) == (replace(request, backup="latest") if newest else request)


def refusal_of(act: Callable[[], object]) -> str:
    try:
        act()
    except UsageError as error:
        return error.message
    return ""


@given(POINTS)
def test_a_point_is_read_back_from_its_options(point: tuple[Target, int | None, bool]) -> None:
    target, timeline, partial = point
    found, *rest = parse_point(point_options(target, timeline, partial=partial))
    assert rest == [timeline, partial]
    assert (replace(found, typed="") if isinstance(found, AtTime) else found) == target


@pytest.mark.parametrize("words", [
    [], ["--exclusive"], ["--target-end", "--exclusive"], ["--target-lsn", "x"], ["--target-xid", "x"], ["--help"],
    ["--target-end", "--target-immediate"], ["--target-time", "yesterday"], ["--target-e"], ["--target-end", "x"]])
def test_what_names_no_point_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_point(words)


@pytest.mark.parametrize(("words", "message"), [
    (["--jobs", "0"], "--jobs must be at least 1"), (["--port", "0"], "--port must be from 1 to 65535"),
    (["--port", "65536"], "--port must be from 1 to 65535"), (["--bwlimit", "5"], "not a rate: '5'"),
    (["--tablespace", "=x"], "not a tablespace and its directory: '=x'"),
    (["--expect", "x"], "not a table's name: 'x'"),
    (["--if-holds", "gold"], "gold"), ([], "required: SERVER")])
def test_what_cannot_be_read_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse([*(["main"] if words else []), *words])
    assert message in refusal.value.message
