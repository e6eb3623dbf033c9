"""A store that goes wrong on purpose, around one that does not: what a network, a disk or a service does sometimes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from pgvault.model.errors import Unreachable
from pgvault.store.files import SpoolFile
from pgvault.store.keys import Key, Kind
from pgvault.store.store import Facts, Listed, Properties, Store


@dataclass
class Faults:
    """What goes wrong; all of it may be changed at any time. Calls are counted by name of the method."""

    failing: set[str] = field(default_factory=set)
    """Methods that fail before they do anything."""
    losing: set[str] = field(default_factory=set)
    """Methods that do their work and fail all the same: the answer got lost."""
    stuck: dict[str, threading.Event] = field(default_factory=dict)
    """Methods that wait for an event first: slow ones."""
    lists_at_most: int | None = None
    """After so many names a listing fails."""
    streams_at_most: int | None = None
    """After so many bytes a stream fails."""
    lies_by: int = 0
    """So many bytes more than it has are said to be an object's size."""
    calls: list[str] = field(default_factory=list)


class FaultyStore:
    """A `Store`."""

    def __init__(self, inner: Store) -> None:
        self._inner, self.faults = inner, Faults()

    @property
    def properties(self) -> Properties:
        return self._inner.properties

    def put(self, key: Key, content: bytes | SpoolFile, *, replaces: Facts | None = None) -> None:
        self._before("put")
        self._inner.put(key, content, replaces=replaces)
        self._after("put")

    def stat(self, key: Key) -> Facts | None:
        self._before("stat")
        found = self._inner.stat(key)
        return found and found._replace(size=found.size + self.faults.lies_by)

    def read(self, key: Key, offset: int = 0, length: int | None = None) -> bytes:
        self._before("read")
        return self._inner.read(key, offset, length)

    def stream(self, key: Key) -> BinaryIO:
        self._before("stream")
        file = self._inner.stream(key)
        if self.faults.streams_at_most is None:
            return file
        with file:
            return _BreakingOff(file.read(self.faults.streams_at_most))

    def list(self, kind: Kind, server: str = "", *, prefix: str = "", after: str = "") -> Iterator[Listed]:
        self._before("list")
        for count, each in enumerate(self._inner.list(kind, server, prefix=prefix, after=after)):
            if count == self.faults.lists_at_most:
                raise Unreachable("the listing broke off")
            yield each

    def revision(self, kind: Kind, server: str) -> str:
        self._before("revision")
        return self._inner.revision(kind, server)

    def delete(self, key: Key) -> None:
        self._before("delete")
        self._inner.delete(key)
        self._after("delete")

    def spool(self, key: Key) -> SpoolFile:
        self._before("spool")
        return self._inner.spool(key)

    def sweep(self, kind: Kind, server: str, *, alone: bool = False) -> None:
        self._inner.sweep(kind, server, alone=alone)

    def location(self, key: Key) -> str:
        return self._inner.location(key)

    def _before(self, method: str) -> None:
        self.faults.calls.append(method)
        if event := self.faults.stuck.get(method):
            event.wait()
        if method in self.faults.failing:
            raise Unreachable(f"the store does not answer to {method}")

    def _after(self, method: str) -> None:
        if method in self.faults.losing:
            raise Unreachable(f"the answer to {method} got lost")


class _BreakingOff(BytesIO):
    """Gives what it has, and then an error where the end would be."""

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise Unreachable("the stream broke off")
