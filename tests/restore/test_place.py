"""What a restored directory is promised to be when the power fails: flushed, and only then a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pgvault.engine.restore.contents import HELD_BACK
from pgvault.engine.restore.place import Site
from pgvault.io.local_host import LocalHost
from pgvault.io.probe_script import MARKER

OID = 16385

SYNC = """#!/bin/sh
case $1 in
  --help) echo {options} ;;
  *) {{
    echo "$@"
    [ ! -e {data}/global/pg_control ] || echo startable
    for place in {data} {space}; do [ ! -e "$place/{marker}" ] || echo marked; done
  }} | tr '\\n' ' ' >> {log}; echo >> {log} ;;
esac
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return tmp_path / "space"


@pytest.fixture
def site(tmp_path: Path, space: Path) -> Site:
    return Site(LocalHost(), str(tmp_path / "data"), ((OID, str(space)),), "20261123T070000Z-01", False)


@pytest.fixture
def flushes(tmp_path: Path, space: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `sync` was asked for, and how the destination was then; one that knows -f."""
    return _watch_sync(tmp_path, space, monkeypatch, "-f")


def _watch_sync(tmp_path: Path, space: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> Path:
    programs, log = tmp_path / "programs", tmp_path / "flushes"
    programs.mkdir()
    (programs / "sync").write_text(
        SYNC.format(options=options, data=tmp_path / "data", space=space, marker=MARKER, log=log))
    (programs / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return log


async def _prepared(site: Site) -> None:
    await site.prepare()
    held_back = Path(site.directory, HELD_BACK)
    held_back.parent.mkdir()
    held_back.touch()


def steps(*run: Coroutine[Any, Any, None]) -> None:
    async def in_order() -> None:
        for each in run:
            await each
    asyncio.run(in_order())


def test_every_tablespace_is_flushed(site: Site, space: Path, flushes: Path) -> None:
    """Each may be a file system of its own."""
    steps(_prepared(site), site.flush())
    assert flushes.read_text().splitlines() == [f"-f {site.directory} marked marked ", f"-f {space} marked marked "]


def test_where_sync_knows_no_file_system_everything_is_flushed(
        site: Site, tmp_path: Path, space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As BusyBox's."""
    flushes = _watch_sync(tmp_path, space, monkeypatch, "none")
    steps(_prepared(site), site.flush())
    assert flushes.read_text().splitlines() == [" marked marked "] * 2


def test_it_can_be_started_on_the_disk_before_its_marks_go(site: Site, space: Path, flushes: Path) -> None:
    """With the marks gone and no pg_control nobody could tell what lies there."""
    steps(_prepared(site), site.publish())
    assert flushes.read_text().splitlines() == [
        f"-f {site.directory} startable marked marked ", f"-f {site.directory} startable "]
    assert not Path(site.directory, HELD_BACK).exists()


def test_what_is_undone_is_gone_in_every_place(site: Site, space: Path) -> None:
    steps(_prepared(site), site.undo())
    assert not Path(site.directory).exists()
    assert not space.exists()
