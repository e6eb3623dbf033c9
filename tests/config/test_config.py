"""The configuration: resolved when it is right; file, line, key and the nearest right key when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvault.config.address import SshAddress
from pgvault.config.load import ENVIRONMENT, load
from pgvault.config.load import find_problems as problems_of
from pgvault.config.schema import INHERITED, SECTIONS, ServerConfig, reference, settings_of
from pgvault.model.errors import ConfigError, NotFound
from pgvault.model.retention_policy import RecoveryWindow, Redundancy

TUTORIAL = """\
[vault]
home = "/var/lib/pgvault"
log_file = "/var/log/pgvault.log"
compression = "zstd"
reuse_backup = "link"
immediate_checkpoint = true
basebackup_retry_times = 3
basebackup_retry_sleep = 30
last_backup_maximum_age = "1 DAYS"

[servers.main-db-server]
description = "Main DB Server"
ssh = "postgres@main-db-server-ip"
conninfo = "host=main-db-server-ip user=postgres"
retention_policy_mode = "auto"
retention_policy = "RECOVERY WINDOW OF 7 days"
wal_retention_policy = "main"

[hosts.standby-db-server]
ssh = "postgres@standby-db-server-ip"
data_directory = "/var/lib/postgresql/15/main/"
"""
HEAD = '[vault]\nhome = "/v"\n'
SERVER = HEAD + '[servers.main]\nconninfo = "host=h"\n'


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "pgvault.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def complaints(write, tmp_path):
    """What is said about a text, with the directory left out."""
    def complaints(text: str | bytes) -> list[str]:
        return [str(problem).replace(f"{tmp_path}/", "") for problem in problems_of(write(text))]

    return complaints


def test_the_tutorials_configuration_is_read_and_resolved(write):
    config = load(write(TUTORIAL), {})
    assert config.vault.home == Path("/var/lib/pgvault")
    server = config.server("main-db-server")
    assert server.description == "Main DB Server"
    assert server.ssh == SshAddress("main-db-server-ip", "postgres")
    assert server.streaming_conninfo == server.conninfo == "host=main-db-server-ip user=postgres"
    assert (server.immediate_checkpoint, server.basebackup_retry_times) == (True, 3)
    assert (server.basebackup_retry_sleep, server.last_backup_maximum_age) == (timedelta(seconds=30), timedelta(days=1))
    assert server.retention_policy == RecoveryWindow(timedelta(days=7), "")
    assert (server.slot_name, server.minimum_redundancy, server.bandwidth_limit) == ("pgvault", 0, None)
    assert server.parallel_jobs == len(os.sched_getaffinity(0))
    assert config.host("standby-db-server").data_directory == "/var/lib/postgresql/15/main"


def test_a_server_inherits_from_the_vault_and_may_differ(write, tmp_path):
    path = write(HEAD + 'parallel_jobs = 2\nbandwidth_limit = "50MB/s"\nretention_policy = "REDUNDANCY 2"\n'
                 'identity_file = "keys/id"\n'
                 '[servers.a]\nconninfo = "host=a"\n'
                 '[servers.b]\nconninfo = "host=b"\nparallel_jobs = 8\nbandwidth_limit = "none"\n'
                 '[hosts.c]\nssh = "c"\n')
    config = load(path, {})
    a, b = config.server("a"), config.server("b")
    assert (a.parallel_jobs, a.bandwidth_limit, a.retention_policy) == (2, 50 * 2**20, Redundancy(2))
    assert (b.parallel_jobs, b.bandwidth_limit, b.retention_policy) == (8, None, Redundancy(2))
    assert config.host("c").identity_file == a.identity_file == tmp_path / "keys/id"


def test_a_host_inherits_how_to_log_in_and_nothing_that_is_a_servers_own(write):
    """A restore to a host without a directory would else go to the servers', over a cluster that may be there."""
    settings = {"identity_file": "/keys/id", "known_hosts": "/keys/known", "data_directory": "/srv/data",
                "start_command": "start it", "stop_command": "stop it", "bin_directory": "/opt/bin",
                "password_environment": "PGSECRET"}
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    config = load(write(HEAD + lines + '[servers.a]\nconninfo = "host=a"\n[hosts.c]\nssh = "c"\n'), {})
    server, host = config.server("a"), config.host("c")
    assert {name: str(getattr(server, name)) for name in settings} == settings
    assert (str(host.identity_file), str(host.known_hosts)) == ("/keys/id", "/keys/known")
    own = settings.keys() - {"identity_file", "known_hosts"}
    assert {name: getattr(host, name, None) for name in own} == dict.fromkeys(own)


@pytest.mark.parametrize("name", ["description", "conninfo", "slot_name", "ssh", "local"])
def test_what_is_each_servers_own_stands_in_no_vault(complaints, name: str):
    value = {"local": "true"}.get(name, '"x"')
    [complaint] = complaints(f"{HEAD}{name} = {value}\n")
    assert name in complaint


def test_each_value_knows_where_it_came_from(write):
    path = write(HEAD + 'parallel_jobs = 2\n[servers."a.b"]\nconninfo = "host=a"\nslot_name = "s"\n')
    config = load(path, {})
    assert config.origin("servers.a.b.parallel_jobs") == f"{path}:3"
    assert config.origin("servers.a.b.slot_name") == f"{path}:6"
    assert config.origin("servers.a.b.timezone") == "default"
    assert config.origin("vault.home") == f"{path}:2"
    assert config.origin("vault.log_file") == "default"
    for wrong in ("servers.a.b.slot", "servers.c.slot_name", "vault.slot_name", "slot_name", "vault.x.home"):
        with pytest.raises(KeyError):
            config.origin(wrong)


def test_a_directory_holds_a_file_per_server_in_the_order_of_names(write, tmp_path):
    main = write(HEAD + 'configuration_files_directory = "conf.d"\nlog_file = "log/x"\n'
                 '[servers.z]\nconninfo = "host=z"\n')
    write('[servers.b]\nconninfo = "host=b"\nidentity_file = "id"\n', "conf.d/2.toml")
    write('[servers.a]\nconninfo = "host=a"\n[hosts.h]\nlocal = true\n', "conf.d/1.toml")
    write("not read", "conf.d/.#1.toml")
    write("not read", "conf.d/1.toml.bak")
    config = load(main, {})
    assert list(config.servers) == ["z", "a", "b"]
    assert config.vault.log_file == tmp_path / "log/x"
    assert config.server("b").identity_file == tmp_path / "conf.d/id"
    assert config.host("h").local
    assert [file.name for file in config.files] == ["pgvault.toml", "1.toml", "2.toml"]


@pytest.mark.parametrize(("text", "said"), [
    (SERVER + 'retention_polcy = "REDUNDANCY 2"\n',
     'pgvault.toml:5: servers.main.retention_polcy: unknown key; did you mean "retention_policy"?'),
    (SERVER + "home = 1\n", "pgvault.toml:5: servers.main.home: unknown key; it belongs in [vault]"),
    (HEAD + 'slot_name = "x"\n', "pgvault.toml:3: vault.slot_name: unknown key; it belongs in [servers.NAME]"),
    (HEAD + 'barman_home = "x"\n', 'pgvault.toml:3: vault.barman_home: unknown key; write home = "..."'),
    (SERVER + 'ssh_command = "ssh x"\n',
     'pgvault.toml:5: servers.main.ssh_command: unknown key; write the address alone: ssh = "user@host"'),
    ('home = "/v"\n' + HEAD, "pgvault.toml:1: home: unknown key; it belongs in [vault]"),
    (HEAD + "[server.main]\n", 'pgvault.toml:3: server: unknown table; did you mean "servers"?'),
    (HEAD + '[main]\nconninfo = "host=h"\n', "pgvault.toml:3: main: unknown table; write [servers.main]"),
    (HEAD + "servers = 5\n", None),
    (SERVER + "[servers.main.extra]\nx = 1\n", None),
    (SERVER + "[[hosts]]\n", "pgvault.toml:5: hosts: expected a table; write a header line: [hosts]"),
    (HEAD + "[servers]\nmain = 5\n",
     "pgvault.toml:4: servers.main: expected a table; write a header line: [servers.main]"),
    (SERVER + "immediate_checkpoint = 1\n",
     "pgvault.toml:5: servers.main.immediate_checkpoint: expected true or false, not a whole number"),
    (SERVER + "parallel_jobs = true\n",
     "pgvault.toml:5: servers.main.parallel_jobs: expected a whole number from 1 to 256, not true or false"),
    (SERVER + "parallel_jobs = 0\n",
     "pgvault.toml:5: servers.main.parallel_jobs: 0 is out of range: use 1 to 256"),
    (SERVER + "timezone = 2026-01-01\n",
     'pgvault.toml:5: servers.main.timezone: expected text such as "Europe/Paris", not a date or time'),
    (SERVER + 'timezone = "europe/pari"\n',
     "pgvault.toml:5: servers.main.timezone: 'europe/pari' is not an unambiguous time zone; "
     'did you mean "Europe/Paris"?'),
    (SERVER + 'timezone = "../../etc/passwd"\n', None),
    (SERVER + 'timezone = "CET"\n', None),
    (HEAD + 'compression = "gzip"\n',
     "pgvault.toml:3: vault.compression: 'gzip' is not supported: the vault stores zstd, which is smaller and faster; "
     'write compression = "zstd", or leave the line out'),
    (HEAD + 'reuse_backup = "copy"\n',
     "pgvault.toml:3: vault.reuse_backup: 'copy' is not supported: "
     "data of earlier backups is shared, not copied again; "
     'write reuse_backup = "link", or leave the line out'),
    (SERVER + 'slot_name = "Main-1"\n',
     "pgvault.toml:5: servers.main.slot_name: 'Main-1' cannot be a replication slot's name; "
     "use 1 to 63 lower-case letters, digits and underscores"),
    (SERVER + 'data_directory = "main"\n', None),
    (SERVER + 'data_directory = "/a/../b"\n', None),
    (SERVER + 'data_directory = "/a\\nb"\n', None),
    (SERVER + 'start_command = ""\n', None),
    (SERVER + "basebackup_retry_sleep = -1\n", None),
    (SERVER + "basebackup_retry_sleep = 999999999999999999\n", None),
    (SERVER + "basebackup_retry_sleep = false\n", None),
    (SERVER + 'basebackup_retry_sleep = "none"\n', None),
    (SERVER + 'bandwidth_limit = "50Mb"\n', None),
    (SERVER + 'identity_file = "~nobody-of-that-name/id"\n', None),
    (SERVER + 'description = "a\\u001b[2Jb"\n', None),
    (HEAD + '[servers.all]\nconninfo = "host=h"\n',
     "pgvault.toml:3: servers.all: 'all' cannot be a server's name: the word is reserved"),
    (HEAD + '[servers."../x"]\nconninfo = "host=h"\n', None),
    (HEAD + '[hosts."a b"]\nlocal = true\n', None),
    (HEAD + "[servers.main]\n",
     "pgvault.toml:3: servers.main.conninfo: required, but missing; meaning: how to connect"),
    ('[servers.main]\nconninfo = "host=h"\n',
     "pgvault.toml: vault.home: required, but missing; meaning: the directory"),
    (HEAD + "[hosts.h]\n", "pgvault.toml:3: hosts.h: ssh is missing (or local = true, if it is this machine)"),
    (HEAD + '[hosts.h]\nlocal = true\nssh = "x"\n',
     "pgvault.toml:3: hosts.h: local = true and ssh are mutually exclusive"),
    (HEAD + 'configuration_files_directory = "none.d"\n',
     "pgvault.toml:3: vault.configuration_files_directory: could not read"),
    (SERVER + "slot_name = pgvault\n",
     'pgvault.toml:5: not TOML at column 13: invalid value; put text in double quotes: key = "value"'),
    (SERVER + "conninfo = 'x'\n", "pgvault.toml:5: not TOML at column 15: cannot overwrite a value"),
    (SERVER + 'x = """', "pgvault.toml:5: not TOML at "),
    (HEAD + "[servers.main", "pgvault.toml:3: not TOML at "),
    (HEAD.encode() + b"# caf\xe9\n", "pgvault.toml:3: not UTF-8 text; save the file as UTF-8"),
    (HEAD + "x = " + "[" * 5000, "pgvault.toml: lists or tables are nested too deeply"),
])
def test_what_is_wrong_is_refused_with_its_place(complaints, text, said):
    found = complaints(text)
    assert len(found) == 1, found
    if said is not None:
        assert found[0].lower().startswith(said.lower())


def test_a_right_file_has_no_problems_and_an_empty_one_has_one(complaints):
    assert complaints(TUTORIAL) == []
    assert complaints("") == ["pgvault.toml: vault.home: required, but missing; "
                              "meaning: The directory that holds everything of all servers"]


def test_all_problems_are_found_in_the_order_of_files_and_lines(write, tmp_path):
    main = write(HEAD + 'configuration_files_directory = "d"\nfoo = 1\n[hosts.h]\nssh = "-x"\n'
                 '[servers.a]\nconninfo = "password=hunter2"\n')
    write("broken", "d/1.toml")
    write('[vault]\nhome = "/w"\n[servers.a]\nconninfo = "host=h"\nbar = 1\n[servers.b]\n', "d/2.toml")
    found = problems_of(main)
    assert [(problem.path.name, problem.line, problem.key) for problem in found] == [
        ("pgvault.toml", 4, "vault.foo"), ("pgvault.toml", 6, "hosts.h.ssh"), ("pgvault.toml", 8, "servers.a.conninfo"),
        ("1.toml", 1, ""), ("2.toml", 1, "vault"), ("2.toml", 3, "servers.a"), ("2.toml", 6, "servers.b.conninfo")]
    assert found[5].message == f"already configured at {main}:7"
    assert "hunter2" not in "".join(map(str, found))
    with pytest.raises(ConfigError) as caught:
        load(main, {})
    assert caught.value.message == f"{main}:4: vault.foo: unknown key"
    assert caught.value.detail == "There are 6 further problems; pgvault config check lists them all."


def test_a_secret_is_never_repeated_wherever_it_was_written(complaints):
    """Rule 31."""
    for line in ('conninfo = "host=h password=hunter2"', 'conninfo = ["hunter2"]', 'password = "hunter2"',
                 'password_environment = "hunter2!"', 'ssh = "me:hunter2@host"', 'streaming_conninfo = "hunter2"'):
        head = HEAD + "[servers.main]\n" + ("" if line.startswith("conninfo") else 'conninfo = "host=h"\n')
        found = complaints(head + line + "\n")
        assert len(found) == 1
        assert "hunter2" not in found[0]


def test_the_places_are_searched_in_order(write, tmp_path):
    """--config, then $PGVAULT_CONFIG, then the user's file; one that was named is not replaced by another."""
    named, variable = write(SERVER, "named.toml"), write(SERVER, "variable.toml")
    own = write(SERVER, "home/.config/pgvault/pgvault.toml")
    environ = {"HOME": str(tmp_path / "home")}
    assert load(named, environ | {ENVIRONMENT: str(variable)}).path == named
    assert load(None, environ | {ENVIRONMENT: str(variable)}).path == variable
    assert load(None, environ).path == own
    for path, env in ((tmp_path / "gone", environ), (None, environ | {ENVIRONMENT: str(tmp_path / "gone")})):
        with pytest.raises(ConfigError, match="not found"):
            load(path, env)


def test_without_any_file_the_places_and_the_next_step_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pgvault.config.load.SYSTEM_FILE", tmp_path / "etc/pgvault.toml")
    with pytest.raises(ConfigError, match="no configuration found") as caught:
        load(None, {"HOME": str(tmp_path)})
    for place in ("--config", ENVIRONMENT, f"{tmp_path}/.config/pgvault/pgvault.toml", f"{tmp_path}/etc/pgvault.toml"):
        assert place in caught.value.detail
    assert "[vault]" in caught.value.hint


def test_a_link_to_nowhere_and_a_directory_are_reported_not_skipped(tmp_path):
    place = tmp_path / ".config/pgvault/pgvault.toml"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="could not read the file: No such file"):
        load(None, {"HOME": str(tmp_path)})
    assert "could not read the file: Is a directory" in str(problems_of(tmp_path)[0])


def test_an_unreadable_file_is_an_error(write):
    path = write(SERVER)
    path.chmod(0)
    code = ("import os, sys; from pathlib import Path; from pgvault.config.load import find_problems;"
            "os.geteuid() or os.setuid(65534); print(*find_problems(Path(sys.argv[1])))")
    said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    assert "could not read the file: Permission denied" in said


def test_an_unknown_name_suggests_the_nearest(write):
    config = load(write(TUTORIAL), {})
    with pytest.raises(NotFound, match='server "main-db-srver" not found') as caught:
        config.server("main-db-srver")
    assert caught.value.hint == 'Did you mean "main-db-server"?'
    with pytest.raises(NotFound) as caught:
        config.host("x")
    assert caught.value.hint == "Known: standby-db-server."


def test_what_is_shown_can_be_written_back(write):
    """`config show` prints values as the file takes them, for every setting that has one."""
    config = load(write(SERVER + 'ssh = "a@[::1]:22"\nbandwidth_limit = "3MB/s"\nlast_backup_maximum_age = "36 h"\n'
                        'retention_policy = "recovery window of 1 month"\nidentity_file = "/k"\n'
                        'timezone = "Asia/Tokyo"\n'), {})
    for section, instance in ((SECTIONS["servers"], config.server("main")), (SECTIONS["vault"], config.vault)):
        for key, setting in settings_of(section).items():
            value = getattr(instance, key)
            if value is not None or setting.kind.may_be_none:
                assert setting.kind.read(setting.kind.write(value)) == value, key


@given(st.dictionaries(st.sampled_from(sorted({*INHERITED, "home", "conninfo"})),
                       st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False),
                                 st.text("aZ09 _-/:%@=\\\"\n\0é~.", max_size=9), st.lists(st.integers(), max_size=1),
                                 st.none())))
def test_any_value_of_any_kind_is_read_or_refused_never_a_crash(values):
    for key, value in values.items():
        setting = {**settings_of(SECTIONS["vault"]), **settings_of(ServerConfig), **INHERITED}[key]
        try:
            read = setting.kind.read(value)
        except ValueError as error:
            assert str(error)  # noqa: PT017
        else:
            assert type(value) in setting.kind.types or value == "none"
            assert setting.kind.read(setting.kind.write(read)) == read


def test_the_help_names_every_setting():
    text = reference(80)
    for section in SECTIONS.values():
        for setting in settings_of(section).values():
            assert f"  {setting.key}" in text
            assert setting.meaning[0].isupper()
            assert setting.meaning.endswith(".")
    assert max(map(len, text.splitlines())) <= 80


def test_loading_imports_nothing_heavy(write):
    """put-wal and get-wal read the configuration while PostgreSQL waits."""
    code = ("import sys; from pathlib import Path; from pgvault.config.load import load; load(Path(sys.argv[1]));"
            "print(*sys.modules)")
    modules = subprocess.run([sys.executable, "-c", code, write(TUTORIAL)], capture_output=True, text=True,
                             check=True).stdout.split()
    heavy = {"asyncio", "asyncssh", "decimal", "difflib", "msgspec", "psycopg", "textual", "textwrap", "tomli_w",
             "zoneinfo"}
    assert not heavy & set(modules)
