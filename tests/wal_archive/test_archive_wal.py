"""`archive-wal` as a crontab line has it: one server that fails stops no other, and silence says that all is well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making_wal import new_vault, segment
from support.account import account
from support.cli import Completed, pgvault
from support.objects import wal_path

from pgvault.vault.layout import Vault

ONE = "000000010000000000000001"


class Site:
    """Three configured servers, `first` to `third`, with a segment in the `incoming` of the last."""

    def __init__(self, directory: Path) -> None:
        self.vault = new_vault(directory / "vault")
        self.home = self.vault.home.parent
        self.config = directory / "pgvault.toml"
        servers = "".join(f'[servers.{name}]\nconninfo = "host=127.0.0.1 port=1"\n' for name in
                          ("first", "second", "third"))  # fmt: skip
        self.config.write_text(f'[vault]\nhome = "{self.home}"\n{servers}')

    def incoming(self, name: str) -> Path:
        server = Vault(self.home).server(name)
        server.prepare()
        return server.spool.incoming

    def run(self, *more: str) -> Completed:
        return pgvault(*more, "archive-wal", "all", config=self.config)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_broken_server_stops_no_other_one(site: Site) -> None:
    site.incoming("first")
    (site.home / "first" / "identity.toml").write_text("not toml")
    (site.incoming("second") / "rubbish").write_text("no WAL")
    (site.incoming("third") / ONE).write_bytes(segment(ONE))
    done = site.run()
    assert wal_path(Vault(site.home).server("third"), ONE).exists()
    assert done.returncode == 1, str(done)
    assert "first: could not read" in done.stderr
    assert "rubbish" in done.stderr
    assert done.text.splitlines() == ["second: 1 moved to quarantine", "third: 1 archived"]


def test_the_exit_code_is_that_of_the_worst(site: Site) -> None:
    """The first one's is 1; that of the second, which has no usable index, is 5."""
    (site.incoming("first") / "rubbish").write_text("no WAL")
    site.incoming("second")
    (site.home / "second" / "wal.sqlite").mkdir()
    done = site.run()
    assert done.returncode == 5, str(done)
    assert "second: could not use the index" in done.stderr


def test_it_prints_nothing_where_there_is_nothing_to_say(site: Site) -> None:
    for name in ("first", "second", "third"):
        site.incoming(name)
    done = site.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", "")


def test_an_incoming_made_by_hand_before_the_first_backup_is_accepted(tmp_path: Path) -> None:
    home = tmp_path / "vault"
    (home / "main" / "incoming").mkdir(parents=True)
    (home / "main" / "incoming" / ONE).write_bytes(segment(ONE))
    (home / "main" / "incoming").chmod(0o777)
    config = tmp_path / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{home}"\n[servers.main]\nconninfo = "host=127.0.0.1 port=1"\n')
    done = pgvault("archive-wal", "main", config=config, check=0)
    assert done.text == "main: 1 archived\n"
    assert f"every user of this machine may write to {home}/main/incoming: chmod o-w" in done.stderr


@pytest.mark.skipif(account().is_me, reason="only root can make a directory that another user may not write to")
def test_an_incoming_of_another_user_is_named(open_tmp: Path) -> None:
    home = open_tmp / "vault"
    (home / "main" / "incoming").mkdir(parents=True)
    account().own(home)
    incoming = home / "main" / "incoming"
    incoming.joinpath(ONE).write_bytes(segment(ONE))
    os.chown(incoming, 0, 0)
    incoming.chmod(0o755)
    config = open_tmp / "pgvault.toml"
    config.write_text(f'[vault]\nhome = "{home}"\n[servers.main]\nconninfo = "host=127.0.0.1 port=1"\n')
    done = pgvault("archive-wal", "main", config=config, account=account(), check=5)
    assert f"could not take files out of {incoming}" in done.stderr
    assert "root owns it, with mode 0755" in done.stderr
    assert incoming.joinpath(ONE).exists()
