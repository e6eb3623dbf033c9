"""The WAL and the history of a timeline are of one server, in whatever order they arrive (rule 47)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from making_wal import MIB, SYSTEM, forked_segment, names_on_disk, new_vault, paged_segment, put, quarantined
from support.objects import wal_path
from wal_writer import XLOG, Writer, short

from pgvault.engine.wal_status import wal_status
from pgvault.model.errors import Rejected
from pgvault.model.lsn import Lsn
from pgvault.vault import recoveries
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_fetch import fetch

FIRST, SECOND, THIRD = (f"00000002000000000000000{number}" for number in (3, 4, 5))
HISTORY = "00000002.history"
FORK = 3 * MIB + 9 * 8192 + 100
"""Where the server's timeline branched off, in the tenth page of the first segment."""


@pytest.fixture
def server(tmp_path: Path) -> ServerVault:
    server = new_vault(tmp_path / "v")
    put(server, "000000010000000000000002", paged_segment("000000010000000000000002"))
    return server


def first() -> bytes:
    return forked_segment(FIRST, FORK)


def history(switch: int) -> bytes:
    return f"1\t{Lsn(switch)}\tno recovery target specified\n".encode()


def throwaway(server: ServerVault, switch: int) -> None:
    """A recovery that pgvault made has the number, and was promoted there."""
    reserved = recoveries.reserve(server, recoveries.Recovery(0, 1, "job", "", "/copy"))
    assert reserved.timeline == 2
    recoveries.note_history(server, reserved, history(switch).decode())


@pytest.mark.parametrize("switch", [FORK - 8192, FORK + 8192, 2 * MIB + 100, 4 * MIB + 100])
def test_the_history_of_a_throwaway_is_not_given_to_the_wal_of_another(server: ServerVault, switch: int) -> None:
    """A standby that was promoted by hand took its number. What lacks is said; its own history joins it later."""
    throwaway(server, switch)
    assert put(server, FIRST, first()).new
    assert not wal_path(server, HISTORY).exists()
    assert wal_status(server).survey.without_history == (2,)
    with pytest.raises(Rejected, match="is not the history of the WAL of timeline 2") as refused:
        put(server, HISTORY, history(switch))
    assert f"branches off at {Lsn(switch)}, and {FIRST} shows" in refused.value.detail
    assert len(quarantined(server)) == 1
    assert put(server, HISTORY, history(FORK)).new
    assert fetch(server, HISTORY) == history(FORK)
    assert wal_status(server).survey.without_history == ()


@pytest.mark.parametrize("switch", [FORK, FORK - FORK % 8192, FORK - FORK % 8192 + 8192])
def test_a_recovery_s_own_wal_brings_its_history(server: ServerVault, switch: int) -> None:
    throwaway(server, switch)
    assert put(server, FIRST, first()).new
    assert fetch(server, HISTORY) == history(switch)


def test_what_begins_behind_the_fork_may_be_of_it(server: ServerVault) -> None:
    """A segment that is whole of the new timeline shows only that it branched off before."""
    throwaway(server, FORK)
    assert put(server, SECOND, paged_segment(SECOND)).new
    assert wal_path(server, HISTORY).exists()
    with pytest.raises(Rejected, match="is not of the timeline 2 that is archived"):
        put(server, THIRD, forked_segment(THIRD, 5 * MIB + 8192))
    assert not wal_path(server, THIRD).exists()


@pytest.mark.parametrize("switch", [FORK - 8192, 4 * MIB + 100])
def test_wal_that_another_history_is_archived_of_is_kept_out(server: ServerVault, switch: int) -> None:
    put(server, HISTORY, history(switch))
    before = names_on_disk(server)
    for name in (FIRST, f"{FIRST}.partial"):
        with pytest.raises(Rejected, match="is not of the timeline 2 that is archived"):
            put(server, name, first())
    assert names_on_disk(server) == before


def test_who_is_refused_is_told_where_the_two_part(server: ServerVault) -> None:
    hint = ("Two servers have taken the same timeline. See which one archives here, and let the other archive "
            "elsewhere, or nowhere.")
    low, high = Lsn(FORK - FORK % 8192), Lsn(FORK - FORK % 8192 + 8192)
    put(server, FIRST, first())
    with pytest.raises(Rejected) as refused:
        put(server, HISTORY, history(4 * MIB + 100))
    assert (refused.value.message, refused.value.detail, refused.value.hint) == (
        f"{HISTORY} is not the history of the WAL of timeline 2 that is archived",
        f"As {HISTORY} has it, it branches off at 0/400064, and {FIRST} shows that its WAL did between {low} and "
        f"{high}.", hint)
    put(server, HISTORY, history(FORK))
    with pytest.raises(Rejected) as refused:
        put(server, THIRD, forked_segment(THIRD, 5 * MIB + 8192))
    assert (refused.value.message, refused.value.hint) == (
        f"{THIRD} is not of the timeline 2 that is archived", hint)
    assert refused.value.detail.startswith(f"The history of that says otherwise: it branches off at {Lsn(FORK)}, and ")


def test_the_same_history_again_succeeds_whatever_came_of_its_timeline(server: ServerVault) -> None:
    put(server, HISTORY, history(FORK))
    assert put(server, FIRST, first()).new
    assert not put(server, HISTORY, history(FORK)).new


def test_a_fork_in_the_last_page_that_was_written(server: ServerVault) -> None:
    """No page of its own follows yet: all that shows is the segment."""
    throwaway(server, 3 * MIB + 100)
    begun = first()[:8192 * 10].ljust(MIB, b"\0")
    assert put(server, FIRST, begun).new
    assert wal_path(server, HISTORY).exists()


END_OF_RECOVERY, FPW_CHANGE = 0x90, 0x80


def promoted(before: int, first_writes: int | None = None) -> tuple[int, bytes]:
    """A first segment of timeline 2 with its records: where it branched off, and its bytes."""
    writer = Writer(3 * MIB, size=MIB)
    for _ in range(before):
        writer.append(short(bytes(100)))
    branched = writer.at
    if first_writes is not None:
        writer.append(short(b"\1"), rmid=XLOG, info=first_writes)
    writer.append(short(struct.pack("<QII", 0, 2, 1)), rmid=XLOG, info=END_OF_RECOVERY)
    writer.timeline = 2
    for _ in range(100):
        writer.append(short(bytes(100)))
    data = bytearray(writer.segments()[0][1])
    struct.pack_into("<Q", data, 24, SYSTEM)
    return branched, bytes(data)


@pytest.mark.parametrize("first_writes", [None, FPW_CHANGE])
@pytest.mark.parametrize("apart", [-128, 128])
def test_a_throwaway_that_branched_off_in_the_same_page(server: ServerVault, apart: int,
                                                        first_writes: int | None) -> None:
    """The page shows its timeline only from the next on; the promotion's record shows where exactly."""
    branched, data = promoted(5, first_writes)
    throwaway(server, branched + apart)
    assert put(server, FIRST, data).new
    assert not wal_path(server, HISTORY).exists()
    with pytest.raises(Rejected, match="is not the history of the WAL of timeline 2") as refused:
        put(server, HISTORY, history(branched + apart))
    assert f"{FIRST} shows that its WAL did at {Lsn(branched)}." in refused.value.detail
    assert put(server, HISTORY, history(branched)).new


@pytest.mark.parametrize("first_writes", [None, FPW_CHANGE])
@pytest.mark.parametrize("before", [0, 5])
def test_a_recovery_s_own_records_bring_its_history(server: ServerVault, before: int, first_writes: int | None) -> None:
    branched, data = promoted(before, first_writes)
    throwaway(server, branched)
    assert put(server, FIRST, data).new
    assert fetch(server, HISTORY) == history(branched)


def test_a_history_of_the_same_branch_with_another_reason(server: ServerVault) -> None:
    """A standby promoted by hand where the throwaway was, too. PostgreSQL reads the positions only, so both serve; the
    server's own is accepted, lest its archiving stops."""
    branched, data = promoted(5)
    throwaway(server, branched)
    put(server, FIRST, data)
    own = f"1\t{Lsn(branched)}\tat restore point \"a\"\n".encode()
    assert put(server, HISTORY, own).new
    assert fetch(server, HISTORY) == own
    assert not put(server, HISTORY, own).new
    assert not quarantined(server)
    with pytest.raises(Rejected, match="is archived already, with other content"):
        put(server, HISTORY, history(branched + 8))
