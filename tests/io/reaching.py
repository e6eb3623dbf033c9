"""How tests open a host: as pgvault does, with the keys and known hosts of the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from support.ssh import SshHost

from pgvault.config.address import SshAddress
from pgvault.io.host import Host
from pgvault.io.hosts import open_host

Reach = Callable[..., Awaitable[Host]]


def reach_ssh(there: SshHost) -> Reach:
    """Logs in to that host; the keyword arguments replace the usual ones."""

    async def reach(**changes: object) -> Host:
        address = SshAddress(there.host, there.user, there.port)
        return await open_host("far", address, **{
            "identity_file": there.identity_file, "known_hosts": there.known_hosts, **changes})  # fmt: skip

    return reach


async def reach_local(**changes: object) -> Host:
    return await open_host("here", None, **changes)
