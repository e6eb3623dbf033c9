"""list-servers, show-server and status: what is configured, where things are, and how a server's protection stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

from check_site import NAME, Site
from support.account import account
from support.objects import backup_directory
from support.postgres import Server, wait_until

from pgvault.config.schema import ServerConfig, settings_of
from pgvault.jobs.journal import Journal
from pgvault.jobs.registry import create_job
from pgvault.model.backup import Backup, BackupStatus
from pgvault.model.event import JobStarted
from pgvault.model.job import JobKind
from pgvault.model.lsn import Lsn
from pgvault.store.files import make_directory
from pgvault.store.leases import Concern
from pgvault.vault import catalog, wal_index
from pgvault.vault.layout import Vault

SEGMENT = 16 << 20


def store_backup(site: Site, *, hours_ago: int, segment: int, **changes: object) -> Backup:
    """The facts of a backup that began and ended in one segment of timeline 1."""
    vault = Vault(site.home).server(NAME)
    ended = datetime.now(UTC) - timedelta(hours=hours_ago)
    backup = Backup(**{
        "id": f"{ended:%Y%m%dT%H%M%SZ}", "server": NAME, "status": BackupStatus.DONE, "method": "stream",
        "started_at": ended, "finished_at": ended, "system_identifier": "1", "server_version": "18.6",
        "segment_size": SEGMENT, "timeline": 1, "data_directory": "/data", "begin_lsn": Lsn(segment * SEGMENT + 40),
        "end_lsn": Lsn(segment * SEGMENT + 400), "size_bytes": 28 << 20, "stored_bytes": 3 << 20, **changes})
    make_directory(backup_directory(vault, backup.id))
    catalog.write(vault, backup)
    account().own(site.home)
    return backup


def archive_segments(server: Server, count: int) -> None:
    for _ in range(count):
        segment = server.switch_wal()
    wait_until(lambda: server.scalar("select last_archived_wal from pg_stat_archiver") == segment)


def test_list_servers_as_the_tutorial_shows_it(site: Site) -> None:
    site.configure(conninfo="host=db", more='[servers.other]\nconninfo = "host=db2"')
    assert site.run("list-servers", check=0).text == f"{NAME} - Main DB Server\nother\n"
    assert site.run("list-server", check=0).text.startswith(NAME), "as the tutorial types it"
    assert site.run("list-servers", "--format", "json", check=0).json() == {"schema": 1, "servers": [
        {"name": NAME, "description": "Main DB Server"}, {"name": "other", "description": ""}]}


def test_no_servers_say_where_to_add_one(site: Site) -> None:
    site.config.write_text(f'[vault]\nhome = "{site.home}"\n')
    done = site.run("list-servers", check=0)
    assert not done.text
    assert str(site.config) in done.stderr


def test_show_server_has_the_line_that_the_tutorial_greps(site: Site, pg: Server) -> None:
    site.configure(pg)
    lines = [line.strip() for line in site.run("show-server", NAME, check=0).text.splitlines()]
    assert f"incoming_wals_directory: {site.home}/{NAME}/incoming" in lines
    assert f"server_version: {pg.installation.version}" in lines
    assert f"system_identifier: {pg.system_identifier()}" in lines
    assert f"data_directory: {pg.data}" in lines
    keys = [line.partition(":")[0] for line in lines[1:]]
    assert set(keys).issuperset(settings_of(ServerConfig)), "every setting is shown"
    assert len(keys) == len(set(keys)), "each once"
    assert not site.home.exists()


def test_show_server_that_is_out_of_reach(site: Site, own_server: Callable[..., Server]) -> None:
    server = own_server()
    site.configure(server)
    server.stop()
    done = site.run("show-server", NAME, check=0)
    assert f"reachable: no: could not connect to {NAME}. Nothing listens there." in done.text
    document = site.run("show-server", NAME, "--format", "json", check=0).json()
    assert (document["reachable"], document["state"]) == (False, None)
    assert document["directories"]["incoming_wals_directory"] == f"{site.home}/{NAME}/incoming"
    assert document["settings"]["compression"] == "zstd"


def test_status_of_a_server_that_nothing_was_done_for(site: Site, pg: Server) -> None:
    site.configure(pg)
    done = site.run("status", NAME, check=0)
    assert "  Last backup     : none\n" in done.text
    assert "  Recovery window : none: nothing can be restored\n" in done.text
    assert f"To see how to correct them: pgvault check {NAME}" in done.text
    assert not site.home.exists()


def test_status_tells_backups_window_wal_receiver_and_jobs(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving(vault='last_backup_maximum_age = "1 DAYS"')
    archive_segments(server, 3)
    newest = server.scalar("select last_archived_wal from pg_stat_archiver")
    store_backup(site, hours_ago=9, segment=1, status=BackupStatus.FAILED)
    good = store_backup(site, hours_ago=3, segment=2)
    with site.receiver():
        text = site.run("status", NAME, check=0).text
        document = site.run("status", NAME, "--format", "json", check=0).json()
    assert f"  Last backup     : {good.id}, 3 h 00 min ago, 28.0 MiB (3.0 MiB stored)\n" in text
    assert "  Backups         : 1 good, 1 FAILED\n" in text
    assert f"  WAL             : newest {newest}, 0 behind\n" in text
    assert "  Receiver        : process " in text
    assert "  Running jobs    : none\n" in text
    assert document["last_backup"]["id"] == good.id
    [window] = document["windows"]
    assert window["timeline"] == 1
    assert window["backups"] == [good.id]
    assert window["from_lsn"] == str(good.end_lsn)
    assert document["receiver"].startswith("process ")
    assert document["receiver_heard_at"]
    assert "  Protection      : OK\n" in text
    assert document["protection"] == {"state": "ok", "reasons": []}


def test_a_hole_in_the_archive_ends_the_window_and_is_a_problem(site: Site, archiving: Callable[..., Server]) -> None:
    """Rule 16, in a real archive."""
    server = archiving()
    archive_segments(server, 4)
    store_backup(site, hours_ago=3, segment=1)
    assert site.check(expect=0)["WAL gaps"]["outcome"] == "ok"
    with wal_index.writing(site.vault) as index:
        index.remove("000000010000000000000003")
    gap = site.check(expect=3)["WAL gaps"]
    assert gap["detail"] == "1 missing after 000000010000000000000002"
    document = site.run("status", NAME, "--format", "json").json()
    assert document["windows"][0]["until_lsn"].startswith("0/2"), "it ends in segment 2"
    assert [problem["name"] for problem in document["problems"]] == ["WAL gaps"]


def test_the_jobs_of_this_server_that_run_are_shown(site: Site, pg: Server) -> None:
    site.configure(pg)
    Vault.open_or_create(site.home)
    with running_job(site, NAME) as mine, running_job(site, "other"):
        [job] = site.run("status", NAME, "--format", "json", check=0).json()["jobs"]
        assert job == {"id": mine, "kind": "backup", "state": "running"}
        assert f"  Running jobs    : {mine} (backup)\n" in site.run("status", NAME, check=0).text
    assert site.run("status", NAME, "--format", "json", check=0).json()["jobs"] == [], "it is lost, not running"


@contextmanager
def running_job(site: Site, server: str) -> Iterator[str]:
    told = JobKind.BACKUP, server, f"pgvault backup {server}"
    with closing(create_job(site.home, *told)) as held, closing(Journal(held.directory)) as journal:
        journal.emit(JobStarted(held.directory.name, told[0].value, *told[1:]))
        yield held.directory.name


def test_status_of_a_server_that_is_down(site: Site, archiving: Callable[..., Server]) -> None:
    server = archiving()
    server.stop()
    done = site.run("status", NAME, check=0)
    assert f"  PostgreSQL      : out of reach: could not connect to {NAME}\n" in done.text
    assert "  WAL             : newest 0000000100000000000000" in done.text
    [document] = [json.loads(line) for line in site.run("status", "all", "--format", "json").stdout.splitlines()]
    assert document["wal"]["segments_behind"] is None


def test_reading_does_not_get_in_the_way_of_a_backup(site: Site, pg: Server) -> None:
    """Someone who holds the locks of a backup does not hold up a look, and is not held up by it."""
    site.configure(pg)
    vault = Vault(site.home).server(NAME)
    with vault.leases.hold(Concern.BACKUP), vault.leases.hold(Concern.ARCHIVE):
        site.run("status", NAME, check=0, timeout=60)
        site.run("check", NAME, timeout=60)
