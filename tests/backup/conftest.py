"""Servers to back up, and vaults for their backups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from station import Station
from support.account import open_directory, remove_tree
from support.fleet import Fleet, Shape
from support.installation import installation
from support.postgres import Server


@pytest.fixture
def station(open_tmp: Path) -> Iterator[Callable[..., Station]]:
    """Makes vaults for a server: `station(server)`, or `station(server, home)` for one that stands elsewhere."""
    made: list[Station] = []

    def make(server: Server, home: Path | None = None, *, conninfo: str = "", **settings: object) -> Station:
        directory = open_tmp / f"station-{len(made)}"
        directory.mkdir()
        made.append(Station(server, home or directory / "vault", directory, dict(settings), conninfo))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def small(fleet: Fleet) -> Iterator[Server]:
    """One server for the tests of a module, with segments of 1 MiB; they may write to it and must not break it."""
    server = fleet.make(installation(18), Shape(wal_segsize=1)).start()
    yield server
    fleet.remove(server)


@pytest.fixture(scope="module")
def module_directory() -> Iterator[Path]:
    path = open_directory()
    yield path
    remove_tree(path)


@pytest.fixture
def own_small(own_server: Callable[..., Server]) -> Callable[..., Server]:
    """Makes servers of the test's own, with segments of 1 MiB."""
    def make(major: int = 18, **options: Any) -> Server:
        return own_server(major, wal_segsize=1, **options)
    return make
