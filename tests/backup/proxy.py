"""A network between pgvault and a server that can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress


class Proxy:
    """Forwards from a port on loopback; cuts each of the first `cuts` connections that carry `after` bytes."""

    def __init__(self, port: int, *, cuts: int, after: int) -> None:
        self._to = port
        self._cuts, self._after = cuts, after
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with closing(near), closing(socket.create_connection(("127.0.0.1", self._to))) as far:
            up = threading.Thread(target=self._pump, args=(near, far, False), daemon=True)
            up.start()
            self._pump(far, near, True)
            for each in (near, far):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            up.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_counted: bool) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                carried += len(data)
                if is_counted and carried > self._after and self._is_to_be_cut():
                    return
            sink.shutdown(socket.SHUT_WR)

    def _is_to_be_cut(self) -> bool:
        with self._lock:
            if self.cut >= self._cuts:
                return False
            self.cut += 1
            return True
