"""Reading what was archived since the last look: told when it takes long, and nothing is lost when it is broken off."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from made_up import Deeds
from test_event_reading import archived
from test_events_passed_over import next_segment

from pgvault.config.load import load
from pgvault.engine import progress
from pgvault.engine.backup.run import BackupVerdict, _read_wal
from pgvault.engine.events import find_events
from pgvault.engine.progress import reading_progress
from pgvault.engine.restore import plan
from pgvault.engine.restore.plan import make_plan
from pgvault.io.local_host import LocalHost
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.errors import Cancelled
from pgvault.model.event import Emit, Event, PhaseStarted, Progressed, discard
from pgvault.model.restore_request import RestoreRequest
from pgvault.vault import wal_index
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_facts import OnProgress, read_facts, unread


@pytest.fixture
def vault(tmp_path: Path) -> ServerVault:
    """Five segments that nobody has read."""
    deeds = Deeds()
    for xid in range(700, 704):
        deeds.row(xid, 16384)
        deeds.end(xid)
        next_segment(deeds)
    return archived(tmp_path, deeds)


def left(vault: ServerVault) -> int:
    with wal_index.reading(vault) as index:
        return unread(index)


def test_long_readings_are_told_from_the_first_to_the_last_segment(vault: ServerVault,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_WORTH_REPORTING", 1)
    told: list[Event] = []
    list(find_events(vault, emit=told.append))
    first, *_, last = told
    assert isinstance(first, PhaseStarted)
    assert isinstance(last, Progressed)
    assert (first.phase, first.total_bytes) == ("read WAL", last.done_bytes)
    again: list[Event] = []
    list(find_events(vault, emit=again.append))
    assert again == []


def test_short_readings_are_not_told(vault: ServerVault) -> None:
    told: list[Event] = []
    assert read_facts(vault, on_progress=reading_progress(told.append)) == 5
    assert told == []


def test_a_reading_that_is_broken_off_goes_on_where_it_was(vault: ServerVault) -> None:
    def enough(done: int, total: int) -> None:
        if done * 5 >= total * 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_facts(vault, on_progress=enough)
    assert left(vault) == 3
    assert read_facts(vault) == 3
    assert left(vault) == 0


def test_a_backup_cancelled_while_it_reads_says_that_it_is_done(vault: ServerVault) -> None:
    backup = cast("Backup", SimpleNamespace(id="20261125T080000Z", status=BackupStatus.DONE))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled, match="backup 20261125T080000Z is DONE; only the reading") as told:
        _read_wal(vault, BackupVerdict(backup), discard, cancelled)
    assert told.value.hint
    assert left(vault) == 5


def test_whoever_wants_a_plan_can_take_it_back_while_days_of_wal_are_read(
        vault: ServerVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pgvault.toml").write_text(
        f"[vault]\nhome = '{vault.home.parent}'\n[servers.main]\nconninfo = 'host=nowhere'\n")
    config = load(tmp_path / "pgvault.toml")

    async def ask() -> None:
        request = RestoreRequest("main", directory="/restored")
        asked = asyncio.create_task(make_plan(request, config, LocalHost("here")))
        loop = asyncio.get_running_loop()

        def telling_and_cancelling(emit: Emit, cancelled: threading.Event) -> OnProgress:
            tell = reading_progress(emit, cancelled)

            def first_cancel(done: int, total: int) -> None:
                if done:
                    loop.call_soon_threadsafe(asked.cancel)
                    assert cancelled.wait(60)
                tell(done, total)

            return first_cancel

        monkeypatch.setattr(plan, "reading_progress", telling_and_cancelling)
        await asked

    with pytest.raises(Cancelled, match="the reading of the archived WAL was cancelled"):
        asyncio.run(ask())
    assert left(vault) == 4
