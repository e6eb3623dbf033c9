"""Objects are reached through the store: what opens files by itself is named here, with what those files are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgvault

SOURCE = Path(pgvault.__file__).parent
OPENERS = ("open", "read_text", "read_bytes", "open_private")

BESIDE_THE_OBJECTS = {
    "vault": {
        "local_files.py": "fetched manifests",
        "catalog_cache.py": "the cache of the backups' facts",
        "index_files.py": "SQLite's files",
        "manifest.py": "a manifest that is being made, or was fetched",
        "mount_guard.py": "the user's own state",
        "quarantine.py": "what was not accepted",
        "streaming.py": "segments while they are streamed",
        "wal_fetch.py": "what waits in incoming and streaming",
        "wal_unfinished.py": "what is being streamed",
    },
    "engine": {
        "backup/wal.py": "a segment that is being fetched",
        "incoming.py": "what waits in incoming",
    },
}


def opens(text: str) -> Iterator[int]:
    """The lines on which a file is opened."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in OPENERS and not ast.unparse(called).endswith("Vault.open"):
                yield node.lineno


@pytest.mark.parametrize("layer", BESIDE_THE_OBJECTS)
def test_only_what_lies_beside_the_objects_is_opened_without_the_store(layer: str) -> None:
    directory = SOURCE / layer
    found = {str(path.relative_to(directory)) for path in directory.rglob("*.py") if [*opens(path.read_text())]}
    assert found == set(BESIDE_THE_OBJECTS[layer])


@pytest.mark.parametrize("text", ["open(path)", "path.open('rb')", "os.open(path, 0)", "path.read_bytes()"])
def test_a_file_that_is_opened_is_found(text: str) -> None:
    assert list(opens(text)) == [1]


@pytest.mark.parametrize("text", ["Vault.open(home)", "store.stream(key)", "store.read(key)"])
def test_what_asks_the_store_opens_nothing(text: str) -> None:
    assert list(opens(text)) == []
