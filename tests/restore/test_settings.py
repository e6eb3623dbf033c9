"""Rules 25 and 26: after `make_safe` nothing that a restored server must not do is in effect; the rest is as it was.

What is in effect is told by a reader of its own, written from guc-file.l for these tests.
"""

from __future__ import annotations

import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.engine.restore.limits import replication_origins
from pgvault.engine.restore.settings import AUTO_CONF, Needs, SafeSettings, make_safe, quote, unquote

OLD, NEW = "/srv/old/data", "/srv/new place/data"
DANGEROUS = (
    "archive_command", "archive_library", "archive_mode", "archive_cleanup_command", "recovery_end_command",
    "restore_command", "primary_conninfo", "primary_slot_name", "recovery_min_apply_delay", "recovery_target",
    "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn", "recovery_target_name",
    "recovery_target_time", "recovery_target_timeline", "recovery_target_xid", "data_directory", "external_pid_file",
    "synchronous_standby_names", "synchronized_standby_slots", "sync_replication_slots", "bonjour",
    "pg_partman_bgw.dbname", "squeeze.worker_autostart",
)  # fmt: skip
ADDED = {"archive_mode": "off", "restore_command": "cp 'x' \\%p", "recovery_target_timeline": "3"}
TOKEN = re.compile(
    rb"(?P<space>[ \t\r]+)|(?P<comment>#.*)|(?P<string>'(?:[^'\\\n]|\\.|'')*')|(?P<equals>=)"
    rb"|(?P<word>[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff$]*(?:[-._:/A-Za-z_0-9\x80-\xff$])*)|(?P<number>[-+]?[0-9.]+\w*)"
    rb"|(?P<bad>.)")  # fmt: skip


def safe(files: dict[str, bytes], additions: dict[str, str] = ADDED, **options) -> SafeSettings:
    def listed(directory: str) -> list[str] | None:
        inside = [f for f in files if posixpath.dirname(f) == directory]
        return sorted(f for f in inside if f.endswith(".conf") and "/." not in f) if inside else None

    return make_safe(files.get, listed, additions, old_directory=OLD, new_directory=NEW, heading="test", **options)


def effective(files: dict[str, bytes], path: str = "postgresql.conf", depth: int = 0) -> list[tuple[str, str]]:
    """Every setting that PostgreSQL would take from these files; an include that leads out of them is one, too."""
    found = []
    for line in files.get(path, b"").split(b"\n"):
        tokens = [(m.lastgroup, m[0]) for m in TOKEN.finditer(line) if m.lastgroup not in ("space", "comment")]
        if len(tokens) < 2 or tokens[0][0] != "word":
            continue
        value = tokens[2 if tokens[1][0] == "equals" and len(tokens) > 2 else 1][1]
        name, text = tokens[0][1].decode().lower(), value.decode("utf-8", "surrogateescape")
        text = text[1:-1].replace("''", "'").replace("\\'", "'") if text.startswith("'") else text
        if name not in ("include", "include_if_exists", "include_dir"):
            found.append((name, text))
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
        inside = not text.startswith("/") and not target.startswith("..")
        if not inside:
            found.append((name, text))
        for member in sorted(f for f in files if inside and depth < 5 and (
                f == target if name != "include_dir" else posixpath.dirname(f) == target and f.endswith(".conf"))):
            found += effective(files, member, depth + 1)
    return found


def in_effect(files: dict[str, bytes]) -> dict[str, str]:
    return dict([*effective(files), *effective(files, AUTO_CONF)])


def check_safe(files: dict[str, bytes]) -> dict[str, bytes]:
    """What must hold of any configuration; the files as they are afterwards."""
    done = safe(files)
    after = {**files, **done.files}
    settings = [*effective(after), *effective(after, AUTO_CONF)]
    left = [(n, v) for n, v in settings if n in DANGEROUS and (n, v) not in ((k, v.replace("\\", "\\\\"))
                                                                             for k, v in ADDED.items())]
    assert left == []
    assert not [each for each in settings if each[0].startswith("include")]
    assert not [each for each in settings if each[0] in ("hba_file", "log_directory") and each[1].startswith(OLD)]
    for path, content in done.files.items():
        if path == AUTO_CONF or path not in files:
            continue
        before, now = files[path].split(b"\n"), content.split(b"\n")
        assert len(before) == len(now)
        told = {change.line for change in done.changed if change.file == path}
        assert all(old == new for number, (old, new) in enumerate(zip(before, now, strict=True), 1)
                   if number not in told)  # fmt: skip
    return after


NAMES = st.sampled_from([*DANGEROUS, "work_mem", "hba_file", "log_directory", "include", "include_dir",
                         "include_if_exists", "shared_buffers", "my.option", "port"])  # fmt: skip
CASES = st.sampled_from([str.lower, str.upper, str.title])
VALUES = st.sampled_from([
    "on", "off", "42", "-1", "'cp %p /archive/%f'", "'it''s'", "'it\\'s'", "'a # b'", "'\\\\'", "''", "16MB", "latest",
    "'conf.d'", "'conf.d/a.conf'", "'../outside.conf'", "'/etc/outside.conf'", f"'{OLD}/conf.d/a.conf'",
    f"'{OLD}/conf.d'", f"'{OLD}/pg_hba.conf'", "'2026-01-01 00:00:00+00'", "conf.d/a.conf",
])  # fmt: skip
SETTINGS = st.builds(
    lambda lead, name, case, gap, value, tail: f"{lead}{case(name)}{gap}{value}{tail}",
    st.sampled_from(["", " ", "\t", "  \t"]), NAMES, CASES, st.sampled_from([" = ", "=", " ", "\t", "= ", " =\t"]),
    VALUES,
    st.sampled_from(["", " # comment", "# it's", " ", "\r", "\t\r"]))
LINES = st.one_of(SETTINGS, st.sampled_from(["", "# archive_command = 'no'", "   ", "#", "nonsense", "= 1", "\r"]))
TEXTS = st.builds(lambda lines, end: ("\n".join(lines) + end).encode(), st.lists(LINES, max_size=8),
                  st.sampled_from(["", "\n"]))  # fmt: skip


@given(st.fixed_dictionaries({"postgresql.conf": TEXTS, AUTO_CONF: TEXTS, "conf.d/a.conf": TEXTS,
                              "conf.d/b.conf": TEXTS, "pg_hba.conf": st.just(b"")}))  # fmt: skip
def test_nothing_dangerous_is_in_effect_afterwards_and_a_second_time_changes_nothing(files: dict[str, bytes]) -> None:
    after = check_safe(files)
    again = check_safe(after)
    assert {**in_effect(again), "hot_standby": ""} == {**in_effect(after), "hot_standby": ""}
    for path in files:
        if path != AUTO_CONF:
            assert again[path] == after[path]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_quoted_value_is_read_as_it_was(value: str) -> None:
    """Rule 26; on one line whatever it holds."""
    assert "\n" not in quote(value)
    assert unquote(quote(value)) == value


@pytest.mark.parametrize(("written", "read"), [
    ("on", "on"), ("'a''b'", "a'b"), (r"'a\'b'", "a'b"), (r"'a\\b'", r"a\b"), (r"'\101\n\t\q'", "A\n\tq"), ("''", ""),
])  # fmt: skip
def test_values_are_read_as_postgresql_does(written: str, read: str) -> None:
    assert unquote(written) == read


def test_every_change_is_told_with_file_and_line() -> None:
    """Case 31."""
    files = {
        "postgresql.conf": b"shared_buffers = 1MB\nARCHIVE_COMMAND 'cp %p /a/%f'  # old\r\ninclude_dir 'conf.d'\n"
                           b"synchronous_standby_names = '*'\nhba_file '/srv/old/data/pg_hba.conf'",
        "conf.d/x.conf": b"primary_conninfo='host=old'\nrecovery_target_xid=7",
        "conf.d/.hidden.conf": b"archive_mode=on", "pg_hba.conf": b"",
        AUTO_CONF: b"# Do not edit\nprimary_slot_name = 'slot'",
    }  # fmt: skip
    done = safe(files)
    told = {(c.file, c.line, c.name, c.was) for c in done.changed if c.line}
    assert told == {
        ("postgresql.conf", 2, "archive_command", "cp %p /a/%f"), ("conf.d/x.conf", 1, "primary_conninfo", "host=old"),
        ("conf.d/x.conf", 2, "recovery_target_xid", "7"), ("postgresql.conf", 4, "synchronous_standby_names", "*"),
        ("postgresql.conf", 5, "hba_file", "/srv/old/data/pg_hba.conf"), (AUTO_CONF, 2, "primary_slot_name", "slot"),
    }  # fmt: skip
    assert done.files["postgresql.conf"].endswith(b"hba_file '/srv/new place/data/pg_hba.conf'")
    assert b"#pgvault# ARCHIVE_COMMAND 'cp %p /a/%f'  # old\r\n" in done.files["postgresql.conf"]


LIMITS = {"max_connections": 60, "max_worker_processes": 8, "max_wal_senders": 10, "max_prepared_transactions": 20,
          "max_locks_per_transaction": 64}  # fmt: skip


def added(files: dict[str, bytes], **needs) -> dict[str, str]:
    """What is written at the end for the cluster's sake, all of it named."""
    done = safe(files, needs=Needs(**{"major": 17, "limits": LIMITS, "origins": 0, **needs}))
    told = {change.name for change in done.changed if change.file == AUTO_CONF and not change.line}
    found = {name: done.values[name] for name in told}
    assert in_effect({**files, **done.files}).items() >= found.items()
    assert all(f"{name} = {found[name]} is added" in change.action for change in done.changed
               if not change.line for name in [change.name])  # fmt: skip
    return {name: value for name, value in found.items() if name != "max_logical_replication_workers"}


@pytest.mark.parametrize(("conf", "expected"), [
    (b"", {"max_prepared_transactions": "20"}),
    (b"max_connections = 0x3d\nmax_prepared_transactions = '20'", {}),
    (b"max_connections = 200\nMax_Connections 20\nmax_prepared_transactions=21", {"max_connections": "60"}),
    (b"max_connections = nonsense\nmax_prepared_transactions = 20.4", {"max_connections": "60"}),
    (b"max_connections=60\nmax_prepared_transactions=20\nmax_wal_senders=0\nwal_level='minimal'",
     {"max_wal_senders": "10", "wal_level": "replica"}),
], ids=["defaults", "enough", "the last counts", "no number", "minimal"])  # fmt: skip
def test_what_a_hot_standby_compares_is_as_large_as_the_original_had_it(conf: bytes, expected: dict[str, str]) -> None:
    """It may have been in a file that is not in the backup, or on the command line; a larger one is left alone."""
    assert added({"postgresql.conf": conf, AUTO_CONF: b"", "pg_hba.conf": b""}) == expected
    assert added({AUTO_CONF: conf, "pg_hba.conf": b""}) == expected


def test_the_limits_of_a_newer_major_have_its_own_defaults() -> None:
    files = {"postgresql.conf": b"max_connections=60\nmax_prepared_transactions=20", AUTO_CONF: b"", "pg_hba.conf": b""}
    assert added(files, major=19, limits={**LIMITS, "max_locks_per_transaction": 128}) == {}
    assert added(files, major=18, limits={**LIMITS, "max_locks_per_transaction": 128}) == {
        "max_locks_per_transaction": "128"}  # fmt: skip


@pytest.mark.parametrize(("major", "name"), [(17, "max_replication_slots"), (18, "max_active_replication_origins")])
def test_there_is_room_for_every_origin_of_replication(major: int, name: str) -> None:
    """A subscriber keeps one for each subscription; a server with fewer slots than that does not start."""
    files = {"postgresql.conf": b"max_connections=60\nmax_prepared_transactions=20", AUTO_CONF: b"", "pg_hba.conf": b""}
    assert added(files, major=major, origins=10) == {}
    assert added(files, major=major, origins=11) == {name: "11"}
    assert replication_origins(bytes(8 + 11 * 16)) == 11
    assert replication_origins(b"") == 0


@pytest.mark.parametrize(("line", "left"), [
    (b"shared_preload_libraries = 'pg_cron'", b"shared_preload_libraries = ''"),
    (b"shared_preload_libraries = 'pg_stat_statements, pg_cron,pg_net'",
     b"shared_preload_libraries = 'pg_stat_statements'"),
    (b"""shared_preload_libraries = '"$libdir/pg_cron.so", "a, b" ,auto_explain'""",
     b"""shared_preload_libraries = '"a, b", auto_explain'"""),
    (b"shared_preload_libraries = 'pg_stat_statements'", b"shared_preload_libraries = 'pg_stat_statements'"),
    (b"log_directory = '/var/log/postgresql'", b"#pgvault# log_directory = '/var/log/postgresql'"),
    (b"log_directory = '../log'", b"#pgvault# log_directory = '../log'"),
    (b"log_directory = 'log'", b"log_directory = 'log'"),
    (b"log_filename = '../x.log'", b"#pgvault# log_filename = '../x.log'"),
    (b"log_destination = 'csvlog, SysLog'", b"#pgvault# log_destination = 'csvlog, SysLog'"),
    (b"log_destination = 'csvlog'", b"log_destination = 'csvlog'"),
    (b"stats_temp_directory = '/run/pg'", b"#pgvault# stats_temp_directory = '/run/pg'"),
    (b"sync_replication_slots = on", b"#pgvault# sync_replication_slots = on"),
    (b"bonjour = on", b"#pgvault# bonjour = on"),
])  # fmt: skip
def test_nothing_acts_outside_of_the_copy(line: bytes, left: bytes) -> None:
    """Not into the original's logs, not by a library's jobs; and what is changed is named."""
    done = safe({"postgresql.conf": line, AUTO_CONF: b"", "pg_hba.conf": b""})
    assert done.files.get("postgresql.conf", line) == left
    assert [c.name for c in done.changed if c.line] == ([line.split(b" ")[0].decode()] if left != line else [])


def test_a_library_that_the_data_needs_stays_and_its_workers_do_not() -> None:
    conf = b"shared_preload_libraries = 'timescaledb,citus'"
    values = safe({"postgresql.conf": conf, AUTO_CONF: b"", "pg_hba.conf": b""}).values
    assert values["shared_preload_libraries"] == "timescaledb,citus"
    assert (values["timescaledb.max_background_workers"], values["citus.recover_2pc_interval"]) == ("0", "-1")
    bare = safe({"postgresql.conf": b"", AUTO_CONF: b"", "pg_hba.conf": b""}).values
    assert not [name for name in bare if "." in name]


def test_no_secret_of_a_setting_is_in_what_is_said_of_it() -> None:
    """The file keeps it, in a comment; plan, report and journal show what is said."""
    files = {
        "postgresql.conf": b"restore_command = 'curl -u me:S3cret https://store/%f -o %p'\n"
                           b"primary_conninfo = 'user=me password=''S3cret S3cret'' host=db'\n"
                           b"ssl_passphrase_command = 'echo S3cret'\n"
                           b"archive_command = 'PGPASSWORD=S3cret push %p'", "pg_hba.conf": b"",
        AUTO_CONF: b"primary_conninfo = 'postgresql://me:S3cret@db/?sslpassword=S3cret'",
    }  # fmt: skip
    done = safe(files)
    assert len([change for change in done.changed if change.line]) == 4
    assert not [change for change in (*done.changed, *done.to_look_at) if "S3cret" in str(change)]
    assert {"curl -u me:*** https://store/%f -o %p", "user=me password=*** host=db"} <= {c.was for c in done.changed}


def test_an_include_of_what_is_not_in_the_backup_is_no_more() -> None:
    """Nobody knows what it sets."""
    text = b"include '/etc/postgresql/shared.conf'\ninclude_if_exists 'gone.conf'\ninclude 'lost.conf'"
    files = {"postgresql.conf": text, AUTO_CONF: b"", "pg_hba.conf": b""}  # fmt: skip
    done = safe(files)
    assert [(c.line, c.was) for c in done.changed if c.line] == [(1, "/etc/postgresql/shared.conf"), (3, "lost.conf")]


def test_a_backup_without_its_configuration_gets_one_to_start_with() -> None:
    """Debian keeps the files in /etc, so the backup has none."""
    done = safe({AUTO_CONF: b"work_mem = '1MB'"})
    assert b"local all all peer" in done.files["pg_hba.conf"]
    assert done.files["postgresql.conf"].startswith(b"# pgvault")
    assert done.files[AUTO_CONF].startswith(b"work_mem = '1MB'\n# test\n")
    assert {c.file for c in done.to_look_at} == {"postgresql.conf", "pg_hba.conf"}
    assert "pg_hba.conf" not in safe({"postgresql.conf": b"hba_file = '/etc/hba'", AUTO_CONF: b""}).files
