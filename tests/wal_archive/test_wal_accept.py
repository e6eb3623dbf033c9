"""Accepting WAL files: what is checked, what is refused, and in which order things become durable."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from making_wal import MIB, SYSTEM, names_on_disk, new_vault, paged_segment, put, quarantined, rows, segment
from support.objects import wal_path

from pgvault.model.errors import NoSpace, Refused, Rejected, Unreachable
from pgvault.vault import wal_index
from pgvault.vault.identity import Identity, read_identity
from pgvault.vault.wal_archive import accept, sweep
from pgvault.vault.wal_fetch import fetch

ONE, TWO = "000000010000000000000001", "000000010000000000000002"
HISTORY = b"1\t0/1FFFF0\tno recovery target specified\n"
LABEL = f"START WAL LOCATION: 0/100028 (file {ONE})\nSTOP WAL LOCATION: 0/100100 (file {ONE})\n".encode()


def test_the_first_segment_claims_the_vault_for_its_cluster(tmp_path: Path) -> None:
    """Rule 6: the segment's own header says which cluster this is, and the next one must be of the same."""
    server = new_vault(tmp_path / "v")
    assert put(server, ONE).new
    assert read_identity(server) == Identity(str(SYSTEM), MIB)
    with pytest.raises(Refused, match="another cluster") as refused:
        put(server, TWO, segment(TWO, system=SYSTEM + 1))
    assert str(SYSTEM) in refused.value.message
    assert str(SYSTEM + 1) in refused.value.message
    assert fetch(server, ONE) == segment(ONE)


@pytest.mark.parametrize(("name", "data"), [
    (ONE, segment(ONE)), (ONE + ".partial", segment(ONE)), (f"{ONE}.00000028.backup", LABEL),
    ("00000002.history", HISTORY)], ids=["segment", "partial", "label", "history"])
def test_every_kind_of_file_that_postgresql_archives_is_kept(tmp_path: Path, name: str, data: bytes) -> None:
    """Case 1."""
    server = new_vault(tmp_path / "v")
    assert put(server, name, data).new
    assert fetch(server, name) == data
    assert [row[0] for row in rows(server)["file"]] == [name]


@pytest.mark.parametrize("name", [
    ONE[:-1], ONE + "0", ONE.replace("0", "a").lower(), "../x", f"../{ONE}", ONE + ".zst", "", "00000002.history.tmp",
    f"{ONE}/", ONE + "\n"])
def test_other_names_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    """Case 1, rule 31: no name from outside becomes a path."""
    server = new_vault(tmp_path / "v")
    with pytest.raises(Rejected):
        put(server, name, segment(ONE))
    assert not server.home.exists()


@pytest.mark.parametrize(("data", "says"), [
    (segment(ONE)[:-1], "fewer"), (segment(ONE) + b"\0", "more"), (b"", "only 0 bytes"), (bytes(MIB), "zeros"),
    (segment(TWO), "0/200000"), (segment(ONE, timeline=2), "timeline 2"), (segment(ONE, system=5), "another cluster"),
    (b"noise" * 20, "WAL page"), (segment(ONE, size=16 * MIB), "16777216")],
    ids=["short", "long", "empty", "zeros", "another position", "newer timeline", "another cluster", "noise",
         "another segment size"])
def test_content_that_does_not_belong_there_is_quarantined(tmp_path: Path, data: bytes, says: str) -> None:
    """Rule 12: size, magic, system identifier, timeline and address; the archive stays as it was."""
    server = new_vault(tmp_path / "v")
    put(server, TWO)
    before = names_on_disk(server), rows(server)
    for _ in range(3):  # PostgreSQL tries for ever, the quarantine must not grow with it
        with pytest.raises(Rejected, match=says):
            put(server, ONE, data)
    assert (names_on_disk(server), rows(server)) == before
    assert len(quarantined(server)) == 1
    assert says in next(iter(quarantined(server).values()))


@pytest.mark.parametrize(("name", "data"), [
    ("00000002.history", b"2\t0/1000\tfrom itself\n"), ("00000002.history", b"garbage\n"),
    ("00000002.history", b"\xff"),
    ("00000003.history", b"2\t0/2000000\tx\n1\t0/3000000\tx\n"), ("00000003.history", b"x" * (MIB + 5)),
    (f"{ONE}.00000028.backup", LABEL.replace(ONE.encode(), TWO.encode())), (f"{ONE}.00000028.backup", b"")],
    ids=["its own parent", "garbage", "no text", "descending", "too long", "another segment's", "empty"])
def test_texts_are_read_before_they_are_accepted(tmp_path: Path, name: str, data: bytes) -> None:
    """Case 3, rule 12."""
    server = new_vault(tmp_path / "v")
    with pytest.raises(Rejected):
        put(server, name, data)
    assert names_on_disk(server) == []


def test_the_same_again_succeeds_once(tmp_path: Path) -> None:
    """Rule 11, case 5: also when it was compressed at another level."""
    server = new_vault(tmp_path / "v")
    accept(server, ONE, BytesIO(segment(ONE)), level=1)
    stored = wal_path(server, ONE).read_bytes()
    assert not accept(server, ONE, BytesIO(segment(ONE)), level=9).new
    assert wal_path(server, ONE).read_bytes() == stored
    assert len(rows(server)["file"]) == 1


def test_the_same_name_with_other_content_fails_and_changes_nothing(tmp_path: Path) -> None:
    """Rule 11, case 5: the stored one is kept, the newcomer is in quarantine, the caller fails."""
    server = new_vault(tmp_path / "v")
    put(server, ONE)
    with pytest.raises(Rejected, match="other content"):
        put(server, ONE, segment(ONE, seed=1))
    assert fetch(server, ONE) == segment(ONE)
    [(name, reason)] = quarantined(server).items()
    assert name.startswith(ONE)
    assert "other content" in reason


def test_a_segment_that_lacks_a_page_is_refused_once(tmp_path: Path) -> None:
    """Rule 11b: damaged on its way, the next attempt brings it whole; damaged on the server, it stops nothing."""
    server = new_vault(tmp_path / "v")
    good = paged_segment(ONE)
    bad = good[:8192 * 9] + bytes(8192) + good[8192 * 10:]
    with pytest.raises(Rejected, match="the WAL page at 0/112000 is missing within it"):
        accept(server, ONE, BytesIO(bad), comes_again=True)
    assert not wal_path(server, ONE).exists()
    assert accept(server, ONE, BytesIO(good), comes_again=True).new
    assert len(quarantined(server)) == 1

    bad = paged_segment(TWO)[:8192 * 9] + paged_segment(ONE)[8192 * 9:8192 * 12] + paged_segment(TWO)[8192 * 12:]
    with pytest.raises(Rejected, match="is missing within it"):
        accept(server, TWO, BytesIO(bad), comes_again=True)
    assert accept(server, TWO, BytesIO(bad), comes_again=True).new, "PostgreSQL would keep it for ever"
    assert fetch(server, TWO) == bad
    assert len(quarantined(server)) == 1, "the copy of what is archived is in quarantine no more"
    assert not accept(server, TWO, BytesIO(bad), comes_again=True).new


@pytest.mark.parametrize("rest", [bytes(MIB), paged_segment(ONE)], ids=["zeros", "recycled"])
def test_what_a_server_leaves_behind_the_end_of_its_wal_is_no_damage(tmp_path: Path, rest: bytes) -> None:
    server = new_vault(tmp_path / "v")
    assert accept(server, TWO, BytesIO(paged_segment(TWO)[:8192 * 9] + rest[8192 * 9:]), comes_again=True).new


def test_a_damaged_stored_file_gives_way_to_a_good_one(tmp_path: Path) -> None:
    """What cannot be read is no WAL: the good copy takes its place and the damaged one is kept aside."""
    server = new_vault(tmp_path / "v")
    put(server, ONE)
    flip(wal_path(server, ONE))
    assert put(server, ONE).new
    assert fetch(server, ONE) == segment(ONE)
    assert len(quarantined(server)) == 1


def test_segments_of_every_size_lie_where_their_name_says(tmp_path: Path) -> None:
    """Rule 9, case 2: sixteen digits are the directory, for 1 MiB segments with 4,096 of them in a log too."""
    server = new_vault(tmp_path / "v")
    for name in ("000000010000000000000FFF", "000000010000000100000000"):
        put(server, name)
        assert wal_path(server, name).parent.name == name[:16]
    assert [(row[2], row[3]) for row in rows(server)["file"]] == [(1, 0xFFF), (1, 0x1000)]
    with pytest.raises(Rejected):
        put(server, "000000010000000000001000", segment(ONE))


def test_the_index_row_waits_for_the_file_and_the_answer_for_the_row(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10: temporary file, flush, its name, flush of the directory, index; only then success."""
    server, steps = new_vault(tmp_path / "v"), []
    put(server, ONE)

    def spy(module: object, name: str, label: str) -> None:
        real = getattr(module, name)

        def called(*args: object, **named: object) -> object:
            result = real(*args, **named)
            steps.append(label)
            return result
        monkeypatch.setattr(module, name, called)

    spy(os, "fsync", "flush")
    spy(os, "link", "name")
    spy(wal_index.WalIndex, "add", "index")
    put(server, TWO)
    assert steps == ["flush", "name", "flush", "index"]


def flip(path: Path) -> None:
    """Damage one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Death at every step

DRIVER = """
import os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from making_wal import new_vault, put
home, name, deadly = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
count = 0

def deadly_step(real):
    def step(*args, **named):
        global count
        count += 1
        if count == deadly:
            os._exit(9)
        return real(*args, **named)
    return step

from pgvault.vault import wal_index
for name_of in ("open", "write", "fsync", "replace", "rename", "unlink", "mkdir"):
    setattr(os, name_of, deadly_step(getattr(os, name_of)))
wal_index.WalIndex.add = deadly_step(wal_index.WalIndex.add)
put(new_vault(home), name)
real_exit = os._exit
real_exit(0)
"""


@pytest.mark.slow
def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Rule 10, case 9: die before every system call that changes something; the next try puts all right."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    for deadly in range(1, 200):
        home = tmp_path / str(deadly)
        server = new_vault(home)
        put(server, ONE)
        code = subprocess.run([sys.executable, str(driver), str(Path(__file__).parent), str(home), TWO, str(deadly)],
                              timeout=60).returncode
        assert code in (0, 9)
        if wal_path(server, TWO).exists():
            assert fetch(server, TWO) == segment(TWO)
        assert put(server, TWO) is not None
        sweep(server)
        assert fetch(server, TWO) == segment(TWO)
        assert names_on_disk(server) == [f"{n[:16]}/{n}.zst" for n in (ONE, TWO)]
        assert [row[0] for row in rows(server)["file"]] == [ONE, TWO]
        if code == 0:
            break
    assert deadly > 8, "the driver did not reach every step"
    assert code == 0


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failing_step_fails_the_call_and_leaves_no_trace(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Case 9: a flush fails, or giving it its name; the sender hears of it and the archive is as before."""
    server = new_vault(tmp_path / "v")
    put(server, ONE)
    before = names_on_disk(server), rows(server)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(Unreachable, match="Input/output"):
        put(server, TWO)
    monkeypatch.undo()
    assert (names_on_disk(server), rows(server)) == before
    assert put(server, TWO).new


def test_a_full_disk_refuses_the_segment_and_keeps_what_is_there(tmpfs) -> None:
    """Case 9, rule 32."""
    server = new_vault(tmpfs(4) / "v")
    for i in range(1, 32):
        name = f"0000000100000000000000{i:02X}"
        try:
            put(server, name)
        except (OSError, NoSpace) as failed:
            error = failed
            break
    else:
        pytest.fail("the disk never filled up")
    assert isinstance(error, NoSpace) or error.errno == errno.ENOSPC
    assert str(server.home) in str(error), "it says which file system"
    kept = [row[0] for row in rows(server)["file"]]
    assert i > 1
    assert kept == [f"0000000100000000000000{n:02X}" for n in range(1, i)]
    assert names_on_disk(server) == [f"{n[:16]}/{n}.zst" for n in kept]
    for each in kept:
        assert fetch(server, each) is not None
