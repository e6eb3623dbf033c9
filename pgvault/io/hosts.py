"""Opens the right kind of host, and imports asyncssh only for a remote one."""

from __future__ import annotations

from pathlib import Path

from pgvault.config.address import SshAddress
from pgvault.io.host import Host, OnCommand
from pgvault.io.local_host import LocalHost


async def open_host(name: str, address: SshAddress | None, *, identity_file: Path | None = None,
                    known_hosts: Path | None = None, on_command: OnCommand | None = None) -> Host:
    """Log in to the host called `name` in the configuration. It is this machine if `address` is None.

    `identity_file` and `known_hosts` override ssh's own choice. Unreachable says why a login is not possible.
    """
    if address is None:
        return LocalHost(name, on_command=on_command)
    from pgvault.io.ssh_host import SshHost

    return await SshHost.connect(address, name=name, identity_file=identity_file, known_hosts=known_hosts,
                                 on_command=on_command)
