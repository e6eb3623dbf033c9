"""`config check` and `config show`: every problem with its place, every setting with its origin."""

from __future__ import annotations

import tomllib
from pathlib import Path

from support.cli import pgvault

from pgvault.config.load import load

GOOD = """\
[vault]
home = "/srv/vault"
retention_policy = "REDUNDANCY 2"
configuration_files_directory = "more"

[servers.main]
conninfo = "host=db dbname='a b'"
parallel_jobs = 3

[hosts.here]
local = true
"""
BAD = """\
[vault]
home = "/srv/vault"
retenton_policy = "REDUNDANCY 2"
[servers.main]
conninfo = "host=db password=hunter2"
parallel_jobs = 0
"""


def test_every_problem_is_told_with_file_and_line(tmp_path: Path) -> None:
    config = tmp_path / "pgvault.toml"
    config.write_text(BAD)
    done = pgvault("config", "check", config=config, check=2)
    assert [line.split(": ")[0] for line in done.text.splitlines() if not line.startswith(" ")] == [
        f"{config}:3", f"{config}:5", f"{config}:6"]
    assert 'Did you mean "retention_policy"?' in done.text
    assert "hunter2" not in done.text + done.stderr, "rule 31: secrets are not repeated"
    told = pgvault("--format", "json", "config", "check", config=config, check=2).json()
    assert told["ok"] is False
    assert [(each["line"], each["key"]) for each in told["problems"]] == [
        (3, "vault.retenton_policy"), (5, "servers.main.conninfo"), (6, "servers.main.parallel_jobs")]


def test_a_right_configuration_is_ok(tmp_path: Path) -> None:
    config = tmp_path / "pgvault.toml"
    (tmp_path / "more").mkdir()
    config.write_text(GOOD)
    assert pgvault("config", "check", config=config, check=0).text == f"{config}: ok\n"
    assert pgvault("--format", "json", "config", "check", config=config, check=0).json()["problems"] == []
    assert pgvault("config", "check", config=tmp_path / "nowhere.toml").returncode == 2


def test_what_is_shown_can_be_pasted_and_means_the_same(tmp_path: Path) -> None:
    config = tmp_path / "pgvault.toml"
    (tmp_path / "more").mkdir()
    (tmp_path / "more/second.toml").write_text('[servers."with.dot"]\nconninfo = "host=x"\ncompression_level = 9\n')
    config.write_text(GOOD)
    shown = pgvault("config", "show", config=config, check=0).text
    assert f'retention_policy = "REDUNDANCY 2"      # {config}:3' in shown
    assert f"compression_level = 9                  # {tmp_path}/more/second.toml:3" in shown
    assert "basebackup_retry_times = 3             # default" in shown
    text = "\n".join(line for line in shown.splitlines() if not line.startswith("configuration_files_directory"))
    pasted = tmp_path / "pasted.toml"
    pasted.write_text(text)
    before, after = load(config, {}), load(pasted, {})
    assert (after.servers, after.hosts, after.vault.home) == (before.servers, before.hosts, before.vault.home)
    assert tomllib.loads(text).keys() == {"vault", "servers", "hosts"}


def test_one_server_is_shown_alone(tmp_path: Path) -> None:
    config = tmp_path / "pgvault.toml"
    config.write_text(GOOD.replace("configuration_files_directory", "# "))
    shown = pgvault("config", "show", "main", config=config, check=0).text
    assert [line for line in shown.splitlines() if line.startswith("[")] == ["[servers.main]"]
    told = pgvault("--format", "json", "config", "show", "main", config=config, check=0).json()
    assert told["servers"]["main"]["parallel_jobs"] == {"value": 3, "origin": f"{config}:8"}
    assert told["servers"]["main"]["timezone"] == {"value": None, "origin": "default"}
    assert "vault" not in told
    assert pgvault("config", "show", "nobody", config=config).returncode == 4
