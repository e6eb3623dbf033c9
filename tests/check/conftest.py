"""Fixtures: a site (see `check_site`), and servers that archive into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from check_site import Site
from support.account import account
from support.postgres import Server, wait_until


@pytest.fixture
def site(open_tmp: Path) -> Site:
    return Site(open_tmp)


@pytest.fixture
def archiving(site: Site, own_server: Callable[..., Server]) -> Callable[..., Server]:
    """Makes a server that archives into the site's vault, as the tutorial has it, one segment being there already."""

    def make(major: int | None = None, *, vault: str = "", setting: str = "") -> Server:
        site.home.mkdir()
        account().own(site.home)
        server = own_server(major, start=False)
        server.configure({"archive_mode": "on", "archive_command": site.archive_command()})
        server.start()
        site.configure(server, vault=vault, setting=setting)
        segment = server.switch_wal()
        wait_until(lambda: server.scalar("select last_archived_wal from pg_stat_archiver") == segment)
        return server

    return make
