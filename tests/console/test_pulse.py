"""What was found of a server does not stand there as if it were now: neither when it stopped, nor when it is back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from desk import NOW, Desk, screen, settle

from pgvault.console import pulse
from pgvault.console.checks import Checked
from pgvault.console.joblines import current
from pgvault.console.pulse import answers
from pgvault.model.check import Finding, Outcome
from pgvault.model.event import PhaseStarted
from pgvault.model.job import Job, JobKind, JobState


async def test_a_server_that_ceases_or_begins_to_answer_is_checked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"main": True}

    async def answer(conninfo: str) -> bool:
        return now["main"]
    monkeypatch.setattr(pulse, "answers", answer)
    well = {"server": "main", "outcome": "ok", "checks": [{"name": "PostgreSQL", "outcome": "ok"}]}
    desk.says("check main", well)
    desk.protect()
    app = desk.app(check_at_start=True)
    known: dict[str, bool | None] = {}
    async with desk.open(app) as pilot:
        asked = app.queries.commands.asked
        await pulse._check_changed(app, known)
        await settle(pilot)
        assert asked == [("check", "main")], "at the start, and not again while nothing changes"
        desk.says("check main", {**well, "outcome": "failed", "checks": [
            {"name": "PostgreSQL", "outcome": "failed", "cause": "connection refused"}]})
        now["main"] = False
        await pulse._check_changed(app, known)
        await settle(pilot)
        assert len(asked) == 2
        assert "WARNING" in screen(pilot)
        assert "connection refused" in screen(pilot)
        desk.says("check main", well)
        now["main"] = True
        await pulse._check_changed(app, known)
        await settle(pilot)
        assert "WARNING" not in screen(pilot)


async def test_where_a_server_listens_is_seen(tmp_path: Path) -> None:
    tcp = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    unix = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / ".s.PGSQL.5433")
    assert await answers(f"host=127.0.0.1 port={port}")
    assert await answers(f"host={tmp_path} port=5433")
    assert await answers(f"host={tmp_path},127.0.0.1 port=1,{port}"), "one of them is enough"
    assert await answers(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    assert await answers(f"host={tmp_path} port=5434") is False
    abstract = await asyncio.start_unix_server(lambda _, writer: writer.close(), f"\0{tmp_path}/.s.PGSQL.5435")
    assert await answers(f"host=@{tmp_path} port=5435")
    assert await answers(f"host=@{tmp_path} port=5436") is False
    assert await answers("user=postgres") is None, "nobody knows where libpq was told to look"
    await asyncio.sleep(0)
    for listening in (tcp, unix, abstract):
        listening.close()
        await listening.wait_closed()
    assert await answers(f"host=127.0.0.1 port={port}") is False


async def test_a_check_that_failed_is_made_again_when_a_job_has_ended(desk: Desk) -> None:
    desk.says("check main", {"server": "main", "outcome": "ok", "checks": []})
    desk.protect()
    async with desk.open() as pilot:
        app = pilot.app
        app.checks.found["main"] = Checked(NOW - timedelta(hours=1), Outcome.FAILED,
                                           (Finding("backups", Outcome.FAILED),))
        job = desk.job(PhaseStarted("copy", at=desk.now), lives=True)
        await app.read_jobs()
        assert app.queries.commands.asked == []
        desk.close()
        await app.read_jobs()
        await settle(pilot)
        assert job not in [each.job.id for each in app.queries.jobs.running]
        assert app.queries.commands.asked == [("check", "main")]
        assert app.checks.found["main"].outcome is Outcome.OK


def test_what_failed_before_a_newer_success_of_its_kind_is_past() -> None:
    def job(number: int, state: JobState, kind: JobKind = JobKind.BACKUP, server: str = "main") -> Job:
        return Job(str(number), kind, server, state, "", None, "", NOW, NOW, "", None)
    failed, done = JobState.FAILED, JobState.SUCCEEDED
    jobs = [job(6, failed), job(5, done), job(4, failed), job(3, failed, JobKind.RESTORE), job(2, failed, server="b"),
            job(1, done)]
    assert [each.id for each in current(jobs)] == ["6", "5", "3", "2", "1"]
