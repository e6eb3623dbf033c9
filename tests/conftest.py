"""Fixtures: real servers, real SSH hosts, and places to put things.

Servers and hosts are made when first asked for. What this machine lacks skips the tests that need it, with
the reason and the remedy.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from support.account import account, open_directory, remove_tree
from support.durability import Durability
from support.fleet import Fleet, Shape
from support.installation import MAJORS, Installation, installation, installations
from support.postgres import Server
from support.ssh import FLAVOURS, SSHD, SshHost, start_ssh_host

# A loaded machine is no failure: how long an example takes is nobody's business.
settings.register_profile("pgvault", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pgvault")
settings.register_profile("fast", settings(), deadline=None, max_examples=20)  # make test-fast
# make mutants: the same examples each time, and which of them fails says enough
settings.register_profile("mutants", settings(), deadline=None, max_examples=20, derandomize=True, database=None,
                          phases=[Phase.explicit, Phase.generate])


def pytest_report_header() -> list[str]:
    here = installations()
    missing = [str(major) for major in MAJORS if major not in here]
    servers = ", ".join(str(here[major]) for major in sorted(here)) or "none"
    return [
        f"PostgreSQL: {servers}{'; missing: ' + ', '.join(missing) if missing else ''}; run by {account().name}",
        f"SSH servers: asyncssh{', OpenSSH' if SSHD else ''}",
    ]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups, and pytest at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what a module's fixtures make run in one worker, so that it is made once.

    Of such a fixture's parameters each has a group of its own. What needs a server or a host is marked.
    """
    for item in items:
        code = getattr(getattr(item, "function", None), "__code__", None)
        if {"fleet", "ssh_hosts"}.intersection(getattr(item, "fixturenames", ())) or \
                "start_ssh_host" in getattr(code, "co_names", ()):
            item.add_marker(pytest.mark.server)
        if isinstance(item, pytest.Function) and not item.get_closest_marker("xdist_group"):
            shared = {name for name, found in item._fixtureinfo.name2fixturedefs.items()
                      if any(each.scope == "module" for each in found)}
            if shared:
                given = item.callspec.params if hasattr(item, "callspec") else {}
                group = "-".join([item.module.__name__, *(str(given[name]) for name in sorted(shared & given.keys()))])
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def own_state() -> Iterator[None]:
    """What pgvault keeps for a person is kept for the tests, and not for whoever runs them."""
    before, place = os.environ.get("XDG_STATE_HOME"), open_directory()
    os.environ["XDG_STATE_HOME"] = str(place / "me")
    yield
    remove_tree(place)
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


# PostgreSQL


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    ours = Fleet()
    yield ours
    ours.close()


@pytest.fixture
def pg(fleet: Fleet) -> Server:
    """A running server of the newest major, shared with other tests: ask it, do not break it."""
    return fleet.shared()


@pytest.fixture
def pg18(fleet: Fleet) -> Server:
    """The shared server of PostgreSQL 18."""
    return fleet.shared(18)


@pytest.fixture(params=MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    """Each major in turn, those that are not here skipped."""
    return installation(request.param).major


@pytest.fixture
def every_pg(fleet: Fleet, major: int) -> Server:
    """The shared server of each major in turn."""
    return fleet.shared(major)


@pytest.fixture
def own_server(fleet: Fleet) -> Iterator[Callable[..., Server]]:
    """Makes servers that belong to the test alone, to be stopped, crashed and damaged.

    Copies of one template have one system identifier; `fresh=True` gives a server its own, in a second more.
    """
    made: list[Server] = []

    def make(
        major: int | Installation | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        password: str | None = None,
        wal_segsize: int = 16,
        checksums: bool = True,
        fresh: bool = False,
        start: bool = True,
    ) -> Server:
        chosen = major if isinstance(major, Installation) else installation(major)
        server = fleet.make(chosen, Shape(password, wal_segsize, checksums), settings, fresh=fresh)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        fleet.remove(server)


@pytest.fixture
def adopt_server(fleet: Fleet, open_tmp: Path) -> Iterator[Callable[[Path, int], Server]]:
    """Gives a server, not started, on a data directory that something else made: `adopt_server(path, major)`.

    It ends before `open_tmp` goes, where that directory is likely to be.
    """
    made: list[Server] = []

    def adopt(data: Path, major: int) -> Server:
        made.append(fleet.adopt(installation(major), data))
        return made[-1]

    yield adopt
    for server in made:
        fleet.remove(server)


# SSH


@pytest.fixture(scope="session")
def ssh_hosts() -> Iterator[Callable[[str], SshHost]]:
    """The host of a flavour, `openssh` or `asyncssh`, started when first asked for and shared."""
    started: dict[str, SshHost] = {}

    def host(flavour: str) -> SshHost:
        if flavour not in started:
            started[flavour] = start_ssh_host(flavour)
        return started[flavour]

    yield host
    for each in started.values():
        each.close()


@pytest.fixture(params=FLAVOURS)
def ssh_host(request: pytest.FixtureRequest, ssh_hosts: Callable[[str], SshHost]) -> SshHost:
    """Each kind of SSH host in turn, shared with other tests."""
    return ssh_hosts(request.param)


# Places


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A temporary directory that the account of servers and logins may enter and write to."""
    path = open_directory()
    yield path
    remove_tree(path)


@pytest.fixture
def vault_home(open_tmp: Path) -> Path:
    """An empty directory for a vault; `account().own(vault_home)` lets an archive_command write to it."""
    home = open_tmp / "vault"
    home.mkdir()
    return home


@pytest.fixture
def durability(monkeypatch: pytest.MonkeyPatch) -> Durability:
    """What a power failure would leave of what the test does from now on."""
    return Durability(monkeypatch)


@pytest.fixture
def tmpfs(open_tmp: Path) -> Iterator[Callable[[int], Path]]:
    """Makes small file systems to fill up: `tmpfs(8)` is a directory with room for 8 MiB."""
    mounted: list[Path] = []

    def make(mebibytes: int) -> Path:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a file system to fill up")
        place = open_tmp / f"tmpfs-{len(mounted)}"
        place.mkdir()
        options = f"size={mebibytes}m,mode=0777"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "pgvault-tests", place], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)
