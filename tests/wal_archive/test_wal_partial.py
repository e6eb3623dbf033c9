"""The unfinished end of a timeline comes twice, from the receiver and from archive_command: it is one WAL."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_wal import MIB, names_on_disk, new_vault, put, quarantined
from support.account import account
from support.cli import environment, pgvault_argv, pgvault_shell
from support.objects import wal_path
from support.postgres import Server, wait_until
from wal_writer import SYSTEM, Writer, restore_point

from pgvault.engine.restore.recovery_path import RecoveryPath
from pgvault.model.errors import Corrupt, Rejected, WalMissing
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.model.timeline import History
from pgvault.vault import wal_archive, wal_index
from pgvault.vault.identity import Identity
from pgvault.vault.layout import ServerVault, Vault
from pgvault.vault.wal_current import current
from pgvault.vault.wal_fetch import fetch, read_checked
from pgvault.vault.wal_rebuild import reconcile
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import WalSearch
from pgvault.vault.wal_unfinished import look, newest_content
from pgvault.vault.wal_unfinished import segments as unfinished_segments
from pgvault.wal.records import follow

NAME = "000000010000000000000003.partial"
EARLIER = random.Random("an earlier life").randbytes(MIB)


def written(records: int, *, seed: int = 0, magic: int = 0xD118, continued: int = 0) -> bytes:
    """The first records of a segment; `continued` bytes at its start belong to one that began before it."""
    writer, dice = Writer(magic=magic), random.Random(seed)
    if continued:
        writer.page(continued)
        writer.bytes += b"\1" * continued + bytes(-continued % 8)
    for number in range(records):
        writer.append(restore_point(f"{seed}-{number}") if number % 3 else b"\xff\xc8" + dice.randbytes(200),
                      rmid=0 if number % 3 else 21, info=0x70 if number % 3 else 0)
    return bytes(writer.bytes)


def padded(wal: bytes) -> bytes:
    """As the receiver archives it."""
    return wal.ljust(MIB, b"\0")


def recycled(wal: bytes) -> bytes:
    """As the server archives it, when the file had been used before."""
    return wal + EARLIER[len(wal):]


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    return new_vault(tmp_path / "vault")


def row_agrees(vault: ServerVault) -> bool:
    with wal_index.reading(vault) as index:
        return index.find(NAME).sha256 == hashlib.sha256(b"".join(read_checked(vault, NAME))).digest()


@pytest.mark.parametrize("orders", [(padded, recycled), (recycled, padded), (recycled, recycled), (padded, padded)])
def test_what_follows_the_end_of_the_wal_is_no_difference(vault: ServerVault, orders: tuple) -> None:
    """Rule 14: else PostgreSQL offers it for ever and its pg_wal fills."""
    first, second = orders
    put(vault, NAME, first(written(900)))
    put(vault, NAME, second(written(900)))
    assert fetch(vault, NAME)[:len(written(900))] == written(900)
    assert row_agrees(vault)
    assert quarantined(vault) == {}


@pytest.mark.parametrize("ending", [padded, recycled])
def test_the_copy_that_reaches_further_is_kept_whichever_came_first(
        vault: ServerVault, ending: Callable[[bytes], bytes]) -> None:
    """No byte of WAL that was acknowledged is given up, and the file is never without its right row."""
    short, long = ending(written(300)), padded(written(900))
    assert put(vault, NAME, short).new
    assert put(vault, NAME, long).new
    assert fetch(vault, NAME) == long
    assert not put(vault, NAME, short).new
    assert fetch(vault, NAME) == long
    assert row_agrees(vault)
    assert quarantined(vault) == {}


def test_other_wal_under_the_name_is_rejected(vault: ServerVault) -> None:
    """Rule 11: the stored one stays, the newcomer is in quarantine, its sender keeps it."""
    put(vault, NAME, padded(written(900)))
    with pytest.raises(Rejected, match="other content"):
        put(vault, NAME, recycled(written(900, seed=1)))
    assert fetch(vault, NAME) == padded(written(900))
    assert len(quarantined(vault)) == 1


def test_a_whole_segment_still_has_to_be_equal(vault: ServerVault) -> None:
    """Rule 11: only of an unfinished one is the rest without meaning."""
    whole = NAME.removesuffix(".partial")
    put(vault, whole, padded(written(900)))
    with pytest.raises(Rejected, match="other content"):
        put(vault, whole, recycled(written(900)))


def test_wal_of_an_unknown_version_agrees_when_one_is_the_beginning_of_the_other(vault: ServerVault) -> None:
    """Rule 34: its records are not read, but zeros behind the same bytes are no other content."""
    put(vault, NAME, padded(written(900, magic=0xD130)))
    assert put(vault, NAME, recycled(written(900, magic=0xD130))).new
    assert not put(vault, NAME, padded(written(300, magic=0xD130))).new
    with pytest.raises(Rejected):
        put(vault, NAME, padded(written(900, magic=0xD130, seed=1)))


def test_a_copy_that_ends_inside_a_record_of_the_segment_before_is_a_beginning_too(vault: ServerVault) -> None:
    whole = written(50, continued=5000)
    put(vault, NAME, padded(whole[:3000]))
    assert put(vault, NAME, padded(whole)).new
    assert not put(vault, NAME, padded(whole[:2000])).new
    assert fetch(vault, NAME) == padded(whole)


def test_death_between_the_file_and_its_row_leaves_no_wrong_row(
        vault: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10: what the index says of the copy that was replaced must not condemn the one in its place."""
    put(vault, NAME, padded(written(300)))
    with monkeypatch.context() as dying:
        dying.setattr(wal_archive, "add_to_index", None)
        with pytest.raises(TypeError):
            put(vault, NAME, padded(written(900)))
    assert fetch(vault, NAME) == padded(written(900))
    reconcile(vault)
    assert row_agrees(vault)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(60, 150_000), st.sampled_from([padded, recycled])), min_size=2, max_size=4))
def test_every_copy_of_one_wal_is_accepted_and_the_longest_wins(tmp_path_factory, cuts: list) -> None:
    """Rule 14: wherever they end, also inside a record or a page's header."""
    vault = new_vault(tmp_path_factory.mktemp("v") / "vault")
    whole = written(900)
    for length, ending in cuts:
        put(vault, NAME, ending(whole[:length]))
    ends = [length for length, _ in cuts]
    complete = max((at for at in record_ends(900) if at <= max(ends)), default=0)
    assert fetch(vault, NAME)[:complete] == whole[:complete]


def record_ends(records: int) -> list[int]:
    """Where each record of `written` ends."""
    return [len(written(count)) for count in range(1, records + 1, 50)]


# Searching in it, and giving it to a restore

SIZE, WHOLE = MIB, NAME.removesuffix(".partial")
SEGMENT = Segment(1, 3)
CLUSTER = Identity(str(SYSTEM), MIB)
LINE = History(1, ())


def stream(vault: ServerVault, data: bytes) -> Path:
    """As the receiver leaves it while it waits: no longer than what came."""
    vault.prepare()
    path = vault.spool.streaming / NAME
    path.write_bytes(data)
    return path


@contextmanager
def search(vault: ServerVault, **options: bool) -> Iterator[WalSearch]:
    with current(vault, CLUSTER) as index:
        yield WalSearch(vault, index, CLUSTER, **options)


def rows(found: WalSearch) -> list[Row]:
    """As recovery from segment 2 on reads them."""
    wal = RecoveryPath(found, LINE).wal_from(Lsn(2 << 20))
    return list(wal.rows) if wal else []


def test_a_header_without_a_record_is_not_reached(vault: ServerVault) -> None:
    """PostgreSQL would not come that far, and a proof that waits for it would fail."""
    writer = Writer()
    writer.append(bytes(8192 - 40 - 24))
    end = writer.at
    assert end % 8192 == 0
    writer.page()
    stream(vault, bytes(writer.bytes))
    assert look(vault, SEGMENT, CLUSTER, None).end == end
    stream(vault, bytes(writer.bytes)[:40])
    assert look(vault, SEGMENT, CLUSTER, None) is None


def test_it_ends_before_its_first_bad_record(vault: ServerVault) -> None:
    """Of whatever kind: each one's checksum is compared, also of those that tell nothing."""
    wal = bytearray(written(9))
    places = [record.lsn for record in follow([(SEGMENT.start(SIZE), padded(bytes(wal)))])]
    wal[places[6] - SEGMENT.start(SIZE) + 100] ^= 1  # a message's own bytes
    stream(vault, bytes(wal))
    assert look(vault, SEGMENT, CLUSTER, None).end == places[6]


@pytest.mark.parametrize(("segment", "system"), [(Segment(1, 4), SYSTEM), (SEGMENT, SYSTEM + 1)])
def test_what_is_not_this_segment_of_this_cluster_does_not_count(
        vault: ServerVault, segment: Segment, system: int) -> None:
    path = stream(vault, written(9))
    path.rename(path.with_name(f"{segment.name(SIZE)}.partial"))
    assert look(vault, segment, Identity(str(system), MIB), None) is None


def test_of_which_segments_there_is_an_unfinished_copy(vault: ServerVault) -> None:
    put(vault, NAME, padded(written(9)))
    stream(vault, written(9)).rename(vault.spool.streaming / "000000020000000000000007.partial")
    (vault.spool.streaming / "0000000200000000000FFFFF.partial").touch()
    with wal_index.reading(vault) as index:
        assert unfinished_segments(vault, index, CLUSTER) <= {SEGMENT, Segment(2, 7)}
        (vault.spool.streaming / "0000000200000000000FFFFF.partial").unlink()
        assert unfinished_segments(vault, index, CLUSTER) == {SEGMENT, Segment(2, 7)}


def test_of_two_copies_the_one_that_reaches_further_counts(vault: ServerVault) -> None:
    put(vault, NAME, recycled(written(300)))
    stream(vault, written(900))
    assert look(vault, SEGMENT, CLUSTER, None).end == SEGMENT.start(SIZE) + len(written(900))
    assert newest_content(vault, WHOLE, SIZE) == padded(written(900))
    stream(vault, written(100))
    assert look(vault, SEGMENT, CLUSTER, None).end == SEGMENT.start(SIZE) + len(written(300))
    assert newest_content(vault, WHOLE, SIZE) == recycled(written(300))


def test_what_has_become_whole_is_sent_whole_and_what_is_gone_is_not_made_up(vault: ServerVault) -> None:
    before = Writer(2 << 20)
    before.append(bytes(100))
    put(vault, "000000010000000000000002", padded(bytes(before.bytes)))
    assert newest_content(vault, WHOLE, SIZE) is None
    path = stream(vault, written(300))
    assert newest_content(vault, WHOLE, SIZE) == padded(written(300))
    assert path.read_bytes() == written(300)
    put(vault, WHOLE, recycled(written(900)))
    assert newest_content(vault, WHOLE, SIZE) == recycled(written(900))


def crossing(vault: ServerVault) -> Writer:
    """Segment 2 whole in the archive; the commit that begins in it ends in segment 3, which is being streamed."""
    writer = Writer(2 << 20)
    while writer.at < (3 << 20) - 8192:
        writer.append(bytes(1000))
    writer.append(bytes((3 << 20) - writer.at - 48 - (24 if writer.at % 8192 == 0 else 0)))
    assert (3 << 20) - writer.at == 24
    writer.commit(7, 1_000_000)
    writer.commit(8, 2_000_000)
    (_, second), (_, third) = writer.segments()
    put(vault, "000000010000000000000002", second)
    stream(vault, third[:writer.at % MIB])
    return writer


def test_a_commit_that_crosses_into_it_is_found(vault: ServerVault) -> None:
    writer = crossing(vault)
    with search(vault, partial=True) as found:
        both = rows(found)
        assert [row.name for row in both] == ["000000010000000000000002", NAME]
        assert [(each.xid, each.end_lsn) for each in found.transactions(both[-1])] == [
            (7, writer.lsns[-1]), (8, writer.at)]
        assert both[-1].end == writer.at
    with search(vault) as found:
        [row] = rows(found)
        assert found.left_out(LINE, row).end == writer.at


def test_all_that_is_found_in_a_growing_file_is_of_one_moment(vault: ServerVault) -> None:
    writer = crossing(vault)
    with search(vault, partial=True) as found:
        row = rows(found)[-1]
        writer.commit(9, 3_000_000)
        stream(vault, writer.segments()[1][1])
        assert [each.xid for each in found.transactions(row)] == [7, 8]
        (vault.spool.streaming / NAME).unlink()
        with pytest.raises(WalMissing, match="since it was looked at"):
            found.transactions(row)


def test_it_closes_no_gap(vault: ServerVault) -> None:
    """Rule 16: with whole segments behind it the end of the WAL is not here."""
    writer = crossing(vault)
    following = Writer(4 << 20, previous=writer.previous)
    following.append(bytes(100))
    put(vault, "000000010000000000000004", padded(bytes(following.bytes)))
    with search(vault, partial=True) as found:
        row = rows(found)[-1]
        assert row.name == NAME
        assert "ends there, though not the archive" in found.break_behind(LINE, row)


def test_a_damaged_archived_one_is_an_error_for_who_asks_and_no_hint_for_others(vault: ServerVault) -> None:
    crossing(vault)
    (vault.spool.streaming / NAME).unlink()
    put(vault, NAME, padded(written(900)))
    path = wal_path(vault, NAME)
    path.write_bytes(path.read_bytes()[:-5])
    with search(vault, partial=True) as found, pytest.raises(Corrupt):
        rows(found)
    with search(vault) as found:
        [row] = rows(found)
        assert found.left_out(LINE, row) is None


def test_of_an_unknown_version_it_is_used_unread(vault: ServerVault) -> None:
    """Rule 34: a restore to the end of the WAL works."""
    stream(vault, written(10, magic=0xD130))
    found = look(vault, SEGMENT, CLUSTER, None)
    assert (found.end, found.facts) == (SEGMENT.end(SIZE), None)
    assert "a newer PostgreSQL" in found.problem


# With a server


@pytest.fixture
def config(open_tmp: Path) -> Path:
    (open_tmp / "vault").mkdir()
    account().own(open_tmp / "vault")
    return open_tmp / "pgvault.toml"


def test_a_promoted_server_that_archives_and_is_received_from_is_rid_of_its_old_timeline(
        own_server, adopt_server, open_tmp: Path, config: Path, receiving) -> None:
    """Rule 14: the receiver's copy ends in zeros, the server's file is a recycled one."""
    primary: Server = own_server(wal_segsize=1, settings={"min_wal_size": "20MB", "max_wal_size": "20MB"})
    primary.sql("create table t(i int, t text)")
    fill = "insert into t select i, md5(i::text) from generate_series(1, 30000) i"
    primary.sql(fill)
    data = open_tmp / "standby"
    account().run([primary.installation.program("pg_basebackup"), "-d", primary.conninfo(), "-D", data, "-R",
                   "-c", "fast", "-X", "stream", "-C", "-S", "standby"])  # the slot: no WAL goes before it came
    standby = adopt_server(data, primary.major)
    command = pgvault_shell("put-wal", "main", config=config, account=account()) + " %f < %p"
    standby.configure({"archive_mode": "on", "archive_command": command})
    standby.start()
    config.write_text(f'[vault]\nhome = "{open_tmp / "vault"}"\n[servers.main]\nconninfo = "{standby.conninfo()}"\n')
    vault = Vault(open_tmp / "vault").server("main")

    def follow() -> str:
        """Have the standby replay all there is; where that ends."""
        end = primary.scalar("select pg_current_wal_flush_lsn()::text")
        wait_until(lambda: standby.scalar(f"select pg_last_wal_replay_lsn() >= '{end}'"))
        return end
    for _ in range(4):  # from then on the standby writes into files that it has used before
        primary.sql(fill)
        primary.sql("checkpoint")
        follow()
        standby.sql("checkpoint")
    with receiving(config):
        wait_until(lambda: list(vault.spool.streaming.glob("*.partial")))
        primary.sql("create table last_commit as select 1")
        end = Lsn.parse(follow())
        old = primary.scalar("select pg_walfile_name(pg_current_wal_lsn())")
        assert any((standby.wal / old).read_bytes()[end % MIB + 16384:])  # else both copies would end in zeros
        standby.sql("select pg_promote()")
        wait_until(lambda: wal_path(vault, f"{old}.partial").exists())
        new = standby.switch_wal()
        wait_until(lambda: (standby.scalar("select last_archived_wal from pg_stat_archiver") or "") >= new, seconds=60)
    assert standby.scalar("select failed_count from pg_stat_archiver") == 0
    assert not (standby.wal / "archive_status" / f"{old}.partial.ready").exists()
    assert not vault.spool.quarantine.exists() or quarantined(vault) == {}
    assert f"{old[:16]}/{old}.partial.zst" in names_on_disk(vault)


@pytest.fixture
def receiving():
    """Runs `receive-wal main` as the vault's owner while its block lasts."""
    @contextmanager
    def run(config: Path):
        argv = pgvault_argv("receive-wal", "main", config=config, account=account())
        process = subprocess.Popen(argv, env=environment(account()), stderr=subprocess.PIPE, text=True, cwd="/",
                                   **account().popen_options())
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    return run
