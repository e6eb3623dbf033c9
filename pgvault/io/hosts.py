"""Opens the right kind of host, and imports asyncssh only for a remote one."""

from __future__ import annotations

from pathlib import Path

from pgvault.config.address import SshAddress
from pgvault.config.schema import HostConfig
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


async def connect_host(name: str, config: HostConfig | None, on_command: OnCommand) -> Host:
    """Log in as a host's configuration says. It is this machine if it has none."""
    return await open_host(name or "this machine", config.ssh if config else None,
                           identity_file=config.identity_file if config else None,
                           known_hosts=config.known_hosts if config else None, on_command=on_command)
