"""A vault whose file system is not mounted: its mount point is an empty directory, and no place for a new vault."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from making_wal import segment
from support.cli import Completed, environment, pgvault, pgvault_argv

from pgvault.jobs.registry import create_job
from pgvault.model.errors import NotFound, PgvaultError, Refused
from pgvault.model.job import JobKind
from pgvault.vault import mount_guard
from pgvault.vault.layout import Vault

ONE, TWO = "000000010000000000000001", "000000010000000000000002"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "mounted here" / "vault"


@pytest.fixture
def config(tmp_path: Path, home: Path) -> Path:
    path = tmp_path / "pgvault.toml"
    path.write_text(f'[vault]\nhome = "{home}"\n[servers.main]\nconninfo = "host=127.0.0.1 port=1"\n')
    return path


def unmount(directory: Path) -> Path:
    """What is there is elsewhere from now on, as another file system would be."""
    elsewhere = directory.with_name("elsewhere")
    directory.rename(elsewhere)
    directory.mkdir()
    return elsewhere


def archive(config: Path, name: str, **options: object) -> Completed:
    return pgvault("put-wal", "main", name, config=config, input=segment(name), **options)


def identity(home: Path) -> str:
    return Vault.writable(home) or ""


@pytest.mark.parametrize("mount_point", [".", ".."])
def test_wal_is_refused_and_nothing_is_made(config: Path, home: Path, mount_point: str) -> None:
    archive(config, ONE, check=0)
    elsewhere = unmount(home / mount_point if mount_point == "." else home.parent)
    refused = archive(config, TWO, check=5)
    assert f"the vault in {home} is not there" in refused.stderr
    assert "may not be mounted" in refused.stderr
    [record] = mount_guard.records(home)
    assert f"rm {shlex.quote(str(record))}" in refused.stderr
    missing = home if mount_point == "." else home.parent
    assert os.listdir(missing) == []
    missing.rmdir()
    elsewhere.rename(missing)
    archive(config, TWO, check=0)


@pytest.mark.parametrize("words", [("backup", "main"), ("backup", "main", "--detach"), ("receive-wal", "main"),
                                   ("archive-wal", "main")])
def test_no_other_verb_makes_one_either(config: Path, home: Path, words: tuple[str, ...]) -> None:
    archive(config, ONE, check=0)
    unmount(home)
    assert f"the vault in {home} is not there" in pgvault(*words, config=config, check=5).stderr
    assert os.listdir(home) == []


def test_check_says_the_same(config: Path, home: Path) -> None:
    archive(config, ONE, check=0)
    unmount(home)
    told = pgvault("check", "main", config=config, check=3).text
    assert f"the vault in {home} is not there" in told
    assert f"rm {shlex.quote(str(mount_guard.records(home)[0]))}" in told
    assert os.listdir(home) == []


def test_get_wal_is_in_doubt(config: Path, home: Path) -> None:
    """Rule 17: PostgreSQL is not to take it for the end of the WAL."""
    archive(config, ONE, check=0)
    unmount(home)
    assert "is not there" in pgvault("get-wal", "main", ONE, config=config, check=200).stderr


def test_one_that_is_gone_for_good_is_made_anew_when_that_was_said(config: Path, home: Path) -> None:
    archive(config, ONE, check=0)
    before = identity(home)
    shutil.rmtree(home)
    archive(config, ONE, check=5)
    mount_guard.records(home)[0].unlink()
    archive(config, ONE, check=0)
    assert identity(home) != before


def test_another_vault_in_its_place_is_not_written_to_before_that_was_said(
        config: Path, home: Path, tmp_path: Path) -> None:
    """As when another disk is mounted; reading it is another matter."""
    archive(config, ONE, check=0)
    unmount(home)
    home.rmdir()
    shutil.copytree(Vault.open_or_create(tmp_path / "other").home, home)
    refused = archive(config, ONE, check=5)
    assert f"the vault in {home} is not the one that was there before" in refused.stderr
    assert not (home / "main").exists()
    Vault.open(home)
    assert "is not the one" in pgvault("check", "main", config=config, check=3).text
    [accept] = [line for line in refused.stderr.splitlines() if "echo" in line]
    subprocess.run(accept[accept.index("echo"):], shell=True, check=True)  # noqa: S602
    archive(config, ONE, check=0)


def test_a_copy_of_the_vault_is_the_same_vault(config: Path, home: Path) -> None:
    archive(config, ONE, check=0)
    shutil.copytree(unmount(home), home, dirs_exist_ok=True)
    archive(config, TWO, check=0)


def test_reading_a_vault_does_not_make_it_this_users(tmp_path: Path) -> None:
    home = tmp_path / "vault"
    Vault.open_or_create(home)
    mount_guard.forget(home)
    Vault.open(home)
    shutil.rmtree(home)
    with pytest.raises(NotFound):
        Vault.open(home)


def test_two_that_make_it_at_once_make_one(tmp_path: Path) -> None:
    """What one has kept of the id holds."""
    for number in range(10):
        home = tmp_path / str(number)
        ids: list[str] = []
        together = threading.Barrier(4)

        def make(home: Path = home, ids: list[str] = ids, together: threading.Barrier = together) -> None:
            together.wait()
            ids.append(identity(Vault.open_or_create(home).home))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(ids) == 4
        assert len(set(ids)) == 1
        assert sorted(os.listdir(home)) == ["README", "jobs", "vault.toml"]


def _no_directory(state: Path) -> None:
    state.write_text("a file")


def _garbage(state: Path) -> None:
    state.mkdir()
    (state / "pgvault").mkdir()
    (state / "pgvault/vaults").write_bytes(b"\xff" * 100)


@pytest.mark.parametrize("spoil", [_no_directory, _garbage])
def test_a_state_that_cannot_be_used_stops_nothing(
        config: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    state = tmp_path / "state"
    spoil(state)
    for name in (ONE, TWO):
        archive(config, name, check=0, env={"XDG_STATE_HOME": str(state)})


def test_without_home_the_accounts_own_is_taken(config: Path, home: Path) -> None:
    """As where PostgreSQL runs archive_command; none at all is no reason to stop."""
    env = environment()
    del env["HOME"]
    subprocess.run(pgvault_argv("put-wal", "main", ONE, config=config), input=segment(ONE), env=env, check=True)
    assert mount_guard.records(home)[0].exists()
    del env["XDG_STATE_HOME"]
    code = ("import os, pwd\ndef nobody(uid): raise KeyError\npwd.getpwuid = nobody\nfrom pathlib import Path\n"
            "from pgvault.vault.layout import Vault\nVault.open_or_create(Path(os.environ['VAULT']))")
    subprocess.run([*pgvault_argv()[:1], "-c", code], env={**env, "VAULT": str(home)}, check=True, cwd=home.parent)
    assert os.listdir(home.parent) == ["vault"]


def test_an_archive_that_is_there_costs_no_flush_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Vault.open_or_create(home)
    monkeypatch.setattr(os, "fsync", lambda *_: pytest.fail("flushed"))
    Vault.open_or_create(home)


def test_a_job_is_begun_elsewhere_than_in_a_vault_that_is_not_there(home: Path) -> None:
    Vault.open_or_create(home)
    unmount(home)
    with pytest.raises(Refused, match="is not there"):
        create_job(home, JobKind.BACKUP, "main", "pgvault backup main")
    assert os.listdir(home) == []


def test_places_do_not_share_what_is_known(tmp_path: Path) -> None:
    for name in ("a%2Fb", "a/b", "a"):
        Vault.open_or_create(tmp_path / name / "vault")
    files = {file for name in ("a%2Fb", "a/b", "a") for file in mount_guard.records(tmp_path / name / "vault")}
    assert len(files) == 3
    assert all(len(file.read_text().splitlines()) == 2 for file in files)


@pytest.mark.parametrize(("first", "then"), [
    ("disk/vault", "disk/../disk/vault"), ("disk/../disk/vault", "disk/vault"), ("link/vault", "disk/vault"),
    ("disk/vault", "link/vault"), ("link/vault", "link/vault"), ("disk/current/vault", "disk/current/vault")])
def test_a_place_is_the_same_however_it_is_spelled(tmp_path: Path, first: str, then: str) -> None:
    """A link may be before the mount point, or on the file system that is not there."""
    disk = tmp_path / "disk"
    (disk / "version2").mkdir(parents=True)
    (disk / "current").symlink_to("version2")
    (tmp_path / "link").symlink_to("disk")
    made = Vault.open_or_create(tmp_path / first)
    assert Vault.writable(tmp_path / first) == made.read_id()
    unmount(disk)
    with pytest.raises(Refused, match="is not there") as refused:
        Vault.open_or_create(tmp_path / then)
    subprocess.run(refused.value.hint[refused.value.hint.index("rm "):], shell=True, check=True)  # noqa: S602
    Vault.open_or_create(tmp_path / then)


def test_no_path_is_too_long_to_be_known(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["directory" * 10] * 4)
    Vault.open_or_create(home)
    shutil.rmtree(home)
    with pytest.raises(Refused, match="is not there"):
        Vault.writable(home)


def test_what_is_known_says_of_which_place(tmp_path: Path) -> None:
    home = tmp_path / "mounted\nhere é"
    vault_id = Vault.open_or_create(home).read_id()
    [place, known_id] = mount_guard.records(home)[0].read_text().splitlines()
    assert repr(str(home)) in place
    assert known_id == vault_id


def test_what_is_no_vault_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("18")
    with pytest.raises(PgvaultError, match="not empty"):
        Vault.writable(tmp_path)
