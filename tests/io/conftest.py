"""Hosts of every kind, reached the way pgvault reaches them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reaching import Reach, reach_local, reach_ssh
from support.ssh import FLAVOURS, SshHost


@pytest.fixture(params=("local", *FLAVOURS))
def reach(request: pytest.FixtureRequest, ssh_hosts: Callable[[str], SshHost]) -> Reach:
    """Opens each kind of host in turn: `async with await reach() as host`."""
    return reach_local if request.param == "local" else reach_ssh(ssh_hosts(request.param))


@pytest.fixture(params=FLAVOURS)
def reach_far(request: pytest.FixtureRequest, ssh_hosts: Callable[[str], SshHost]) -> Reach:
    """Opens each kind of remote host in turn."""
    return reach_ssh(ssh_hosts(request.param))


@pytest.fixture
def small_disk(open_tmp: Path) -> Iterator[Path]:
    """A file system of 2 MiB that any user may write to."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = open_tmp / "small disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)
