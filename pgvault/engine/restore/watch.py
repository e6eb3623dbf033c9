"""Observes a restored server while it recovers: its files and processes each time, and SQL once it accepts logins."""

from __future__ import annotations

import re
import time

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.arrival import FOLLOWING, Arrived, Report, restarts_too_often
from pgvault.engine.restore.ask import NotAnswered, RestoredServer
from pgvault.engine.restore.observation import NOTHING_SEEN, Observation, observe_server, position
from pgvault.engine.restore.proof import Proof
from pgvault.engine.restore.start import Started
from pgvault.engine.restore.why_ended import FAILED, why_closed
from pgvault.io.host import Host
from pgvault.io.probe import probe_destination
from pgvault.model.errors import PgvaultError, Unreachable
from pgvault.model.lsn import Lsn
from pgvault.model.majors import facts_of
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.restored import copy_of
from pgvault.model.window import instant

ABSENT_SECONDS = 60.0
"""How long a start command that reported success may take to bring a server up, in seconds."""
SURE_LOOKS = 3
"""The number of looks that make an observation certain: one may fall between two moments of a server that starts or
ends.
"""
_ASK_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""The seconds between attempts to log in where that is refused: each leaves lines in the server's log."""
_REACHED = re.compile(r"recovery stopping|pausing at the end of recovery|archive recovery complete"
                      r"|selected new timeline|redo done|recovery has paused|shutting down")

# The original server's first message has its position; it may come long after the stream began.
_REPORT = """SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn()::text AS lsn,
  (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::int8 AS last_commit,
  CASE WHEN pg_is_in_recovery() THEN {pause} ELSE '' END AS pause,
  CASE WHEN NOT pg_is_in_recovery()
       THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
  CASE WHEN r.status IS NOT NULL
       THEN pg_wal_lsn_diff(coalesce(r.latest_end_lsn, pg_last_wal_receive_lsn(), r.receive_start_lsn),
                            pg_last_wal_replay_lsn())::int8 END AS lag_bytes,
  extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS lag_seconds,
  (SELECT json_object_agg(name, setting::int8) FROM pg_settings
   WHERE name IN ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
                  'max_locks_per_transaction')) AS limits
FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver AS r ON r.status = 'streaming'"""


class Watch:
    """What is known of the server so far."""

    def __init__(self, host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan,
                 started: Started, programs: str) -> None:
        self.host, self.plan, self.directory, self._programs = host, plan, plan.destination.directory, programs
        self.start, self.gave_up = started
        copy = copy_of(plan)
        self.asked = RestoredServer(host, config, server, copy, programs)
        self._major = copy.major
        self.observation: Observation = NOTHING_SEEN
        self.report: Report | None = None
        self.refusal = ""
        """The refusal, if no login succeeded."""
        self.is_silent = False
        """Whether no login was answered at all: its machine or its storage may stand still."""
        self._refusals, self._ask_at = 0, 0.0
        self._seen_alive = False
        self._dead_looks, self._began = 0, time.monotonic()
        self._replayers: list[int] = []

    @classmethod
    async def begin(cls, host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan,
                    started: Started) -> Watch:
        there = await probe_destination(host, plan.destination.directory, (), (config and config.bin_directory) or "")
        fitting = [each.directory for each in there.installations if each.major == plan.source.backup.major]
        return cls(host, config, server, plan, started, next(iter(fitting), ""))

    @property
    def is_refused(self) -> bool:
        """Return whether it accepts logins and has refused pgvault's more than once."""
        return self._refusals > 1

    @property
    def is_up(self) -> bool:
        return self.report is not None or self.is_refused

    @property
    def lsn(self) -> Lsn | None:
        return self.report.lsn if self.report is not None else self.observation.consistent_to

    async def look(self) -> None:
        """Look once; a host that is too slow to answer is asked again, as long as the limits allow."""
        try:
            self.observation = await observe_server(self.host, self.directory, self._programs,
                                                    self.observation.elsewhere)
        except Unreachable:
            raise
        except PgvaultError:
            return
        self.asked.seen(self.observation)
        if self.observation.alive:
            self._seen_alive, self._dead_looks = True, 0
            if self.observation.replayer is not None:
                self._replayers.append(self.observation.replayer)
        self.report = await self._asked() if self.observation.alive else None

    async def _asked(self) -> Report | None:
        if self.observation.status in ("starting", "standby", "stopping"):
            self._refusals = 0
            return None
        if time.monotonic() < self._ask_at:
            return None
        try:
            row = (await self.asked.ask(_REPORT.format(pause=facts_of(self._major).replay_pause)))[0]
        except NotAnswered as failure:
            self.refusal, self.is_silent = failure.text, failure.silent
            if step := why_closed(failure.text):
                raise PgvaultError(f"no database of the restored server on {self.host.description} can be opened: "
                                   f"{failure.text}", detail="Its files are complete, and it runs.",
                                   hint=step) from None
            self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS[min(self._refusals, len(_ASK_AGAIN_SECONDS) - 1)]
            self._refusals += 1
            return None
        self._refusals, self.refusal, self.is_silent = 0, "", False
        return _report_of(row)

    def signs(self) -> set[str]:
        return self.observation.signs_of_life() | ({str(self.report.lsn)} if self.report is not None else set())

    def how_it_ended(self) -> str:
        """Return words that follow "the restored server" if it ended, never came, or crashes again and again."""
        if restarts_too_often(self._replayers):
            return "crashes and starts again, over and over"
        if self.observation.alive:
            return ""
        self._dead_looks += 1
        began = self._seen_alive or bool(self.observation.log or self.gave_up) or self.observation.is_full
        if (self._dead_looks >= SURE_LOOKS) if began else (time.monotonic() - self._began > ABSENT_SECONDS):
            return "ended before it reached the target" if self._replayed else "did not start"
        return ""

    @property
    def _replayed(self) -> bool:
        return self.observation.is_recovering or bool(self._replayers)

    def proof(self, arrived: Arrived) -> Proof:
        report = self.report
        lines = tuple(line for line in self.observation.log if _REACHED.search(line))
        lag = report.lag_bytes if report is not None and arrived.state == FOLLOWING else None
        seconds = report.lag_seconds if report is not None and lag is not None else None
        return Proof(arrived.state, report.last_commit if report else None, arrived.timeline, arrived.lsn, lines[-4:],
                     None if lag is None else max(lag, 0), 0.0 if lag is not None and lag <= 0 else seconds,
                     refusal=self.refusal if report is None and self.observation.alive else "")

    @property
    def failures(self) -> list[str]:
        return [line for line in self.observation.log if FAILED.search(line)]


def _report_of(row: dict[str, object]) -> Report:
    limits = row["limits"] or {}
    assert isinstance(limits, dict)
    commit, lag, age = row["last_commit"], row["lag_bytes"], row["lag_seconds"]
    return Report(
        bool(row["in_recovery"]), position(str(row["lsn"] or "")), instant(commit) if isinstance(commit, int) else None,
        paused=row["pause"] == "paused", asked_to_pause=row["pause"] == "pause requested",
        timeline=row["timeline"] if isinstance(row["timeline"], int) else None,
        lag_bytes=lag if isinstance(lag, int) else None,
        lag_seconds=float(age) if isinstance(age, int | float) else None, limits=limits)
