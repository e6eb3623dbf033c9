"""Evaluates the silence of a server during a base backup.

PostgreSQL sends nothing while it waits for a spread checkpoint, measures the cluster, or waits for its disk. A network
that drops all packets, or a hung process, is silent too. A second session tells these apart.
"""

from __future__ import annotations

import psycopg

from pgvault.config.schema import ServerConfig
from pgvault.io.patience import IsCancelled
from pgvault.io.postgres import session
from pgvault.model.errors import Cancelled, PgvaultError, Unreachable

ASK_SECONDS = 20.0
"""After this long without a byte the server is queried, and again at each such interval."""
SILENCE_SECONDS = 60.0
"""A silence of this length, without a sign that the server is working, ends the copy."""
_DISK_SECONDS = 600.0
_CHECKPOINT_SECONDS = 3600.0
_ANSWER_SECONDS = 8.0

_STATE = """
SELECT a.wait_event_type, p.phase, (SELECT setting::int FROM pg_settings WHERE name = 'checkpoint_timeout')
FROM pg_stat_activity a LEFT JOIN pg_stat_progress_basebackup p USING (pid) WHERE a.pid = %s"""


class Silence:
    """Called repeatedly with the duration of a silence in seconds; raises Unreachable if it has lasted too long."""

    def __init__(self, server: ServerConfig, pid: int, cancelled: IsCancelled) -> None:
        """Begin with no silence; `pid` is that of the server process that sends the backup."""
        self._server, self._pid, self._cancelled = server, pid, cancelled
        self.copying = False
        """Whether the server has begun to send files, so that neither a checkpoint nor a measurement delays it."""
        self._asked = self._at_work = 0.0

    def __call__(self, seconds: float) -> None:
        if seconds < self._asked:  # a new silence
            self._asked = self._at_work = 0.0
        if seconds - self._asked >= ASK_SECONDS:
            self._asked = seconds
            if seconds < self._longest():
                self._at_work = seconds
        if seconds - self._at_work >= SILENCE_SECONDS:
            name = self._server.name
            raise Unreachable(
                f"{name} has been silent for {seconds:.0f} seconds in the middle of the backup",
                detail="Nothing arrives on the connection, and no sign shows that the server works on the backup.",
                hint="Check the network between here and the server, and that the server is not stuck; "
                     "then run the backup again.")

    def _longest(self) -> float:
        """Return how long this silence may last according to the server; 0 if it does not answer."""
        try:
            with session(self._server, seconds=_ANSWER_SECONDS, cancelled=self._cancelled) as sql:
                row = sql.execute(_STATE, (self._pid,)).fetchone()
        except Cancelled:
            raise
        except (PgvaultError, psycopg.Error):
            return 0.0
        if row is None:
            return 0.0
        waits_for, phase, checkpoint_timeout = row
        if not self.copying and phase != "streaming database files":
            return max(_CHECKPOINT_SECONDS, 3.0 * float(checkpoint_timeout))
        return _DISK_SECONDS if waits_for == "IO" else 0.0
