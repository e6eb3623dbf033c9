"""Case 34: a restore never succeeds silently with a damaged byte in the vault, and says which file it is in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from destination_site import Site, made_site, refuses_to_start
from support.account import account
from support.cli import Completed, pgvault
from support.fleet import Fleet
from support.objects import manifest_path

from pgvault.model.lsn import Lsn
from pgvault.vault import catalog


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    """Two backups that share most of their frames."""
    with made_site(fleet, with_spaces=False) as site:
        site.server.sql("create table later as select n, md5(n::text) from generate_series(1, 20000) n; checkpoint")
        site.run("backup", "main", "--immediate-checkpoint")
        yield site


@dataclass
class Copy:
    """A copy of the vault, to be damaged."""

    site: Site
    home: Path

    @property
    def server(self) -> Path:
        return self.home / "main"

    def flip(self, path: Path, at: int, bits: int = 0x10) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= bits
        path.write_bytes(content)

    def restore(self, directory: Path, backup: str = "latest", *more: str) -> Completed:
        config = self.home / "pgvault.toml"
        config.write_text(self.site.config.read_text().replace(str(self.site.home), str(self.home)))
        account().own(self.home)
        return pgvault("restore", "main", backup, directory, "--host", "here", "--target-immediate", "--yes", *more,
                       config=config, account=account())  # fmt: skip


@pytest.fixture
def copy(site: Site) -> Iterator[Copy]:
    home = site.root / "copy"
    shutil.copytree(site.home, home)
    yield Copy(site, home)
    shutil.rmtree(home)


def frames_of(site: Site, backup: str) -> set[bytes]:
    import sqlite3

    path = manifest_path(site.vault, catalog.find(site.vault, backup).id)
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        return {row[0] for row in connection.execute("select frame from run where frame is not null")}


def place_of(copy: Copy, frame: bytes) -> tuple[Path, int, int]:
    import sqlite3

    with sqlite3.connect(f"file:{copy.server}/frames.sqlite?mode=ro", uri=True) as connection:
        pack, offset, stored = connection.execute(
            "select p.name, f.offset, f.stored from frame f join pack p on p.id = f.pack where f.id = ?", (frame,)
        ).fetchone()  # fmt: skip
    return copy.server / "packs" / f"{pack}.pack", offset, stored


def test_a_pack(site: Site, copy: Copy) -> None:
    """Only the backup that uses the damaged bytes is affected."""
    [frame] = sorted(frames_of(site, "latest") - frames_of(site, "oldest"))[:1]
    pack, offset, stored = place_of(copy, frame)
    copy.flip(pack, offset + stored // 2)
    directory = site.place("pack")
    done = copy.restore(directory)
    assert done.returncode == 8, str(done)
    assert pack.stem in done.stderr
    assert (directory / "pgvault-restore-incomplete").exists()
    assert refuses_to_start(site, directory)
    assert copy.restore(site.place("pack-other"), "oldest").returncode == 0


@pytest.mark.parametrize("name", ["manifest", "segment", "backup.toml: form", "backup.toml: begin", "backup.toml: end"])
def test_what_is_noticed_before_the_server_could_start(site: Site, copy: Copy, name: str) -> None:
    latest = catalog.find(site.vault, "latest").id
    facts = copy.server / "backups" / latest / "backup.toml"
    segment = max(copy.server.glob("wal/*/*.zst"), key=lambda path: path.name)
    path, at = {
        "manifest": (copy.server / "backups" / latest / "manifest.sqlite", 5000),
        "segment": (segment, segment.stat().st_size // 2),
        "backup.toml: form": (facts, facts.read_text().index("begin_lsn = ") + 11),
        "backup.toml: begin": (facts, facts.read_text().index("begin_lsn = ") + 18),
        "backup.toml: end": (facts, 0),
    }[name]
    if name == "backup.toml: end":  # a little earlier, where there is WAL too
        end = catalog.find(site.vault, latest).end_lsn
        facts.write_text(facts.read_text().replace(f'"{end}"', f'"{Lsn(end - 8)}"'))
    else:
        copy.flip(path, at, 1 if name == "backup.toml: begin" else 0x10)
    directory = site.place(f"noticed {name}")
    done = copy.restore(directory, latest)
    assert done.returncode in ({1, 8} if name == "backup.toml: form" else {8}), str(done)
    assert path.name in done.stderr
    assert refuses_to_start(site, directory)
    if name != "segment":  # the other backup is whole; this segment is not one that it needs
        other = copy.restore(site.place(f"other {name}"), "oldest")
        assert other.returncode == 0
    if name == "backup.toml: form":  # passed over, but not in silence
        other = copy.restore(site.place("instead"), "latest")
        assert f"WARNING: unreadable backup {latest} (It was passed over" in other.stderr


def test_the_frames_index_is_a_cache(site: Site, copy: Copy) -> None:
    """Whatever byte of it is wrong: the restore fails and says so, or what it writes is right."""
    index = copy.server / "frames.sqlite"
    for number, at in enumerate(range(100, index.stat().st_size, index.stat().st_size // 6)):
        shutil.copy(site.vault.cache.frames, index)
        copy.flip(index, at)
        directory = site.place(f"index-{number}")
        done = copy.restore(directory)
        if done.returncode:
            assert done.returncode == 8, str(done)
            assert re.search(r"frames\.sqlite|pack|frame", done.stderr)
            assert not (directory / "global/pg_control").exists()
        else:
            site.verify_files(directory)


def test_a_missing_pack(site: Site, copy: Copy) -> None:
    [frame] = sorted(frames_of(site, "latest") - frames_of(site, "oldest"))[:1]
    pack = place_of(copy, frame)[0]
    pack.unlink()
    done = copy.restore(site.place("missing"))
    assert done.returncode == 8, str(done)
    assert refuses_to_start(site, site.place("missing")) or not site.place("missing").exists()


def test_damage_that_a_fitting_checksum_hides_is_found_too(site: Site, copy: Copy) -> None:
    """By zstd's checksum at the destination, which gets the frames as they are stored."""
    import sqlite3

    from crc32c import crc32c

    [frame] = sorted(frames_of(site, "latest") - frames_of(site, "oldest"))[:1]
    pack, offset, stored = place_of(copy, frame)
    copy.flip(pack, offset + stored // 2)
    content = pack.read_bytes()[offset:offset + stored]
    with sqlite3.connect(copy.server / "frames.sqlite") as connection:
        connection.execute("update frame set crc32c = ? where id = ?", (crc32c(content), frame))
    connection.close()
    directory = site.place("crc")
    done = copy.restore(directory)
    assert done.returncode != 0, str(done)
    assert refuses_to_start(site, directory)
