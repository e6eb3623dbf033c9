"""A machine whose zone is not UTC."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def far_from_utc() -> Iterator[None]:
    """Nearly half a day and a quarter of an hour: what forgets to say that a time is meant in UTC is then wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Pacific/Chatham")
        time.tzset()
        yield
    time.tzset()
