"""Giving WAL back: whole and verified, proven absent, or an error that stops PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from making_wal import new_vault, put, segment
from support.cli import environment, pgvault, pgvault_argv
from support.objects import wal_path

from pgvault.model.errors import Corrupt, InDoubt
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_fetch import fetch

ONE, TWO, THREE = (f"00000001000000000000000{i}" for i in range(1, 4))


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = new_vault(tmp_path / "v")
    put(server, ONE)
    return server


@pytest.fixture
def config(server: ServerVault, tmp_path: Path) -> Path:
    path = tmp_path / "pgvault.toml"
    path.write_text(f'[vault]\nhome = "{server.home.parent}"\n[servers.main]\nconninfo = "host=127.0.0.1"\n')
    return path


def get(config: Path, *arguments: str, **options: object):
    return pgvault("get-wal", *arguments, config=config, **options)


def test_absent_is_said_only_when_the_archive_answered(config: Path, tmp_path: Path) -> None:
    """Rule 17, case 11: exit 1, and nothing where PostgreSQL looks."""
    target = tmp_path / "RECOVERYXLOG"
    done = get(config, "main", TWO, "-o", str(target))
    assert done.returncode == 1
    assert os.listdir(target.parent).count(target.name) == 0
    assert get(config, "main", "00000002.history").returncode == 1


def test_given_whole_to_a_file_or_standard_output(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "RECOVERYXLOG"
    assert get(config, "main", ONE, "-o", str(target)).returncode == 0
    assert target.read_bytes() == segment(ONE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["RECOVERYXLOG", "pgvault.toml", "v"]
    done = get(config, "main", ONE)
    assert (done.returncode, done.stdout) == (0, segment(ONE))


def damage_file(server: ServerVault) -> None:
    path = wal_path(server, ONE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_file(server: ServerVault) -> None:
    os.truncate(wal_path(server, ONE), 1000)


def swap_file(server: ServerVault) -> None:
    put(server, TWO)
    wal_path(server, TWO).replace(wal_path(server, ONE))


def swap_file_without_index(server: ServerVault) -> None:
    swap_file(server)
    wal_index.discard(server)


def other_content(server: ServerVault) -> None:
    """Valid in itself, but not what was archived."""
    from pgvault.vault.compression import compress

    wal_path(server, ONE).write_bytes(compress(segment(ONE, seed=7), 1))


def lose_file(server: ServerVault) -> None:
    wal_path(server, ONE).unlink()


def lose_vault(server: ServerVault) -> None:
    server.home.parent.rename(server.home.parent.with_name("elsewhere"))


def lose_server(server: ServerVault) -> None:
    server.home.rename(server.home.with_name("other"))


def lose_wal(server: ServerVault) -> None:
    server.wal.rename(server.home / "wall")


def block_directory(server: ServerVault) -> None:
    """As a stale mount: the directory's place cannot be looked into."""
    directory = wal_path(server, ONE).parent
    directory.rename(server.home / "moved")
    directory.write_text("no directory")


def arrive_broken(server: ServerVault) -> None:
    lose_file(server)
    wal_index.discard(server)
    (server.spool.incoming / ONE).write_bytes(segment(ONE)[:5000])


@pytest.mark.parametrize("accident", [
    damage_file, cut_file, swap_file, swap_file_without_index, other_content, lose_file, lose_vault, lose_server,
    lose_wal, block_directory,
    arrive_broken], ids=lambda accident: accident.__name__)
def test_any_doubt_stops_postgresql_and_leaves_nothing(
        server: ServerVault, config: Path, tmp_path: Path, accident) -> None:
    """Rule 17, case 11: above 125, and neither a whole nor a partial file at %p or on standard output."""
    accident(server)
    target = tmp_path / "pg_wal" / "RECOVERYXLOG"
    target.parent.mkdir()
    done = get(config, "main", ONE, "-o", str(target))
    assert done.returncode == 200, done.stderr
    assert os.listdir(target.parent) == []
    done = get(config, "main", ONE)
    assert (done.returncode, done.stdout) == (200, b"")


@pytest.mark.parametrize("arguments", [
    ("main",), ("other", ONE), ("main", "../x"), ("main", ONE, "--outptu", "x"), ("main", ONE, "-o", "/nowhere/x")])
def test_even_a_wrong_call_stops_postgresql(config: Path, arguments: tuple[str, ...]) -> None:
    """Rule 17: a misspelt restore_command must not look like the end of WAL."""
    assert get(config, *arguments).returncode == 200


def test_a_broken_configuration_stops_postgresql(config: Path) -> None:
    config.write_text("[vault\n")
    assert get(config, "main", ONE).returncode == 200
    assert pgvault("get-wal", "main", ONE).returncode == 200


def test_a_partial_segment_is_never_given_for_a_whole_one(server: ServerVault) -> None:
    """Rule 14: only who asks for `.partial` gets it."""
    put(server, f"{TWO}.partial", segment(TWO))
    (server.spool.streaming / f"{TWO}.partial").write_bytes(segment(TWO))
    assert fetch(server, TWO) is None
    assert fetch(server, f"{TWO}.partial") == segment(TWO)


@pytest.mark.parametrize("place", ["streaming", "incoming"])
def test_what_waits_to_be_archived_is_not_absent(server: ServerVault, place: str) -> None:
    """Rule 17: a complete segment that only waits for the next run of cron is archived now and given."""
    getattr(server.spool, place).joinpath(TWO).write_bytes(segment(TWO))
    assert fetch(server, TWO) == segment(TWO)
    assert wal_path(server, TWO).exists()


def test_the_archive_answers_without_its_index(server: ServerVault) -> None:
    wal_index.discard(server)
    assert fetch(server, ONE) == segment(ONE)
    assert fetch(server, TWO) is None
    server.cache.wal.write_bytes(b"no database" * 1000)
    assert fetch(server, ONE) == segment(ONE)


def test_with_an_index_that_cannot_be_asked_nothing_is_proven_absent(server: ServerVault) -> None:
    """Rule 17: it may know of a file that is gone, and PostgreSQL would promote without its WAL."""
    wal_path(server, ONE).unlink()
    server.cache.wal.write_bytes(b"no database" * 1000)
    with pytest.raises(InDoubt, match="could not ask the index"):
        fetch(server, ONE)


def test_what_was_archived_and_is_gone_is_in_doubt(server: ServerVault) -> None:
    wal_path(server, ONE).unlink()
    with pytest.raises(InDoubt, match="was archived"):
        fetch(server, ONE)


def test_damage_is_named(server: ServerVault) -> None:
    """Case 34."""
    damage_file(server)
    with pytest.raises(Corrupt, match=ONE):
        fetch(server, ONE)


@pytest.mark.parametrize("words", [("put-wal", "main", TWO), ("get-wal", "main", ONE)], ids=lambda words: words[0])
def test_what_postgresql_waits_for_loads_little(words: tuple[str, ...], config: Path) -> None:
    """Neither the console, nor ssh, nor even a driver for PostgreSQL; also while they work."""
    code = "import sys; from pgvault.cli.main import main; code = main(); print(code, *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--config", str(config), *words], input=segment(TWO),
                          capture_output=True, check=True)
    exit_code, *loaded = done.stderr.decode().split()
    assert exit_code == "0"
    assert {"textual", "rich", "asyncssh", "psycopg", "asyncio", "msgspec", "humanize", "subprocess", "logging",
            "dataclasses", "json", "threading", "tomli_w", "zoneinfo"}.isdisjoint(loaded)


def test_a_pipe_is_read_in_large_pieces(server: ServerVault, config: Path) -> None:
    """A pipe's usual 64 KiB cost put-wal a fifth of its time."""
    reading, writing = os.pipe()
    usual = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    with open(reading, "rb") as source:
        process = subprocess.Popen(pgvault_argv("put-wal", "main", TWO, config=config), env=environment(), stdin=source)
        with open(writing, "wb") as sink:
            sink.write(segment(TWO))
        assert process.wait() == 0
        assert fcntl.fcntl(source, fcntl.F_GETPIPE_SZ) > usual
    assert fetch(server, TWO) == segment(TWO)


def test_put_wal_acknowledges_only_what_it_stored(server: ServerVault, config: Path) -> None:
    """Rules 10 and 11 at the command line: success, success for the same, and a failure for everything else."""
    for name, data, code in ((TWO, segment(TWO), 0), (TWO, segment(TWO), 0), (TWO, segment(TWO, seed=1), 5),
                             (THREE, segment(THREE)[:-1], 5), (THREE, b"", 5), ("../x", segment(THREE), 5)):
        pgvault("put-wal", "main", name, config=config, input=data, check=code)
    assert fetch(server, TWO) == segment(TWO)
    assert fetch(server, THREE) is None
    pgvault("put-wal", "other", TWO, config=config, input=segment(TWO), check=4)
