"""A vault belongs to one user: what another one writes there, its owner could not read."""

from __future__ import annotations

import os
import pwd
from functools import partial

import pytest
from support.account import account

from pgvault.jobs.registry import create_job
from pgvault.model.errors import Refused
from pgvault.model.job import JobKind
from pgvault.vault.layout import Vault, user_name


@pytest.fixture
def somebody_elses_home(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may write into another user's directory")
    home = tmp_path / "vault"
    home.mkdir()
    os.chown(home, account().uid, account().gid)
    return home


@pytest.mark.parametrize("enter", [
    Vault.open_or_create, Vault.open, partial(create_job, kind=JobKind.BACKUP, server="main-db", command="pgvault")])
def test_root_is_sent_to_the_owner_and_leaves_nothing(somebody_elses_home, enter):
    with pytest.raises(Refused, match="belongs to another user") as refusal:
        enter(somebody_elses_home)
    assert account().name in refusal.value.hint
    assert not any(somebody_elses_home.iterdir())


def test_a_user_without_a_name_is_called_by_its_number():
    assert user_name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert user_name(3_999_999_999) == "3999999999"
