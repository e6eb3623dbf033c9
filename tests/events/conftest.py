"""One story for each major, told once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from happenings import Site, live_through, site
from support.fleet import Fleet
from support.installation import MAJORS, installation


@pytest.fixture(scope="module", params=[
    pytest.param(major, marks=pytest.mark.xdist_group(f"events-{major}"), id=f"pg{major}") for major in MAJORS])
def lived(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Site]:
    """Everything has happened on this server, and is archived: ask, and change nothing."""
    installation(request.param)
    with site(fleet, request.param) as made:
        live_through(made)
        yield made
