"""The WAL as it is sent to be replayed: byte for byte what is archived, but for the paths of tablespaces."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pytest
from support.objects import wal_path
from wal_writer import SYSTEM, Writer, short

from pgvault.engine.restore.sent_wal import SentWal
from pgvault.model.errors import Corrupt, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.replay import TablespaceCreated
from pgvault.model.restore_plan import WalNeed
from pgvault.model.segment import Segment
from pgvault.vault.compression import decompressed
from pgvault.vault.identity import Identity, claim
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_archive import accept
from pgvault.wal.effects import effects_of
from pgvault.wal.record import TABLESPACE

SIZE = 1 << 20
NAMES = [Segment(1, number).name(SIZE) for number in range(3, 7)]
HISTORY = b"1\t0/300000\tno recovery target specified\n"
LONG = "/mnt/" + "p" * 900


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    vault = Vault.open_or_create(tmp_path / "vault").server("main")
    vault.prepare()
    claim(vault, Identity(str(SYSTEM), SIZE))
    return vault


def creating(*before_the_end: int, path: str = LONG) -> tuple[list[bytes], list[Lsn]]:
    """Three segments from 3 on, with the creation of a tablespace so many bytes before the end of each of the first."""
    writer, created = Writer(), []
    for segment, gap in enumerate(before_the_end, 4):
        while writer.at < segment * SIZE - gap - 9000:
            writer.append(bytes(min(8000, segment * SIZE - gap - 9000 - writer.at)))
        while writer.at < segment * SIZE - gap:
            writer.append(b"x" * 8)
        created.append(writer.append(short(struct.pack("<I", 16400 + segment) + path.encode() + b"\0"),
                                     rmid=TABLESPACE))
        while writer.at < segment * SIZE:
            writer.append(bytes(1000))
    writer.append(b"end")
    return [data for _, data in writer.segments()], created


def archive(server: ServerVault, contents: list[bytes], *, partial: bool = False) -> None:
    for at, content in enumerate(contents):
        last = partial and at == len(contents) - 1
        accept(server, NAMES[at] + ".partial" * last, BytesIO(content))


def need(count: int, created: list[Lsn], *, histories: tuple[str, ...] = (), partial: bool = False) -> WalNeed:
    whole = NAMES[:count - partial]
    return WalNeed(NAMES[0], NAMES[count - 1], tuple(whole), histories, 0, (),
                   f"{NAMES[count - 1]}.partial" if partial else None, tuple(created))


def sent(server: ServerVault, wanted: WalNeed) -> dict[str, bytes]:
    """What arrives, which is the same packed or not."""
    found = {}
    for item in SentWal(server, wanted, SIZE).items("pgvault_wal"):
        plain = b"".join(item.plain())
        assert len(plain) == item.size
        assert b"".join(decompressed(BytesIO(b"".join(item.stored())))) == plain
        found[item.path] = plain
    return found


def paths(contents: list[bytes]) -> dict[int, str]:
    """Of the tablespaces that replay of these segments creates, by position."""
    found = effects_of((Lsn((3 + at) * SIZE), content) for at, content in enumerate(contents))
    return {each.lsn: each.path for each in found if isinstance(each, TablespaceCreated)}


def test_what_creates_no_tablespace_is_sent_as_it_is(server: ServerVault) -> None:
    contents, _ = creating()
    archive(server, contents)
    accept(server, "00000002.history", BytesIO(HISTORY))
    assert sent(server, need(1, [], histories=("00000002.history",))) == {
        "pgvault_wal/00000002.history": HISTORY, f"pgvault_wal/{NAMES[0]}": contents[0]}


@pytest.mark.parametrize("gap", [20_000, 900, 500, 48])
def test_no_record_keeps_its_path_wherever_it_lies(server: ServerVault, gap: int) -> None:
    """Within a segment, on its edge, and over it into the next."""
    contents, created = creating(gap, gap)
    archive(server, contents)
    assert list(paths(contents).values()) == [LONG, LONG]
    arrived = list(sent(server, need(3, created)).values())
    assert [len(each) for each in arrived] == [SIZE] * 3
    after = paths(arrived)
    assert list(after) == created
    assert set(after.values()) == {f"/{LONG[1:]}"}  # as the reader has it, from behind the NUL
    for lsn in created:
        at = lsn - 3 * SIZE
        whole, changed = b"".join(contents), b"".join(arrived)
        assert whole[at:at + 1100].count(b"/mnt") == (1 if gap != 48 else whole[at:at + 1100].count(b"/mnt"))
        assert changed[at:at + 1100].count(b"/mnt") == 0
    differing = sum(one != other for one, other in zip(b"".join(contents), b"".join(arrived), strict=True))
    assert differing <= 2 * 5  # one byte of the path and four of the checksum, of each


def test_a_creation_that_goes_on_behind_what_is_sent_is_left_alone(server: ServerVault) -> None:
    """Nobody replays it."""
    contents, created = creating(48)
    archive(server, contents[:1])
    assert list(sent(server, need(1, created)).values()) == contents[:1]


def test_the_unfinished_segment_is_sent_under_the_name_of_a_whole_one(server: ServerVault) -> None:
    """With what has come to it since the plan was made, in which a tablespace may have been created."""
    contents, created = creating(20_000, 20_000)
    archive(server, contents[:2], partial=True)
    arrived = sent(server, need(2, [], partial=True))
    assert list(arrived) == [f"pgvault_wal/{NAMES[0]}", f"pgvault_wal/{NAMES[1]}"]
    assert list(paths(contents[:2]).values()) == [LONG, LONG]
    assert [b"/mnt" in content for content in arrived.values()] == [False, False]
    assert sent(server, need(2, created, partial=True)) == arrived


def test_a_creation_that_begins_in_the_segment_before_the_unfinished_one(server: ServerVault) -> None:
    contents, created = creating(48)
    archive(server, contents[:2], partial=True)
    first, second = sent(server, need(2, [], partial=True)).values()
    assert paths(contents[:2])[created[0]] == LONG
    assert first + second != b"".join(contents[:2])
    assert b"\0mnt/" in second or b"\0mnt/" in first


def test_the_unfinished_segment_alone(server: ServerVault) -> None:
    contents, _ = creating()
    archive(server, contents[:1], partial=True)
    assert list(sent(server, need(1, [], partial=True)).values()) == contents[:1]


AGAIN = "Make the plan again."


def lacking(server: ServerVault, wanted: WalNeed) -> tuple[str, str]:
    with pytest.raises(WalMissing) as failure:
        sent(server, wanted)
    return failure.value.message, failure.value.hint


def test_what_has_left_the_archive_is_named(server: ServerVault) -> None:
    contents, created = creating(20_000)
    archive(server, contents[:1])
    assert lacking(server, need(2, [])) == (f"{NAMES[1]} has left the archive since the plan was made", AGAIN)
    assert lacking(server, need(1, [], histories=("00000002.history",))) == (
        "00000002.history has left the archive since the plan was made", AGAIN)
    assert lacking(server, need(2, [], partial=True)) == (f"nothing is left of {NAMES[1]} since the plan was made",
                                                          AGAIN)
    later = [Lsn(created[0] + SIZE)]
    assert lacking(server, need(2, later)) == (f"{NAMES[1]} has left the archive since the plan was made", AGAIN)


def test_what_is_no_creation_cannot_be_given_another_place(server: ServerVault) -> None:
    contents, _ = creating()
    archive(server, contents[:1])
    begin = Lsn(3 * SIZE + 40)
    with pytest.raises(Corrupt) as failure:
        sent(server, need(1, [begin]))
    assert (failure.value.message, failure.value.detail, failure.value.hint) == (
        f"the tablespace created at {begin} cannot be given another place",
        f"the record at {begin} creates no tablespace.", AGAIN)


def test_a_segment_that_changed_meanwhile_is_not_sent(server: ServerVault) -> None:
    contents, created = creating(20_000)
    archive(server, contents[:1])
    [item] = SentWal(server, need(1, created), SIZE).items("wal")
    changed = bytearray(contents[0])
    at = created[0] - 3 * SIZE
    changed[at + 24:at + 60] = bytes(36)
    wal_path(server, NAMES[0]).unlink()
    accept(server, NAMES[0], BytesIO(bytes(changed)))
    with pytest.raises(Corrupt) as failure:
        b"".join(item.plain())
    assert failure.value.message == f"segment {NAMES[0]} is not what it was"
    assert failure.value.detail.startswith("the WAL at 0/3F")
    assert failure.value.detail.endswith(" has changed.")
    assert failure.value.hint == AGAIN


def test_an_unfinished_segment_that_nobody_can_read(server: ServerVault) -> None:
    """Of an unknown version it is sent, as the plan says; a damaged one is not."""
    unknown = Writer(magic=0xD1FF)
    unknown.append(b"x")
    accept(server, f"{NAMES[0]}.partial", BytesIO(unknown.segments()[0][1]))
    assert list(sent(server, need(1, [], partial=True)).values()) == [unknown.segments()[0][1]]


