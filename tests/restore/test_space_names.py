"""What a plan makes of tablespaces without looking anywhere: their names and places, and who can replay them."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plans import restore_plan

from pgvault.engine.restore.space_conditions import minor_conditions
from pgvault.engine.restore.spaces import placed
from pgvault.io.probe import Installation
from pgvault.model.check import Outcome
from pgvault.model.restore_plan import TablespacePlace
from pgvault.model.restore_request import parse

NAMES = st.text(st.sampled_from("ab=/ '\"\\$`*-é\t1"), min_size=1, max_size=8) | st.sampled_from(
    ["a=b=c", "=/", "name=with=/", "--overwrite", "-", "x=/y", "it's", 'say "so"', "two words", "a\tb"])
"""PostgreSQL takes any name without CR and LF; older majors take these, too."""
PLACES = st.text(st.sampled_from("ab=/ '\"-é.\n"), max_size=8).map(lambda text: f"/srv/{text}x")


@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True), data=st.data())
def test_a_plans_command_asks_for_the_same_places_whatever_tablespaces_are_called(
        names: list[str], data: st.DataObject) -> None:
    spaces = [TablespacePlace(16400 + number, name, f"/mnt/{number}", "", 0) for number, name in enumerate(names)]
    asked = tuple(space.at(data.draw(PLACES)) for space in spaces)
    words = shlex.split(shlex.join(restore_plan(tablespaces=asked).to_argv()))
    assert placed(spaces, parse(words[2:]).tablespaces, SimpleNamespace(id="B")) == asked  # type: ignore[arg-type]


@pytest.mark.parametrize(("major", "versions", "outcome"), [
    (13, ["13.7"], Outcome.FAILED), (13, ["13.8"], None), (13, ["13.23"], None), (14, ["14.4"], Outcome.FAILED),
    (14, ["14.5"], None), (14, ["14.5 (Debian 14.5-1.pgdg110+1)"], None), (14, ["14.4", "14.19"], Outcome.FAILED),
    (14, ["14.19", "14beta3"], Outcome.WARNING), (14, ["13.2", "14.19"], None), (14, [], Outcome.WARNING),
    (13, ["15.1"], Outcome.WARNING), (13, [""], Outcome.WARNING), (15, ["15.0"], None), (15, ["15beta1"], None),
    (18, [], None), (19, ["19rc1"], None)])
def test_a_minor_that_replays_tablespaces_only_at_their_paths_is_refused(
        major: int, versions: list[str], outcome: Outcome | None) -> None:
    """allow_in_place_tablespaces came to 13.8 and 14.5."""
    found = list(minor_conditions([Installation(f"/pg/{each}", each, True) for each in versions], major))
    assert [each.outcome for each in found] == ([outcome] if outcome else [])
    assert all(f"{major}.{8 if major == 13 else 5}" in each.fix for each in found)
