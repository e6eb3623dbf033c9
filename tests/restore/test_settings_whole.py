"""The whole of what becomes of a configuration: each file, each change as it is told, each value that will hold."""

from __future__ import annotations

import pytest
from test_settings import ADDED, NEW, OLD, safe

from pgvault.engine.restore.settings import (
    AUTO_CONF,
    HEADING,
    IN_PLACE,
    WAL_DIRECTORY,
    Needs,
    make_safe,
    quote,
    recovery_additions,
    without_recovery,
)
from pgvault.model.restore_plan import SettingChange

COMMENTED, LEFT = "commented out", "left as it is"
UNKNOWN = "not in the backup, so its settings are not known: commented out"
OUTSIDE = "outside of the data directory: commented out"
CONF = rf"""# a comment with caf{chr(0xDCE9)}
listen_addresses '*'
hba_file = '{OLD}/conf/hba.conf'
ident_file='{OLD}/../ident.conf'
log_directory = '{NEW}/log'
ssl_key_file {OLD}//keys/./server.key# kept
archive_command = 'push %p'
include 'conf/a.conf'
include_if_exists 'conf/none.conf'
include_dir = '{OLD}/conf'
include '{OLD}/conf/a.conf'
include_if_exists '{OLD}/gone.conf'
include ''
log_destination = syslog
shared_preload_libraries = 'pg_cron, x'
ssl_ca_file = ''
Work_Mem = 4MB
"""
A_CONF = "primary_conninfo = 'host=a password=S3cret'\ninclude 'b.conf'\ninclude '../postgresql.conf'\nport = 1"
B_CONF = "port = 2\nstats_temp_directory = '/run/x'\n"
HBA = "conf/hba.conf"


def test_a_configuration_with_everything() -> None:
    files = {"postgresql.conf": CONF.encode("utf-8", "surrogateescape"), "conf/a.conf": A_CONF.encode(),
             "conf/b.conf": B_CONF.encode(), HBA: b"", "pg_hba.conf": b"", AUTO_CONF: b"work_mem = '8MB'"}
    done = safe(files)
    assert done.files["postgresql.conf"].decode("utf-8", "surrogateescape") == rf"""# a comment with caf{chr(0xDCE9)}
listen_addresses '*'
hba_file = '{NEW}/conf/hba.conf'
ident_file='{OLD}/../ident.conf'
log_directory = '{NEW}/log'
ssl_key_file '{NEW}/keys/server.key'# kept
#pgvault# archive_command = 'push %p'
include 'conf/a.conf'
include_if_exists 'conf/none.conf'
include_dir = 'conf'
include 'conf/a.conf'
#pgvault# include_if_exists '{OLD}/gone.conf'
#pgvault# include ''
#pgvault# log_destination = syslog
shared_preload_libraries = 'x'
ssl_ca_file = ''
Work_Mem = 4MB
"""
    assert done.files["conf/a.conf"].decode() == f"#pgvault# {A_CONF}"
    assert done.files["conf/b.conf"].decode() == "port = 2\n#pgvault# stats_temp_directory = '/run/x'\n"
    assert done.files[AUTO_CONF].decode() == (
        "work_mem = '8MB'\n# test\narchive_mode = 'off'\nrestore_command = 'cp ''x'' \\\\%p'\n"
        "recovery_target_timeline = '3'\nhot_standby = 'on'\nmax_logical_replication_workers = '0'\n")
    assert done.files.keys() == {"postgresql.conf", "conf/a.conf", "conf/b.conf", AUTO_CONF}
    lift = "ALTER SYSTEM RESET max_logical_replication_workers and a restart lift it"
    assert done.changed == (
        SettingChange("postgresql.conf", 3, "hba_file", f"{OLD}/conf/hba.conf", f"now {NEW}/conf/hba.conf"),
        SettingChange("postgresql.conf", 6, "ssl_key_file", f"{OLD}//keys/./server.key",
                      f"now {NEW}/keys/server.key"),
        SettingChange("postgresql.conf", 7, "archive_command", "push %p", COMMENTED),
        SettingChange("conf/a.conf", 1, "primary_conninfo", "host=a password=***", COMMENTED),
        SettingChange("conf/b.conf", 2, "stats_temp_directory", "/run/x", OUTSIDE),
        SettingChange("postgresql.conf", 10, "include_dir", f"{OLD}/conf", "now conf"),
        SettingChange("postgresql.conf", 11, "include", f"{OLD}/conf/a.conf", "now conf/a.conf"),
        SettingChange("postgresql.conf", 12, "include_if_exists", f"{OLD}/gone.conf", UNKNOWN),
        SettingChange("postgresql.conf", 13, "include", "", UNKNOWN),
        SettingChange("postgresql.conf", 14, "log_destination", "syslog", COMMENTED),
        SettingChange("postgresql.conf", 15, "shared_preload_libraries", "pg_cron, x", "now x: pg_cron runs jobs"),
        SettingChange(AUTO_CONF, 0, "max_logical_replication_workers", "", "max_logical_replication_workers = 0 is "
                      f"added, so that the copy acts on nothing outside; {lift}"),
    )
    assert done.to_look_at == (SettingChange("postgresql.conf", 2, "listen_addresses", "*", LEFT),
                               SettingChange("postgresql.conf", 4, "ident_file", f"{OLD}/../ident.conf", LEFT),
                               SettingChange("postgresql.conf", 5, "log_directory", f"{NEW}/log", LEFT))
    assert done.values == {
        "listen_addresses": "*", "hba_file": f"{NEW}/conf/hba.conf", "ident_file": f"{OLD}/../ident.conf",
        "log_directory": f"{NEW}/log", "ssl_key_file": f"{NEW}/keys/server.key", "port": "1", "ssl_ca_file": "",
        "shared_preload_libraries": "x", "work_mem": "8MB", "hot_standby": "on",
        "max_logical_replication_workers": "0", **ADDED}


def written(line: str, **files: bytes) -> str:
    """What becomes of one line of postgresql.conf."""
    there = {"postgresql.conf": line.encode("utf-8", "surrogateescape"), "pg_hba.conf": b"", AUTO_CONF: b"", **files}
    done = safe(there)
    return done.files.get("postgresql.conf", there["postgresql.conf"]).decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(("line", "left"), [
    ("hba_file = '/etc/hba.conf'", "hba_file = '/etc/hba.conf'"),
    (f"hba_file = '{OLD}/none.conf'", f"#pgvault# hba_file = '{OLD}/none.conf'"),
    (f"ident_file = '{OLD}/none.conf'", f"ident_file = '{NEW}/none.conf'"),
    (f"ident_file = '{OLD}'", f"ident_file = '{OLD}'"),
    (f"ident_file = '{OLD}2/x'", f"ident_file = '{OLD}2/x'"),
    ("include 'pg_hba.conf'", "include 'pg_hba.conf'"),
    ("include 'x/../pg_hba.conf'", "include 'x/../pg_hba.conf'"),
    ("include '..x'", "#pgvault# include '..x'"),
    ("include_if_exists '../x'", "#pgvault# include_if_exists '../x'"),
    ("include_if_exists 'x'", "include_if_exists 'x'"),
    ("include_dir 'none'", "#pgvault# include_dir 'none'"),
    (f"include'{OLD}/pg_hba.conf'", "include 'pg_hba.conf'"),
    ("data_directory", "#pgvault# data_directory"),
    ("log_directory = '/var/log'", "#pgvault# log_directory = '/var/log'"),
    (f"log_directory = '{OLD}/log'", f"log_directory = '{NEW}/log'"),
    ("bonjour\xa0= on", "bonjour\xa0= on"),
    ("αbonjour = on", "αbonjour = on"),
    ("plpgsql.bonjour = on", "plpgsql.bonjour = on"),
])  # fmt: skip
def test_what_becomes_of_a_line(line: str, left: str) -> None:
    assert written(line) == left


def test_includes_end_somewhere() -> None:
    """PostgreSQL refuses more than ten levels; a file that includes itself is read once."""
    chain = {f"{number}.conf": f"include '{number + 1}.conf'\nport = {number}".encode() for number in range(1, 13)}
    files = {"postgresql.conf": b"include '1.conf'\ninclude 'postgresql.conf'", "pg_hba.conf": b"", AUTO_CONF: b"",
             **chain}
    done = safe(files)
    assert done.values["port"] == "1"
    tenth = {**files, "10.conf": b"archive_mode = on", "11.conf": b"archive_mode = on"}
    assert "10.conf" in safe(tenth).files
    eleventh = {**files, "11.conf": b"archive_mode = on"}
    assert "11.conf" not in safe(eleventh).files


def test_directories_are_meant_with_or_without_a_slash_behind() -> None:
    conf = {"postgresql.conf": b"ident_file = '/srv/X/a'", "pg_hba.conf": b"", AUTO_CONF: b""}
    for old in ("/srv/X", "/srv/X/"):
        for new in ("/new/X", "/new/X/"):
            done = make_safe(conf.get, lambda _: None, {}, old_directory=old, new_directory=new, heading="h")
            assert done.values["ident_file"] == "/new/X/a"


def test_what_is_lacking_is_written_and_named() -> None:
    done = safe({AUTO_CONF: b"x = 'caf\xe9'"})
    head = "# pgvault: the backup holds no {}: it was outside of the data directory, or a link.\n"
    assert done.files["postgresql.conf"].decode() == (
        head.format("postgresql.conf") + "# With this one the server starts; put the real one in its place.\n")
    assert done.files["pg_hba.conf"].decode() == head.format("pg_hba.conf") + (
        "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n")
    assert done.files[AUTO_CONF].startswith(b"x = 'caf\xe9'\n# test\n")
    told = "not in the backup: a minimal one is written"
    assert done.to_look_at == (SettingChange("postgresql.conf", 0, "", "", told),
                               SettingChange("pg_hba.conf", 0, "", "", told))
    assert safe({}).files[AUTO_CONF].startswith(b"# test\n")
    empty = safe({"postgresql.conf": b"", "pg_hba.conf": b"", AUTO_CONF: b"a = 1\n"})
    assert empty.files.keys() == {AUTO_CONF}
    assert empty.files[AUTO_CONF].startswith(b"a = 1\n# test\n")


def test_what_is_set_anew_needs_no_look_and_a_raised_setting_tells_what_it_was() -> None:
    files = {"postgresql.conf": b"listen_addresses = '*'\nmax_connections = 7", "pg_hba.conf": b"", AUTO_CONF: b""}
    additions = {**ADDED, "listen_addresses": "x", "unix_socket_directories": "/run/caf\udce9"}
    done = safe(files, additions, needs=Needs(17, {"max_connections": 9}, 0))
    assert done.to_look_at == ()
    assert done.values["listen_addresses"] == "x"
    assert SettingChange(AUTO_CONF, 0, "max_connections", "7", "max_connections = 9 is added, as the original had it: "
                         "recovery needs as many") in done.changed
    assert b"max_connections = '9'\n" in done.files[AUTO_CONF]
    assert b"unix_socket_directories = '/run/caf\xe9'\n" in done.files[AUTO_CONF]


def test_a_value_that_no_file_can_hold() -> None:
    with pytest.raises(ValueError, match="a setting's value has no NUL"):
        quote("a\0b")
    assert quote("a'\\\n\r") == "'a''\\\\\\n\\r'"


# What recovery needs, and what is left of it afterwards


@pytest.mark.parametrize(("target", "end_command", "inside", "expected"), [
    ({}, "", False, [("archive_mode", "off"), ("restore_command", "r"), ("recovery_target_timeline", "3")]),
    ({"recovery_target_lsn": "0/1"}, "e", True, [
        ("archive_mode", "off"), ("restore_command", "r"), ("recovery_end_command", "e"),
        ("recovery_target_lsn", "0/1"), ("recovery_target_action", "pause"), ("recovery_target_timeline", "3"),
        ("allow_in_place_tablespaces", "on")]),
])  # fmt: skip
def test_what_recovery_needs_in_its_order(target: dict[str, str], end_command: str, inside: bool,
                                          expected: list[tuple[str, str]]) -> None:
    assert list(recovery_additions(target, timeline="3", action="pause", restore_command="r",
                                   recovery_end_command=end_command, has_spaces_inside=inside)) == expected
    assert list(recovery_additions({}, timeline="3", action="x", restore_command="r", recovery_end_command="")) == [
        ("archive_mode", "off"), ("restore_command", "r"), ("recovery_target_timeline", "3")]


RECOVERY = (f"hot_standby = 'on'\nrestore_command = 'cp {WAL_DIRECTORY}/%f'\n"
            f"recovery_end_command = 'rm {WAL_DIRECTORY}'\nrecovery_target_xid = '7'\n{IN_PLACE} = 'on'\n")  # fmt: skip
OWN = "restore_command = 'mine'\nport = '1'\n# recovery_target = x\ncaf\udce9\n"


@pytest.mark.parametrize(("before", "after"), [
    (f"# {HEADING} backup B\n{RECOVERY}{OWN}", f"# {HEADING} backup B\n{OWN}"),
    (f"{RECOVERY}# {HEADING} backup B\n{RECOVERY}{OWN}", f"{RECOVERY}# {HEADING} backup B\n{OWN}"),
    (f"# {HEADING} A\n{RECOVERY}# {HEADING} B\n{RECOVERY}x = 1", f"# {HEADING} A\n{RECOVERY}# {HEADING} B\nx = 1"),
    (f"{OWN}{RECOVERY}", OWN),  # ALTER SYSTEM has written it anew
    ("", ""),
])  # fmt: skip
def test_afterwards_only_what_the_last_restore_added_is_gone(before: str, after: str) -> None:
    done = without_recovery(before.encode("utf-8", "surrogateescape"))
    assert done.decode("utf-8", "surrogateescape") == after
