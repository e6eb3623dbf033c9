"""The objects of a vault in memory, for tests: what an object store does, without one."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pgvault.store.files import SpoolFile, sweep_dead, sweep_temporaries, temporary_name
from pgvault.store.keys import Key, Kind
from pgvault.store.store import Facts, Listed, Properties, absent, changed, cut_short, exists_already


class MemoryStore:
    """A `Store` of one process; its spool files lie in the directory `spool`."""

    properties = Properties(conditional_puts=True, atomic_replace=True)

    def __init__(self, spool: Path) -> None:
        self._objects: dict[Key, tuple[bytes, Facts]] = {}
        self._lock = threading.Lock()
        self._versions = 0
        self._spool = spool

    def put(self, key: Key, content: bytes | SpoolFile, *, replaces: Facts | None = None) -> None:
        key.path  # noqa: B018 -- ValueError for a name that no store takes
        if isinstance(content, SpoolFile):
            with content.open() as file:
                self.put(key, file.read(), replaces=replaces)
            content.discard()
            return
        with self._lock:
            known = self._objects.get(key)
            if known and not replaces:
                raise exists_already(self.location(key))
            if replaces and (not known or known[1] != replaces):
                raise changed(self.location(key))
            self._versions += 1
            self._objects[key] = content, Facts(len(content), time.time_ns(), str(self._versions))

    def stat(self, key: Key) -> Facts | None:
        found = self._objects.get(key)
        return found[1] if found else None

    def read(self, key: Key, offset: int = 0, length: int | None = None) -> bytes:
        content = self._content(key)
        end = max(len(content), offset) if length is None else offset + length
        if end > len(content) and length != 0:
            raise cut_short(self.location(key), end - len(content), len(content))
        return content[offset:end]

    def stream(self, key: Key) -> BinaryIO:
        return io.BytesIO(self._content(key))

    def list(self, kind: Kind, server: str = "", *, prefix: str = "", after: str = "") -> Iterator[Listed]:
        kinds = (Kind.BACKUP, Kind.MANIFEST) if kind in (Kind.BACKUP, Kind.MANIFEST) else (kind,)
        listed = {(key.server if kind is Kind.IDENTITY else key.name): facts if key.kind is kind else None
                  for key, (_, facts) in sorted(self._objects.items(), key=lambda item: item[0].kind is kind)
                  if key.kind in kinds and (kind is Kind.IDENTITY or key.server == server)}
        for name in sorted(listed):
            if name.startswith(prefix) and name > after:
                yield Listed(name, listed[name])

    def revision(self, kind: Kind, server: str) -> str:
        return str(sorted((key.name, facts.version) for key, (_, facts) in self._objects.items()
                          if (key.kind, key.server) == (kind, server)))

    def delete(self, key: Key) -> None:
        with self._lock:
            self._objects.pop(key, None)

    def spool(self, key: Key) -> SpoolFile:
        return SpoolFile(temporary_name(self._spool / Path(key.path).name))

    def sweep(self, kind: Kind, server: str, *, alone: bool = False) -> None:
        (sweep_temporaries if alone else sweep_dead)(self._spool)

    def location(self, key: Key) -> str:
        return f"memory:{key.path}"

    def _content(self, key: Key) -> bytes:
        found = self._objects.get(key)
        if found is None:
            raise absent(self.location(key))
        return found[0]
