"""Checks host keys, and explains why one is not trusted.

Keys are always checked, whatever ~/.ssh/config says, since a restore writes a whole database to the host. The files are
those that ssh itself would use, unless the configuration names another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncssh

from pgvault.io.quoting import join
from pgvault.model.errors import Unreachable

_SYSTEM_FILE: Final = Path("/etc/ssh/ssh_known_hosts")
_SSH_PORT: Final = 22


class Trust:
    """The known hosts of one connection. It remembers a refused key, to explain it."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        """Remember the files, in ssh's order; a new key would be added to the first."""
        self.files = [Path(file).expanduser() for file in files] or [Path("~/.ssh/known_hosts").expanduser()]
        self.known: Sequence[asyncssh.SSHKey] = ()
        self.refused: asyncssh.SSHKey | None = None
        self._label = ""

    def lookup(self, host: str, addr: str, port: int | None) -> tuple[Any, Any, Any]:
        """Return trusted, certifying and revoked keys of a host, as asyncssh's `known_hosts` callback."""
        readable = [str(file) for file in (*self.files, _SYSTEM_FILE) if file.is_file()]
        known_hosts = asyncssh.read_known_hosts(readable)
        keys, authorities, revoked, *_ = known_hosts.match(host, addr, port)
        if port:  # if nothing is trusted for the port, asyncssh ignores what is revoked for it
            revoked = [*revoked, *(key for each in (host, addr) if each
                                   for key in known_hosts.match(f"[{each}]:{port}", "", None)[2])]
        self.known = [*keys, *authorities]
        return keys, authorities, revoked

    def client(self) -> _Client:
        return _Client(self)

    def refuse(self, host: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.refused = key
        self._label = host if port == _SSH_PORT else f"[{host}]:{port}"
        return False

    def explain(self, where: str) -> Unreachable | None:
        """Return the error for the key that `where` showed, if it was refused."""
        if self.refused is None:
            return None
        return self._changed(where, self.refused) if self.known else self._unknown(where, self.refused)

    def _unknown(self, where: str, key: asyncssh.SSHKey) -> Unreachable:
        line = f"{self._label} {key.export_public_key().decode('ascii').strip()}"
        return Unreachable(
            f"the host key of {where} is not known",
            detail=f"Its key is {_name(key)}. {self.files[0]} has no key for {self._label}.",
            hint=f"Compare it with `ssh-keygen -lf {_key_file(key)}` on that host. If they are equal, "
                 f"accept the key with:\n{join(['echo', line])} >> {join([str(self.files[0])])}")

    def _changed(self, where: str, key: asyncssh.SSHKey) -> Unreachable:
        trusted = ", ".join(_name(known) for known in self.known)
        return Unreachable(
            f"THE HOST KEY OF {where} HAS CHANGED: not connected",
            detail=f"Its key is {_name(key)}, but the trusted key is {trusted}. Someone may be intercepting the "
                   "connection; a reinstalled host looks the same.",
            hint="Ask the administrator of the host. Only if the change is explained, remove the old key and run this "
                 f"again:\n{join(['ssh-keygen', '-R', self._label, '-f', str(self.files[0])])}")


class _Client(asyncssh.SSHClient):
    """asyncssh calls this about each key that `Trust.lookup` did not accept."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return self._trust.refuse(host, port, key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return self._trust.refuse(host, port, key)


def _kind(key: asyncssh.SSHKey) -> str:
    algorithm = key.get_algorithm()
    return next((kind for kind in ("ed25519", "ecdsa", "rsa", "dsa") if kind in algorithm), algorithm)


def _name(key: asyncssh.SSHKey) -> str:
    return f"{key.get_fingerprint()} ({_kind(key).upper()})"


def _key_file(key: asyncssh.SSHKey) -> str:
    return f"/etc/ssh/ssh_host_{_kind(key)}_key.pub"
