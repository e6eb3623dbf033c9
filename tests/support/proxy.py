"""A TCP proxy on loopback that can do what bad networks do: swallow everything, and close nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards to a port of this machine. What `swallow` or `swallow_from` cut off stays open and silent for good; new
    connections are forwarded again."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._swallowed: set[int] = set()
        self._mark: bytes | None = None
        self._is_closed_off = False
        self.swallowed = threading.Event()
        """Something was."""
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """All that comes on the connections of now, in both directions."""
        self._swallowed.update(range(len(self._open)))
        self.swallowed.set()

    def swallow_everything(self) -> None:
        """All that comes on the connections of now and on every later one."""
        self._is_closed_off = True
        self._swallowed.update(range(len(self._open)))

    def swallow_from(self, mark: bytes) -> None:
        """The next connection on which a client says this, from then on."""
        self._mark = mark

    def refuse(self) -> None:
        """Every new connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        self.refuse()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                number = len(self._open)
                self._open += [client, server]
                if self._is_closed_off:
                    self._swallowed.add(number)
                    self.swallowed.set()
                for source, sink, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._forward, args=(source, sink, number, is_client), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, number: int, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_client and self._mark is not None and self._mark in data:
                    self._mark = None
                    self._swallowed.add(number)
                    self.swallowed.set()
                if number not in self._swallowed:
                    sink.sendall(data)
            if number not in self._swallowed:
                sink.shutdown(socket.SHUT_WR)
