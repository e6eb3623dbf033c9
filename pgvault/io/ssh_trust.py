"""Which host keys are trusted, and what to say when one is not.

Keys are always checked, whatever ~/.ssh/config says: a restore writes a whole database to the other end. The files are
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
    """The known hosts of one connection; remembers the key that was refused, to explain it."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        """`files` in ssh's order; the first is where a new key would be added."""
        self.files = [Path(file).expanduser() for file in files] or [Path("~/.ssh/known_hosts").expanduser()]
        self.known: Sequence[asyncssh.SSHKey] = ()
        self.refused: asyncssh.SSHKey | None = None
        self._label = ""

    def lookup(self, host: str, addr: str, port: int | None) -> tuple[Any, Any, Any]:
        """asyncssh's `known_hosts` callback: trusted, certifying and revoked keys of a host."""
        readable = [str(file) for file in (*self.files, _SYSTEM_FILE) if file.is_file()]
        known_hosts = asyncssh.read_known_hosts(readable)
        keys, authorities, revoked, *_ = known_hosts.match(host, addr, port)
        if port:  # where nothing is trusted for the port, asyncssh forgets what is revoked for it
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
        """The refusal of the key that `where` showed, if that is what happened."""
        if self.refused is None:
            return None
        return self._changed(where, self.refused) if self.known else self._unknown(where, self.refused)

    def _unknown(self, where: str, key: asyncssh.SSHKey) -> Unreachable:
        line = f"{self._label} {key.export_public_key().decode('ascii').strip()}"
        return Unreachable(
            f"the host key of {where} is not known",
            detail=f"It shows the key {_name(key)}. Nothing in {self.files[0]} speaks for {self._label}.",
            hint=f"Compare: on that host, `ssh-keygen -lf {_key_file(key)}` prints its fingerprint. If they are equal, "
                 f"accept the key with:\n{join(['echo', line])} >> {join([str(self.files[0])])}")

    def _changed(self, where: str, key: asyncssh.SSHKey) -> Unreachable:
        trusted = ", ".join(_name(known) for known in self.known)
        return Unreachable(
            f"THE HOST KEY OF {where} HAS CHANGED: not connected",
            detail=f"It shows the key {_name(key)}, but trusted is {trusted}. Someone may be listening in between; "
                   "a host that was installed anew looks the same.",
            hint="Ask whoever runs the host. Only when the change is explained, forget the old key and run this "
                 f"again:\n{join(['ssh-keygen', '-R', self._label, '-f', str(self.files[0])])}")


class _Client(asyncssh.SSHClient):
    """Asked by asyncssh about each key that `Trust.lookup` did not vouch for."""

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
