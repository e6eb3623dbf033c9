"""Where the restored server will listen by its configuration, and whether it can: pure rules.

PostgreSQL does not start if another server has its socket's lock file or none of its addresses is available. If only
some are available it starts and listens on those. Neither would show before everything was copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address

from pgvault.io.probe import Destination
from pgvault.io.probe_listening import SocketPlace
from pgvault.model.check import Outcome
from pgvault.model.restore_plan import Listening, Precondition

_DEFAULT_PORT = 5432
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^,"]+)')
_EVERY_V4, _EVERY_V6 = "0" * 8, "0" * 32


def listens_on(values: Mapping[str, str]) -> Listening:
    """Return where a restored server with these settings will listen."""
    port = values.get("port", "").strip()
    sockets = values.get("unix_socket_directories")
    return Listening(int(port) if port.isascii() and port.isdigit() else _DEFAULT_PORT,
                     _names(values.get("listen_addresses", "localhost")), None if sockets is None else _names(sockets))


def _names(value: str) -> tuple[str, ...]:
    """Split a list as PostgreSQL does: at commas; text in double quotes is taken literally."""
    names = (quoted.replace('""', '"') if quoted else plain.strip() for quoted, plain in _NAME.findall(value))
    return tuple(name for name in names if name)


def socket_directories(listening: Listening) -> tuple[str, ...] | None:
    """Return the directories that can be examined: not abstract sockets, nor those below the data directory, which does
    not exist yet.
    """
    if listening.socket_directories is None:
        return None
    return tuple(each for each in listening.socket_directories if each.startswith("/"))


def listening_conditions(destination: Destination, listening: Listening, major: int, *,
                         by_command: bool) -> Iterator[Precondition]:
    """Yield the conditions. With `by_command`, the host's own start command may make it listen elsewhere, so a taken
    address is a warning."""
    port, bad = listening.port, Outcome.WARNING if by_command else Outcome.FAILED
    places = [place for place in destination.sockets if place.directory in _sockets(destination, listening, major)]
    if taken := next((place for place in places if place.taken_by), None):
        yield Precondition(f"port {port}", bad, f"{_capital(taken.taken_by)} has the socket for it in "
                                                f"{taken.directory}.", _elsewhere(taken.taken_by))
    elif by := _taken_by(destination, listening):
        yield Precondition(f"port {port}", bad, f"{_capital(by)} listens there.", _elsewhere(by))
    else:
        unknown = destination.listeners is None and listening.addresses
        yield Precondition(f"port {port}", Outcome.OK, "its sockets are free; the host does not report what has the "
                           "TCP port" if unknown else "free")
    yield from _closed(places, bad)


def _elsewhere(by: str) -> str:
    free = "remove that file" if "file" in by else "stop that one first"
    return f"Have the restored server listen on another one: --port PORT; or {free}."


def _closed(places: list[SocketPlace], bad: Outcome) -> Iterator[Precondition]:
    closed = [place.directory for place in places if not place.writable and not place.taken_by]
    if closed:
        yield Precondition("socket directory", bad, f"{', '.join(closed)}: missing, or we may not write there; the "
                           "restored server makes its socket in it.",
                           "Make it there; or name another one for the host: socket_directory.")


def _sockets(destination: Destination, listening: Listening, major: int) -> tuple[str, ...]:
    if (named := socket_directories(listening)) is not None:
        return named
    return next((each.socket_directories for each in destination.installations if each.major == major), ())


def _taken_by(destination: Destination, listening: Listening) -> str:
    return next((each.process for each in destination.listeners or ()
                 if any(takes(each.address, wanted) for wanted in listening.addresses)), "")


def takes(address: str, wanted: str) -> bool:
    """Return whether a listener on `address`, in the kernel's notation, occupies all of the `wanted` addresses. A
    server on every IPv6 address may have every IPv4 one too; and whatever address a host's name has, a listener on
    every address has it.
    """
    match wanted:
        case "*":
            return True
        case "0.0.0.0":
            return len(address) == len(_EVERY_V4) or address == _EVERY_V6
        case "::":
            return len(address) == len(_EVERY_V6)
        case "localhost":
            return takes(address, "127.0.0.1") or takes(address, "::1")
    return address in _spelled(wanted)


def _spelled(wanted: str) -> set[str]:
    """Return the address as in /proc/net/tcp and tcp6: words of four bytes, each in the processor's byte order."""
    try:
        ip = ip_address(wanted.partition("%")[0])
    except ValueError:
        return {_EVERY_V4, _EVERY_V6}
    packed = [ip.packed, IPv6Address(f"::ffff:{ip}").packed] if ip.version == 4 else [ip.packed]
    swapped = [b"".join(each[at:at + 4][::-1] for at in range(0, len(each), 4)) for each in packed]
    return {_EVERY_V6, *([_EVERY_V4] if ip.version == 4 else []), *(each.hex().upper() for each in packed + swapped)}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
