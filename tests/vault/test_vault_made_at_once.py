"""A vault that several processes make at the same moment is one vault, and each of them may use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgvault.model.errors import PgvaultError
from pgvault.vault import layout, mount_guard
from pgvault.vault.layout import Vault


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def made_by_another(home: Path) -> None:
    """All that another process does at its first use of the vault."""
    vault = Vault(home)
    if not vault.is_there:
        vault._create()
        vault.server("main").prepare()
        mount_guard.remember(home, vault.read_id())


@pytest.mark.parametrize("step", ["refuse_missing", "listdir"])
def test_another_process_makes_it_between_two_looks(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process comes right before one of the steps that follow the look at the marker."""
    home = tmp_path / "vault"
    home.mkdir()
    place = mount_guard if step == "refuse_missing" else layout.os
    follows: Callable[..., object] = getattr(place, step)

    def overtaken(*arguments: object) -> object:
        monkeypatch.undo()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        made_by_another(home)
        return follows(*arguments)

    monkeypatch.setattr(place, step, overtaken)
    assert Vault.writable(home) == Vault(home).read_id()
    assert Vault.open_or_create(home).home == home


def test_a_place_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "photographs").touch()
    with pytest.raises(PgvaultError, match="is not empty and is no vault"):
        Vault.open_or_create(tmp_path / "vault")
