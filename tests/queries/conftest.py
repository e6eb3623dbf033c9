"""A vault that is written down by hand: the queries only read."""

from __future__ import annotations

from pathlib import Path

import pytest
from shelf import SIZE, Shelf

from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "vault", tmp_path / "pgvault.toml")


@pytest.fixture
def vault(shelf: Shelf) -> ServerVault:
    """Of the server `main`, whose cluster is known."""
    server = shelf.server()
    claim(server, Identity("7300000000000000001", SIZE))
    return server
