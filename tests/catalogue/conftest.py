"""A vault for the catalogue to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "vault", tmp_path / "pgvault.toml")
    shelf.configure()
    return shelf


@pytest.fixture
def lines_of(shelf: Shelf) -> Callable[..., list[str]]:
    """The lines that a verb prints."""
    return lambda *args: shelf.run(*args).text.splitlines()
