"""The documents name what is there: files, directories, functions, pages, and the parts of a vault."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from shelf import Shelf, at, made_backup
from support.installation import REPOSITORY

from pgvault.model.backup import Backup, Keep
from pgvault.store.keys import Key, Kind
from pgvault.vault import catalog
from pgvault.vault.identity import Identity, claim
from pgvault.vault.packs import END_MAGIC, FRAME_SIZE, MAGIC
from pgvault.vault.recoveries import Recovery

PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob(".github/**/*.md")])
FORMAT = REPOSITORY / "docs" / "vault-format.md"
IN_TREE = re.compile(r"`((?:pgvault|tests|docs|benchmarks|screenshots|tools)/[\w./-]*)`")
FUNCTION = re.compile(r"`(\w+)` (?:in|of) `(pgvault/[\w/]+\.py|tests/[\w/]+\.py)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def page_ids(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_each_path_and_function_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    for path in IN_TREE.findall(text):
        assert (REPOSITORY / path).exists(), f"{path} is not there"
    for name, path in FUNCTION.findall(text):
        assert re.search(rf"^(?:async )?(?:def|class) {name}\b|^{name}\b", (REPOSITORY / path).read_text(),
                         re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_each_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        path, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not heading or heading in set(headings(target)), f"{link}: there is no such heading"


def headings(page: Path) -> Iterator[str]:
    """As links spell them."""
    for title in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def described(heading: str) -> list[str]:
    """The first column of the tables in a section of the vault's format."""
    section = re.search(rf"^## `{re.escape(heading)}`\n(.*?)(?=^## |\Z)", FORMAT.read_text(), re.MULTILINE | re.DOTALL)
    assert section, heading
    return re.findall(r"^\| `([^`]+)` \|", section[1], re.MULTILINE)


def test_the_files_of_a_vault_are_those_that_are_described(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "vault", tmp_path / "pgvault.toml")
    backup = shelf.with_files(replace(made_backup(at(1)), ended_at=at(1)), {"base/1/2": b"x" * 100}, ["base"])
    claim(shelf.server(), Identity("7300000000000000001", 16 << 20))
    home, directory = shelf.home / "main", shelf.home / "main" / "backups" / backup.id
    server = shelf.server()
    catalog.keep(server, backup.id, Keep.FULL)
    written = set(fields_of(directory / "backup.toml"))
    catalog.keep(server, backup.id, None)
    catalog.delete(server, backup.id, at(2))
    written |= set(fields_of(directory / "backup.toml"))
    assert described("backups/<backup id>/backup.toml") == [
        field.name for field in fields(Backup) if field.name in written]
    assert written == {field.name for field in fields(Backup)} - {"server"}
    assert described("identity.toml") == fields_of(home / "identity.toml")
    assert described("vault.toml") == fields_of(shelf.home / "vault.toml")
    assert described("recoveries/<8 hex>.toml") == [field.name for field in fields(Recovery)]
    columns = []
    with closing(sqlite3.connect(directory / "manifest.sqlite")) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            columns += names if table in ("file", "run") else [f"{table}.{name}" for name in names]
    assert sorted(described("backups/<backup id>/manifest.sqlite")) == sorted(columns)


def fields_of(path: Path) -> list[str]:
    return list(tomllib.loads(path.read_text()))


def test_the_layout_and_the_packs_are_those_of_the_code() -> None:
    text, name = FORMAT.read_text(), "000000010000000000000001"
    objects = {re.sub(r"<[^>]+>", "<>", path) for path in re.findall(r"^ +(\S.*?\S)  .* object$", text, re.MULTILINE)}
    keys = (Key(kind, "main" * (not kind.is_of_vault), name * kind.is_named) for kind in Kind)
    paths = (key.path.removeprefix("main/") for key in keys)
    assert objects == {path.replace(name, "<>").replace(name[:16], "<>") for path in paths}
    assert f"`{MAGIC.decode()}`" in text
    assert f"`{END_MAGIC.decode()}`" in text
    assert FRAME_SIZE == 1 << 20


def test_the_changelog_has_a_place_for_what_comes_and_its_entries_are_short() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    for section in sections[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", section), section
    for entry in re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE):
        assert len(entry.splitlines()) <= 2, f"more than two lines: {entry}"
        assert max(map(len, entry.splitlines())) <= 125, f"a line is too long: {entry}"


SAID = {
    "first-server.md": (
        "unknown key", "and WAL is not streamed either",
        "Nothing brings WAL to the vault: a backup can be restored, but no instant after it.",
        "or, without a restart: ", "No available backups", "blocked by: ",
        "The server requires a password, but none is configured.", "The password is wrong.", "Nothing listens there.",
        "The server's pg_hba.conf has no line for this user from this machine.", "has no REPLICATION",
        "the server retains WAL from now on", "receiving WAL of ", "Backup size: ", "Backup completed: "),
    "tutorial.md": (
        "incoming_wals_directory", ", which is archived", "Copying files.", "Copy done.",
        "Asking PostgreSQL server to finalize the backup.", "to undo", "have it renamed out of the way: --overwrite ",
        "IMPORTANT: these settings have been modified to prevent data losses",
        "Archiving is off in the restored server"),
    "night-of-the-accident.md": ("Protection", "Recovery window", "Replaces", "Kept as"),
    "from-barman.md": ('Write the address alone: ssh = "user@host".',)}
"""What the guides quote of pgvault."""


@pytest.mark.parametrize("guide", SAID)
def test_what_a_guide_quotes_is_what_pgvault_says(guide: str) -> None:
    page = re.sub(r"\s+", " ", (REPOSITORY / "docs/guide" / guide).read_text())
    code = "\n".join(path.read_text() for path in sorted((REPOSITORY / "pgvault").rglob("*.py")))
    said = re.sub(r"\" *\n *f?\"|\s+", lambda found: "" if '"' in found[0] else " ", code).replace('\\"', '"')
    for phrase in SAID[guide]:
        assert phrase in page, f"{guide} does not quote it: {phrase}"
        assert phrase in said, f"pgvault does not say: {phrase}"


def test_make_says_what_it_installs_before_it_is_silent(tmp_path: Path) -> None:
    said = subprocess.run(["make", "-n", "demo", f"VENV={tmp_path}/venv"], cwd=REPOSITORY, capture_output=True,
                          text=True, check=True).stdout
    assert 0 <= said.find("Installing pgvault and what its demo needs") < said.find("pip install")
