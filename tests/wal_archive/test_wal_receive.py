"""The WAL receiver against real servers that are restarted, cut off, promoted, and that lose what it still needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from making_wal import names_on_disk, new_vault, put, quarantined
from support.account import account
from support.cli import environment, pgvault, pgvault_argv
from support.objects import wal_path
from support.postgres import Server
from support.proxy import Proxy
from wal_writer import Writer

from pgvault.config.schema import ServerConfig
from pgvault.engine import receive as receiving
from pgvault.engine import receive_session
from pgvault.engine.check.facts import UNHEARD
from pgvault.engine.receive import Stop, receive
from pgvault.engine.wal_status import wal_status
from pgvault.io import postgres
from pgvault.io.replication_stream import ReplicationStream, timeline_history
from pgvault.model.errors import Refused, Unreachable
from pgvault.model.event import Event, Noted
from pgvault.model.lsn import Lsn
from pgvault.model.segment import Segment
from pgvault.vault.identity import read_identity
from pgvault.vault.layout import ServerVault
from pgvault.vault.streaming import StreamedSegment
from pgvault.vault.wal_fetch import fetch


def wait_until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are for the good of real servers."""
    monkeypatch.setattr(receiving, "RETRY_SECONDS", (0.05,))
    monkeypatch.setattr(receiving, "SHUTDOWN_SECONDS", 0.05)


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    return new_vault(tmp_path / "vault")


@pytest.fixture
def config(tmp_path: Path, vault: ServerVault) -> Callable[[Server], Path]:
    def write(server: Server) -> Path:
        path = tmp_path / "pgvault.toml"
        path.write_text(f'[vault]\nhome = "{vault.home.parent}"\n[servers.main]\nconninfo = "{server.conninfo()}"\n')
        return path
    return write


@contextmanager
def receiver(server: Server, vault: ServerVault, **by: object) -> Iterator[list[str]]:
    """A receiver at work in a thread; what it said so far. It has to end without an error. `by`: another way there."""
    told: list[str] = []
    failed: list[BaseException] = []

    def hear(event: Event) -> None:
        if isinstance(event, Noted):
            told.append(f"{event.code}: {event.text}")

    def run() -> None:
        try:
            receive(ServerConfig(name="main", conninfo=server.conninfo(**by)), vault, stop, emit=hear)
        except BaseException as error:
            failed.append(error)

    stop = Stop()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(60)
        stop.close()
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def work(server: Server, segments: int = 1) -> list[str]:
    """Write WAL and close segments; their names."""
    names = []
    for _ in range(segments):
        server.sql("create table if not exists t(i int, t text);"
                   " insert into t select i, md5(i::text) from generate_series(1, 1000) i")
        names.append(server.switch_wal())
    return names


def is_archived(vault: ServerVault, name: str) -> bool:
    return wal_path(vault, name).exists()


def wait_archived(vault: ServerVault, name: str, told: list[str]) -> None:
    wait_until(lambda: is_archived(vault, name), f"{name} is archived; {told}; {names_on_disk(vault)}")


def gaps(vault: ServerVault) -> list[int]:
    """How many segments each gap misses."""
    return [gap.missing for timeline in wal_status(vault).survey.timelines for gap in timeline.gaps]


@pytest.fixture
def server(own_server) -> Server:
    return own_server(wal_segsize=1)


def test_streamed_segments_are_archived_and_equal(own_server, major: int, vault: ServerVault) -> None:
    """Rule 9: segments of 1 MiB, on every major."""
    server = own_server(major, wal_segsize=1)
    with receiver(server, vault) as told:
        wait_until(lambda: any("receiving" in each for each in told), "it receives")
        names = work(server, 4)
        wait_archived(vault, names[-1], told)
        kept = {path.name: path.read_bytes() for path in server.wal.iterdir() if path.name in names}
    assert len(kept) >= 2
    for name, content in kept.items():
        assert fetch(vault, name) == content
    assert gaps(vault) == []


def test_what_is_told_to_be_flushed_is_on_disk(server: Server, vault: ServerVault) -> None:
    """The server may drop its WAL before the flushed position, so everything before it has to be here."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
        server.sql("create table last as select 1")
        written = Lsn.parse(server.scalar("select pg_current_wal_flush_lsn()::text"))

        def confirmed() -> Lsn:
            text = server.scalar("select flush_lsn::text from pg_stat_replication where application_name = 'pgvault'")
            return Lsn.parse(text or "0/0")
        wait_until(lambda: confirmed() >= written, "the last commit is confirmed")
        flushed = confirmed()
        [partial] = vault.spool.streaming.glob("*.partial")
        start = int(partial.name[16:24], 16) << 20
        assert start <= flushed <= start + partial.stat().st_size
        content = (server.wal / partial.stem).read_bytes()[:flushed - start]
        assert partial.read_bytes()[:flushed - start] == content


def archive_other_wal(server: Server, vault: ServerVault) -> None:
    """While a receiver is at work, somebody else archives other WAL under the name of the current segment."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
        name = server.scalar("select pg_walfile_name(pg_current_wal_insert_lsn())")
        server.sql("checkpoint")
        other = other_wal((server.wal / name).read_bytes(), Segment.parse(name, 1 << 20))
        put(vault, name, other)
        work(server, 2)
        wait_until(lambda: any("archived already" in each for each in told), "it is rejected")
        wait_until(lambda: server.sql("select pid from pg_stat_replication") == [], "the receiver has ended")
        held = server.scalar("select restart_lsn::text from pg_replication_slots where slot_name = 'pgvault'")
        assert Lsn.parse(held) < Lsn((int(name[16:24], 16) + 1) << 20), "the server keeps its own"
        assert fetch(vault, name) == other, "what is stored is kept"
        assert quarantined(vault)


def other_wal(content: bytes, segment: Segment) -> bytes:
    """A whole segment of the same cluster with other records; a damaged one would give way to the server's."""
    writer = Writer(segment.start(1 << 20), magic=int.from_bytes(content[:2], "little"))
    writer.append(b"of somebody else")
    writer.switch()
    [(_, other)] = writer.segments()
    return other[:24] + content[24:40] + other[40:]


def test_what_the_archive_does_not_take_is_not_confirmed(server: Server, vault: ServerVault) -> None:
    """Rule 11: what is rejected fails to the caller, which for the receiver is the server."""
    with pytest.raises(Refused, match="the archive refuses"):
        archive_other_wal(server, vault)


def test_a_damaged_index_does_not_stop_it(server: Server, vault: ServerVault) -> None:
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    vault.cache.wal.write_bytes(b"no database" * 1000)
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    assert gaps(vault) == []


def test_nothing_is_confirmed_before_it_was_flushed(
        server: Server, vault: ServerVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cache hides a missing flush from every reader, so the calls themselves are watched."""
    safe, confirmed = [Lsn(0)], []
    real = {name: getattr(StreamedSegment, name) for name in ("__init__", "flush", "finish")}
    confirm = ReplicationStream.confirm

    def begin(self: StreamedSegment, *arguments: object) -> None:
        real["__init__"](self, *arguments)
        safe.append(self.written)

    def flush(self: StreamedSegment) -> None:
        real["flush"](self)
        safe.append(self.written)

    def finish(self: StreamedSegment) -> Path:
        path = real["finish"](self)
        safe.append(self.written)
        return path

    def watch(self: ReplicationStream, written: Lsn, flushed: Lsn, **options: bool) -> None:
        confirmed.append((flushed, max(safe)))
        confirm(self, written, flushed, **options)

    for name, spy in (("__init__", begin), ("flush", flush), ("finish", finish)):
        monkeypatch.setattr(StreamedSegment, name, spy)
    monkeypatch.setattr(ReplicationStream, "confirm", watch)
    with receiver(server, vault) as told:
        wait_archived(vault, work(server, 2)[-1], told)
        server.sql("create table last as select 1")
        end = Lsn.parse(server.scalar("select pg_current_wal_flush_lsn()::text"))
        wait_until(lambda: confirmed[-1][0] >= end, "the last commit is confirmed")
    assert [pair for pair in confirmed[1:] if pair[0] > pair[1]] == []


def test_restarts_and_cut_connections_leave_no_hole(server: Server, vault: ServerVault) -> None:
    """Case 12."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
        server.restart()
        wait_archived(vault, work(server)[0], told)
        assert any("shutting down" in each for each in told), told
        server.sql("select pg_terminate_backend(pid) from pg_stat_replication")
        wait_archived(vault, work(server)[0], told)
        server.crash()
        work_after = work(server.start())[0]
        wait_archived(vault, work_after, told)
    assert gaps(vault) == []
    assert quarantined(vault) == {}


@pytest.fixture
def proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """On the way to `server`, before a receiver whose patience is short."""
    monkeypatch.setattr(receive_session, "STATUS_SECONDS", 0.1)
    monkeypatch.setattr(receive_session, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(postgres, "ANSWER_SECONDS", 0.5)
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def test_a_network_that_swallows_everything_leaves_no_hole(server: Server, vault: ServerVault, proxy: Proxy) -> None:
    """Case 12: nothing is closed, and nothing comes. The server holds the slot for the dead connection until its own
    wal_sender_timeout."""
    server.configure({"wal_sender_timeout": "1s"})
    server.reload()
    with receiver(server, vault, port=proxy.port) as told:
        wait_archived(vault, work(server)[0], told)
        proxy.swallow()
        wait_archived(vault, work(server)[0], told)
        assert any("has been silent" in each for each in told), told
    assert gaps(vault) == []


@pytest.mark.parametrize("mark", [b"IDENTIFY_SYSTEM", b"pg_replication_slots", b"START_REPLICATION"])
def test_a_question_that_is_never_answered_is_asked_anew(
        server: Server, vault: ServerVault, proxy: Proxy, mark: bytes) -> None:
    """Whatever is swallowed: libpq itself would wait for ever."""
    proxy.swallow_from(mark)
    with receiver(server, vault, port=proxy.port) as told:
        wait_until(proxy.swallowed.is_set, "it is swallowed")
        wait_until(lambda: any("receiving" in each for each in told) and any("did not answer" in each for each in told),
                   f"it is asked anew: {told}")
        wait_archived(vault, work(server)[0], told)


def test_a_connection_whose_end_was_noticed_already_is_lost(server: Server) -> None:
    """As when a restart follows a promotion at once: what is asked next is asked in vain, and a new one is made."""
    with closing(postgres.connect(ServerConfig(name="main", conninfo=server.conninfo()), replication=True)) as there:
        server.sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'")
        for _ in range(2):
            with pytest.raises(Unreachable):
                timeline_history("main", there, 2)
        with pytest.raises(Unreachable, match="connection to main was lost"):
            ReplicationStream("main", there, "pgvault", 1, Lsn(1 << 20))


@pytest.mark.parametrize("work_of_ours", ["take", "read_facts"])
def test_the_time_that_our_own_work_takes_is_no_silence_of_the_server(
        server: Server, vault: ServerVault, monkeypatch: pytest.MonkeyPatch, work_of_ours: str) -> None:
    """A slow disk must not end the connection before the server was asked, and could answer."""
    blocked: list[float] = []
    real = getattr(receive_session, work_of_ours)

    def blocking(*arguments: object, **options: object) -> object:
        if work_of_ours == "take" or not blocked:
            blocked.append(10 * receive_session.SILENCE_SECONDS)
        return real(*arguments, **options)

    monkeypatch.setattr(receive_session, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(blocked)))
    monkeypatch.setattr(receive_session, work_of_ours, blocking)
    with receiver(server, vault) as told:
        for _ in range(2):
            wait_archived(vault, work(server)[0], told)
        wait_until(lambda: blocked, "it has worked")
        wait_archived(vault, work(server)[0], told)
    assert [each for each in told if "silent" in each] == []


def test_it_tells_when_it_last_heard_from_the_server(
        server: Server, vault: ServerVault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle server is asked for a word; that the process lives is not enough."""
    lock = vault.locks / "receive.lock"
    monkeypatch.setattr(receive_session, "HEARD_SECONDS", 0.0)
    with receiver(server, vault, port=proxy.port) as told:
        wait_until(lambda: any("receiving" in each for each in told), "it receives")
        for _ in range(2):
            os.utime(lock, (0, 0))
            wait_until(lambda: lock.stat().st_mtime > 0, "it has heard")
        proxy.refuse()
        proxy.swallow()
        wait_until(lambda: any("has been silent" in each for each in told), "it misses it")
        os.utime(lock, (0, 0))
        wait_until(lambda: any("could not connect" in each for each in told), "it tries again")
        assert lock.stat().st_mtime == 0
    assert UNHEARD.total_seconds() > 120 + 10, "as long as a receiver waits by itself is as usual"


def test_nothing_is_made_where_the_vault_has_gone(server: Server, vault: ServerVault) -> None:
    """Its file system was taken from under it."""
    home, elsewhere = vault.home.parent, vault.home.parent.with_name("elsewhere")

    def unmount(event: Event) -> None:
        if isinstance(event, Noted) and event.code == "receiving":
            home.rename(elsewhere)
            home.mkdir()
            work(server)

    stop = Stop()
    with closing(stop), pytest.raises(Refused, match="is not there"):
        receive(ServerConfig(name="main", conninfo=server.conninfo()), vault, stop, emit=unmount)
    assert os.listdir(home) == []
    home.rmdir()
    elsewhere.rename(home)
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    assert gaps(vault) == []


def test_another_vault_that_was_mounted_there_gets_nothing(
        server: Server, vault: ServerVault, tmp_path: Path) -> None:
    """Nor is WAL confirmed that would lie in it; the next connection notices."""
    home, other = vault.home.parent, new_vault(tmp_path / "other").home.parent
    stop = Stop()

    def mount(event: Event) -> None:
        if not isinstance(event, Noted) or event.code != "receiving":
            return
        if not other.exists():
            stop.set()  # it went on into the other one
            return
        home.rename(home.with_name("elsewhere"))
        other.rename(home)
        server.sql("select pg_terminate_backend(pid) from pg_stat_replication")

    with closing(stop), pytest.raises(Refused, match="is not the one that was there before"):
        receive(ServerConfig(name="main", conninfo=server.conninfo()), vault, stop, emit=mount)
    assert read_identity(vault) is None


def test_a_killed_receiver_leaves_no_hole(server: Server, vault: ServerVault, config) -> None:
    """Case 12: kill -9 in the middle of a segment, more WAL meanwhile, and again."""
    path = config(server)
    for _ in range(3):
        process = subprocess.Popen(pgvault_argv("receive-wal", "main", config=path), env=environment(),
                                   stderr=subprocess.PIPE, text=True)
        wait_until(lambda: server.scalar("select count(*) from pg_stat_replication where state = 'streaming'"),
                   "it streams")
        work(server)
        server.sql("create table if not exists u(i int); insert into u select generate_series(1, 3000)")
        wait_until(lambda: list(vault.spool.streaming.iterdir()), "something is streamed")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        work(server)
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    assert gaps(vault) == []
    assert quarantined(vault) == {}
    status = wal_status(vault)
    assert [each.reason for each in status.not_read] == [each.reason for each in status.damaged] == []
    assert status.unread == 0


def test_a_dropped_slot_and_removed_wal_is_a_gap_that_is_said_and_shown(server: Server, vault: ServerVault) -> None:
    """Case 12, rule 16: what follows is archived all the same."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    server.sql("select pg_drop_replication_slot('pgvault')")
    server.configure({"max_wal_size": "2MB", "min_wal_size": "2MB", "wal_keep_size": 0})
    server.reload()
    for _ in range(3):
        work(server, 4)
        server.sql("checkpoint")
    with receiver(server, vault) as told:
        wait_archived(vault, work(server, 2)[-1], told)
    assert any(each.startswith("gap: ") for each in told), told
    [missing] = gaps(vault)
    assert missing > 1


@pytest.fixture
def standby(server: Server, adopt_server, open_tmp: Path) -> Server:
    """A running standby of `server`."""
    data = open_tmp / "standby"
    account().run([server.installation.program("pg_basebackup"), "-d", server.conninfo(), "-D", data, "-R",
                   "-c", "fast", "-X", "stream"])
    return adopt_server(data, server.major).start()


def caught_up(server: Server, standby: Server) -> None:
    end = server.scalar("select pg_current_wal_flush_lsn()::text")
    wait_until(lambda: standby.scalar(f"select pg_last_wal_replay_lsn() >= '{end}'"), "the standby has it all")


def promote(standby: Server) -> None:
    standby.sql("select pg_promote()")


def test_the_promotion_of_the_server_it_receives_from_is_followed(
        server: Server, standby: Server, vault: ServerVault) -> None:
    """Case 12, rule 13: the history is archived, the old timeline's end kept as partial, the new one goes on."""
    with receiver(standby, vault) as told:
        names = work(server, 2)
        caught_up(server, standby)
        wait_archived(vault, names[-1], told)
        server.sql("create table before_promotion as select 1")
        caught_up(server, standby)
        promote(standby)
        after = work(standby)[0]
        assert after.startswith("00000002")
        wait_archived(vault, after, told)
        assert any("was promoted" in each for each in told), told
    assert is_archived(vault, "00000002.history")
    on_disk = names_on_disk(vault)
    assert len([name for name in on_disk if name.endswith(".partial.zst") and "/00000001" in name]) == 1
    status = wal_status(vault)
    assert [(each.timeline, each.parent) for each in status.survey.timelines] == [(1, None), (2, 1)]
    assert gaps(vault) == []
    assert status.not_read == ()


def test_a_failover_to_another_server_goes_on_behind_the_archive(
        server: Server, standby: Server, vault: ServerVault) -> None:
    """Case 12: the receiver is pointed at the promoted standby; what it had streamed of the old timeline is kept."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
        server.sql("create table last_commit as select 1")
        end = Lsn.parse(server.scalar("select pg_current_wal_flush_lsn()::text"))
        wait_until(lambda: any((int(p.name[16:24], 16) << 20) + p.stat().st_size >= end
                               for p in vault.spool.streaming.glob("*.partial")), "the last commit is streamed")
        caught_up(server, standby)
    server.crash()
    promote(standby)
    with receiver(standby, vault) as told:
        wait_archived(vault, work(standby)[0], told)
    on_disk = names_on_disk(vault)
    assert any(name.endswith(".partial.zst") and "/00000001" in name for name in on_disk)
    assert gaps(vault) == []
    assert wal_status(vault).not_read == ()


def test_a_history_file_that_comes_before_its_wal_and_after(
        server: Server, standby: Server, vault: ServerVault) -> None:
    """Case 7."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
        caught_up(server, standby)
    server.stop()
    promote(standby)
    names = work(standby, 2)
    first = f"00000002{standby.scalar('select pg_walfile_name(pg_current_wal_lsn())')[8:]}"
    history = (standby.wal / "00000002.history").read_bytes()
    segments = {path.name: path.read_bytes() for path in standby.wal.iterdir()
                if path.name[:8] == "00000002" and len(path.name) == 24 and path.name < first}
    assert names[-1] in segments
    for name in sorted(segments):
        put(vault, name, segments[name])
    assert [each.parent for each in wal_status(vault).survey.timelines] == [None, None]
    put(vault, "00000002.history", history)
    status = wal_status(vault)
    assert [each.parent for each in status.survey.timelines] == [None, 1]
    assert gaps(vault) == []


def test_another_cluster_is_refused(own_server, server: Server, vault: ServerVault) -> None:
    """Rule 6, case 20."""
    with receiver(server, vault) as told:
        wait_archived(vault, work(server)[0], told)
    other = own_server(wal_segsize=1, fresh=True)
    before = names_on_disk(vault)
    with pytest.raises(Refused, match="another cluster"), receiver(other, vault):
        time.sleep(2)
    assert names_on_disk(vault) == before


def test_one_receiver_at_a_time_and_stop_ends_it(server: Server, vault: ServerVault, config) -> None:
    """The end of its terminal does not."""
    path = config(server)
    assert pgvault("receive-wal", "main", "--stop", config=path, check=0).stderr == "no receiver of main is running\n"
    process = subprocess.Popen(pgvault_argv("receive-wal", "main", config=path), env=environment(),
                               stderr=subprocess.PIPE, text=True)
    wait_until(lambda: server.scalar("select count(*) from pg_stat_replication where state = 'streaming'"),
               "it streams")
    process.send_signal(signal.SIGHUP)
    refused = pgvault("receive-wal", "main", config=path, check=6)
    assert str(process.pid) in refused.stderr
    wait_archived(vault, work(server)[0], [])
    pgvault("receive-wal", "main", "--stop", config=path, check=0)
    assert process.wait(10) == 0
    process.communicate()


def test_switch_wal_brings_an_idle_servers_last_segment_into_the_archive(
        server: Server, vault: ServerVault, config) -> None:
    """Case 6."""
    path = config(server)
    with receiver(server, vault) as told:
        wait_until(lambda: any("receiving" in each for each in told), "it receives")
        server.sql("create table idle as select 1")
        done = pgvault("--format", "json", "switch-wal", "main", "--archive", config=path, check=0).json()
        assert done["switched"]
        assert is_archived(vault, done["segment"])
        again = pgvault("--format", "json", "switch-wal", "main", "--archive", config=path, check=0).json()
        assert (again["segment"], again["switched"]) == (done["segment"], False)
    server.sql("create table unseen as select 1")
    missed = pgvault("switch-wal", "main", "--archive", "--archive-timeout", "0.2", config=path, check=9)
    assert "did not arrive" in missed.stderr
    assert json.loads(pgvault("--format", "json", "archive-wal", "main", config=path, check=0).stdout)["archived"] == []
