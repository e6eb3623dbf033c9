"""SSH addresses: `[user@]host[:port]`, with an IPv6 address in brackets.

An address is never a command: options for ssh belong in its own configuration, and a host that begins with a dash would
be taken for one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pgvault.config.problems import BadValue

_FORM = (
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?)@)?"
    r"(?:\[(?P<ip6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})))"
    r"(?::(?P<port>[0-9]{1,5}))?")


class SshAddress(NamedTuple):
    """A host that ssh can reach."""

    host: str
    """A name (also an alias in ssh's configuration) or an address; an IPv6 address has no brackets here."""
    user: str | None = None
    """The user; None leaves the choice to ssh's configuration."""
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> SshAddress:
        """Parse an address; BadValue for any other text. The error does not repeat the text, which may hold a
        password."""
        match = re.fullmatch(_FORM, text)
        if not match:
            raise BadValue("not an ssh address", _advice(text))
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 1 <= port <= 65535:
            raise BadValue(f"{port} is not a port: ports go from 1 to 65535")
        return cls(match["host"] or match["ip6"], match["user"], port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def _advice(text: str) -> str:
    if text.startswith("ssh "):
        return "Write the address alone, without the command: 'postgres@host'."
    if text.count(":") > 1 and "[" not in text:
        return "Put an IPv6 address in brackets: 'postgres@[2001:db8::1]:22'."
    if "@" in text and ":" in text.partition("@")[0]:
        return "Passwords are not allowed here: use a key, and write 'postgres@host'."
    return "Write [user@]host[:port]; put options for ssh into ~/.ssh/config."
