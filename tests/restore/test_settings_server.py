"""Case 31: a restored server starts with its original's configuration, and does nothing in its original's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from destination_site import Site, made_site
from support.account import account
from support.fleet import Fleet
from support.postgres import free_port


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with made_site(fleet, with_spaces=False, backup=False) as site:
        yield site


def configure(site: Site, archived: Path) -> None:
    """All that could be set, in files that the running server does not read again."""
    server, data = site.server, site.server.data
    server.sql("create table t (n int)")
    outside = server.directory / "outside.conf"
    outside.write_text(f"data_directory = '{data}'\nrecovery_target_name = 'no such'\n")
    (data / "conf.d").mkdir()
    (data / "custom").mkdir()
    (data / "custom/hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    (data / "conf.d/10.conf").write_text(
        f"Archive_Command = 'touch {archived}'\nARCHIVE_MODE always\r\ninclude '../deeper.conf'\n")
    (data / "deeper.conf").write_text("synchronous_standby_names '*'\nprimary_conninfo='host=127.0.0.1 port=1'")
    (data / "absolute.conf").write_text("recovery_target_xid = 77\nwork_mem = '5MB'\n")
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"data_directory = '{data}'\nhba_file = '{data}/custom/hba.conf'\n"
            f"external_pid_file = '{server.directory}/pid'\nlog_directory = '{data}/log'\n"
            f"archive_command = 'touch {archived}'\narchive_command = 'touch {archived}' # again, it\\'s\n"
            f"include '{data}/absolute.conf'\ninclude_if_exists '{outside}'\ninclude_dir 'conf.d'\n"
            "restore_command='false'\nrecovery_target_timeline current\nrecovery_target_action='shutdown'")
    (data / "postgresql.auto.conf").write_text("primary_slot_name = 'old'\nrecovery_min_apply_delay = '1h'")
    account().own(data)
    outside.chmod(0o644)


def test_a_restored_server_starts_on_its_own_and_archives_nothing(site: Site) -> None:
    archived, port = site.root / "archived", free_port()
    configure(site, archived)
    site.run("backup", "main", "--immediate-checkpoint")
    site.add_host("new", None, f'port = {port}\nsocket_directory = "{site.server.sockets}"')
    directory = site.place("restored")
    done = site.restore("new", directory, "--start")
    try:
        assert "the server is promoted" in done.text
        for line in ("conf.d/10.conf line 1: archive_command", "conf.d/10.conf line 2: archive_mode = always",
                     "deeper.conf line 1: synchronous_standby_names = *", "deeper.conf line 2: primary_conninfo",
                     "absolute.conf line 1: recovery_target_xid = 77", "postgresql.auto.conf line 1: primary_slot_name",
                     f"data_directory = {site.server.data} (commented out)", "include_if_exists = "):  # fmt: skip
            assert line in done.text, line
        shown = dict(ask(site, port, "select name, setting from pg_settings"))
        assert shown["data_directory"] == str(directory)
        assert shown["hba_file"] == f"{directory}/custom/hba.conf"
        assert shown["log_directory"] == f"{directory}/log"
        assert shown["archive_mode"] == "off"
        assert shown["work_mem"] == str(5 * 1024)  # the rest of an included file is in effect
        for name in ("archive_command", "synchronous_standby_names", "primary_conninfo", "primary_slot_name",
                     "recovery_target_xid", "recovery_target_name", "external_pid_file"):  # fmt: skip
            assert shown[name] in ("", "(disabled)", None), name
        files = {file for (file,) in ask(site, port, "select distinct sourcefile from pg_file_settings"
                                                     " where sourcefile is not null")}
        assert all(file.startswith(f"{directory}/") for file in files)
        ask(site, port, "insert into t select generate_series(1, 10) returning n")  # waits for no standby
        for _ in range(3):
            ask(site, port, "select pg_logical_emit_message(false, 'a', 'b'), pg_switch_wal()")
        assert not archived.exists()
        assert not list((directory / "pg_wal/archive_status").glob("*.ready"))
        assert site.server.scalar("select count(*) from t") == 0
    finally:
        account().run([site.server.installation.program("pg_ctl"), "stop", "-m", "fast", "-D", directory])


def ask(site: Site, port: int, text: str) -> list[tuple]:
    import psycopg

    with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True) as connection:
        return connection.execute(text.encode()).fetchall()


def test_a_cluster_whose_configuration_was_elsewhere_starts(site: Site) -> None:
    """postgresql.conf and pg_hba.conf are links to files elsewhere: the backup takes along what they lead to."""
    data, port = site.server.data, free_port()
    for name in ("postgresql.conf", "pg_hba.conf"):
        (data / name).rename(site.server.directory / name)
        (data / name).symlink_to(site.server.directory / name)
    site.run("backup", "main", "--immediate-checkpoint")
    site.add_host("bare", None, f'port = {port}\nsocket_directory = "{site.server.sockets}"')
    directory = site.place("bare")
    done = site.restore("bare", directory, "--start")
    try:
        assert "the server is promoted" in done.text
        assert "a minimal one is written" not in done.stderr
        assert f"port={port}" in (directory / "postgresql.auto.conf").read_text().replace(" = '", "=").replace("'", "")
    finally:
        account().run([site.server.installation.program("pg_ctl"), "stop", "-m", "fast", "-D", directory])
