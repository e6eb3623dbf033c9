"""The servers of one test session: some shared, the others copied from a cluster that was made once."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.account import open_directory, remove_tree
from support.installation import Installation, installation
from support.postgres import Server


@dataclass(frozen=True, slots=True)
class Shape:
    """What only initdb can decide."""

    password: str | None = None
    wal_segsize: int = 16  # MiB
    checksums: bool = True


class Fleet:
    """Makes servers and ends them. Each pytest-xdist worker has a fleet, so none is shared between processes."""

    def __init__(self) -> None:
        self.root = open_directory(in_memory=True)
        self._count = 0
        self._templates: dict[tuple[Installation, Shape], Server] = {}
        self._shared: dict[int, Server] = {}
        self._servers: list[Server] = []

    def shared(self, major: int | None = None) -> Server:
        """The running server of a major that tests may ask but not break; `new_database` gives room to write."""
        chosen = installation(major)
        if chosen.major not in self._shared:
            self._shared[chosen.major] = self.make(chosen, Shape()).start()
        return self._shared[chosen.major]

    def make(
        self, chosen: Installation, shape: Shape, settings: Mapping[str, object] | None = None,
        *, fresh: bool = False,
    ) -> Server:  # fmt: skip
        """A stopped server of the test's own: a copy of the template, or with `fresh` one with its own identity."""
        server = Server(chosen, self._place(chosen))
        self._servers.append(server)
        server.password = shape.password
        if fresh:
            _initdb(server, shape)
        else:
            template = self._template(chosen, shape)
            subprocess.run(["cp", "-a", "--reflink=auto", template.data, server.data], check=True)
        server.configure(settings or {})
        return server

    def adopt(self, chosen: Installation, data: Path) -> Server:
        """A stopped server on a data directory that something else made."""
        server = Server(chosen, self._place(chosen), data=data)
        self._servers.append(server)
        return server

    def remove(self, server: Server) -> None:
        self._servers.remove(server)
        server.end()
        remove_tree(server.directory)

    def close(self) -> None:
        for server in list(self._servers):
            self.remove(server)
        remove_tree(self.root)

    def _template(self, chosen: Installation, shape: Shape) -> Server:
        if (chosen, shape) not in self._templates:
            template = Server(chosen, self._place(chosen))
            _initdb(template, shape)
            self._templates[chosen, shape] = template
        return self._templates[chosen, shape]

    def _place(self, chosen: Installation) -> Path:
        self._count += 1
        return self.root / f"{chosen.major}-{self._count}"


def _initdb(server: Server, shape: Shape) -> None:
    server.initdb(password=shape.password, wal_segsize=shape.wal_segsize, checksums=shape.checksums)
