"""The workshop of the tests of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    place = tmp_path / "place"
    place.mkdir()
    config = tmp_path / "pgvault.toml"
    home = tmp_path / "vault"
    config.write_text(f'[vault]\nhome = "{home}"\nlog_file = "{tmp_path}/pgvault.log"\n')
    shop = Workshop(home, place, config)
    yield shop
    for process in shop.processes:
        if process.poll() is None:
            process.kill()
        with process:  # closes its streams and waits
            pass
