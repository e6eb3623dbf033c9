"""Waiting until the restored server is where it was asked to be, and what it shows of itself there.

Success is what PostgreSQL reports, not that files were copied: it left recovery, paused, or shut down at the target,
on which timeline, after which commit, and what its log says of it. The waiting ends in a verdict or an error: as long
as something moves it goes on, however long; where nothing does it has a limit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.arrival import (
    FOLLOWING,
    PAUSED,
    PROMOTED,
    Arrived,
    Astray,
    Goal,
    Report,
    judge,
    restarts_too_often,
)
from pgvault.engine.restore.ask import NotAnswered, RestoredServer
from pgvault.engine.restore.condition import Closed, closed_databases, prepared_transactions, report_prepared
from pgvault.engine.restore.contents import LOG_FILE
from pgvault.engine.restore.expect import Found, Presence, look_for
from pgvault.engine.restore.sight import NOTHING_SEEN, Sight, look_at_server, position
from pgvault.engine.restore.why_ended import FAILED, next_step, said_of_it, why_closed
from pgvault.io.host import Host
from pgvault.io.probe import probe_destination
from pgvault.model.errors import PgvaultError, Unreachable, WalMissing
from pgvault.model.event import Emit, Noted, PhaseStarted, Progressed
from pgvault.model.lsn import Lsn
from pgvault.model.prepared import Prepared
from pgvault.model.restore_plan import RestorePlan
from pgvault.model.restored import copy_of
from pgvault.model.target import EndOfWal
from pgvault.model.text import span
from pgvault.model.times import utc
from pgvault.model.window import instant

SILENT_SECONDS = 300.0
"""How long nothing may move: no position, no file, no process at work."""
REFUSED_SECONDS = 20.0
"""The same, when nobody is let in and only files and processes can be looked at."""
FOLLOW_SECONDS = 60.0
"""How long a standby that replays nothing more may take to reach the original server,"""
FAILING_SECONDS = 15.0
"""and when its log shows that it tried more than once and failed."""
ABSENT_SECONDS = 60.0
"""How long a start command that claimed success may take to bring a server."""
_MENTION_SECONDS = 30.0
"""After so long without a movement a person hears of it, and again each time it has doubled."""
_POLL_SECONDS, _SLOWEST_POLL = 0.3, 5.0
_ASK_AGAIN_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between the attempts to log in where that is refused: each leaves lines in the server's log."""
_SURE_LOOKS = 3
"""One look may fall between two moments of a server that starts or ends."""
_REACHED = re.compile(r"recovery stopping|pausing at the end of recovery|archive recovery complete"
                      r"|selected new timeline|redo done|recovery has paused|shutting down")

# The original server says how far it is with its first message, which may be long after the stream began.
_REPORT = """SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn()::text AS lsn,
  (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::int8 AS last_commit,
  CASE WHEN pg_is_in_recovery() THEN {paused} ELSE false END AS paused,
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


@dataclass(frozen=True, slots=True)
class Proof:
    """What the restored server showed of itself."""

    state: str
    """promoted, paused, shut down, following"""
    last_commit: datetime | None
    timeline: int | None
    lsn: Lsn | None
    log: tuple[str, ...]
    """The log's own lines on where recovery stopped."""
    lag_bytes: int | None = None
    """Of a standby: how much of what the original server has sent is not replayed yet."""
    lag_seconds: float | None = None
    """How old its newest replayed commit is while there is such WAL, else 0."""
    expected: tuple[Found, ...] = ()
    """What became of each table that was asked for."""
    prepared: tuple[Prepared, ...] = ()
    """Transactions that wait for their end."""
    closed: tuple[Closed, ...] = ()
    """Databases that cannot be opened."""
    refusal: str = ""
    """Why it could not be asked, when its files and its log are all that the proof rests on."""

    @property
    def lacking(self) -> tuple[Found | Closed, ...]:
        return *self.closed, *(found for found in self.expected if found.presence is not Presence.THERE)

    def __str__(self) -> str:
        parts = [f"the server is {self.state}"]
        if self.timeline:
            parts.append(f"on timeline {self.timeline}")
        if self.last_commit:
            parts.append(f"last replayed commit {utc(self.last_commit)}")
        if self.lag_bytes is not None:
            parts.append(f"{self.lag_bytes} bytes behind the original server"
                         + (f" ({self.lag_seconds:.1f} s)" if self.lag_seconds is not None else ""))
        if self.refusal:
            parts.append("by its files and its log, since it takes no login for the proof")
        return "; ".join([", ".join(parts), *map(str, (*self.expected, *self.closed, *self.prepared))])


async def prove(host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan, begin: Lsn,
                emit: Emit, *, start: str) -> Proof:
    """Wait until the started server has reached the target, then look for what the restore was made for.

    `start` is the line that starts it again, for when it ended. PgvaultError with its log when it cannot arrive, or
    nothing moves any more. What is expected and not there is reported, not raised.
    """
    try:
        watch = await _Watch.begin(host, config, server, plan, start)
        proof = await _reached(watch, begin, emit)
        if not proof.refusal:
            proof = replace(proof, closed=await closed_databases(watch.asked, emit))
        # A server that replays shows none; then the plan knows them, from the WAL.
        told = await prepared_transactions(watch.asked) if proof.state == PROMOTED and not proof.refusal else None
        proof = replace(proof, prepared=plan.prepared if told is None else told)
        report_prepared(proof.prepared, proof.state, emit)
        if plan.expects:
            emit(PhaseStarted("look"))
            proof = replace(proof, expected=await look_for(plan.expects, watch.asked, emit))
        return proof
    except Unreachable as lost:
        raise Unreachable(lost.message, detail=f"{lost.detail} The restored files are complete and their server was "
                                               "started; nobody saw whether it arrived.".strip(),
                          hint=f"Look there, in {plan.directory}: the server goes on without pgvault.") from lost


async def _reached(watch: _Watch, begin: Lsn, emit: Emit) -> Proof:
    goal, plan = Goal.of(watch.plan), watch.plan
    advance, still = _Advance(emit, begin, plan.stop_lsn), _Stillness(emit)
    astray, failures, began = 0, 0, time.monotonic()
    while True:
        await watch.look()
        if advance.to(watch.lsn) or not watch.is_up:
            failures = len(watch.failures)
        verdict = judge(goal, watch.sight, watch.report, refused=watch.is_refused)
        if isinstance(verdict, Arrived):
            advance.end()
            if watch.report is None and watch.refusal:
                emit(Noted(f"the server takes no login for the proof ({watch.refusal}); its state is read from its "
                           "files and its log"))
            return watch.proof(verdict)
        astray = astray + 1 if isinstance(verdict, Astray) else 0
        if isinstance(verdict, Astray) and astray >= _SURE_LOOKS:
            raise watch.went_astray(verdict)
        watch.must_live()
        still.look(watch.signs(), watch.lsn, watch.sight.doing)
        if plan.standby and watch.is_up:
            patience = FAILING_SECONDS if len(watch.failures) > failures + 1 else FOLLOW_SECONDS
            if advance.stands_for > min(patience, FOLLOW_SECONDS):
                raise watch.not_following()
        if still.seconds > (REFUSED_SECONDS if watch.is_refused else SILENT_SECONDS):
            raise watch.stands_still(still.seconds)
        await asyncio.sleep(min(max(_POLL_SECONDS, (time.monotonic() - began) / 100), _SLOWEST_POLL))


class _Advance:
    """How far the replay is, reported once a second, and since when it stands still."""

    def __init__(self, emit: Emit, begin: Lsn, stop: Lsn | None) -> None:
        self._emit, self._begin, self._stop = emit, begin, stop
        self._lsn: Lsn | None = None
        self._moved = self._reported = time.monotonic()

    @property
    def stands_for(self) -> float:
        return time.monotonic() - self._moved

    def to(self, lsn: Lsn | None) -> bool:
        """Whether it moved."""
        if lsn is None or lsn == self._lsn:
            return False
        self._lsn, self._moved = lsn, time.monotonic()
        if self._moved - self._reported > 1:
            self._reported = self._moved
            self._report(lsn)
        return True

    def end(self) -> None:
        if (lsn := self._stop or self._lsn) is not None:
            self._report(lsn)

    def _report(self, lsn: Lsn) -> None:
        """Replay may run past the stop by what belongs to no record, and a standby does: never more than all."""
        self._emit(Progressed(max(min(lsn, self._stop or lsn) - self._begin, 0)))


class _Stillness:
    """Since when nothing moves. A server that does the same again and again, as after crashes, does not move."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._seen: set[str] = set()
        self._moved, self._mention = time.monotonic(), _MENTION_SECONDS

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._moved

    def look(self, signs: Iterable[str], lsn: Lsn | None, doing: str) -> None:
        if new := set(signs) - self._seen:
            self._seen |= new
            self._moved, self._mention = time.monotonic(), _MENTION_SECONDS
        elif self.seconds > self._mention:
            where = f" at {lsn}" if lsn is not None else ""
            self._emit(Noted(f"nothing has moved for {span(round(self.seconds))}: the restored server stands still"
                             f"{where}{f' ({doing})' if doing else ''}", code="standing"))
            self._mention *= 2


class _Watch:
    """Looks at the server: at its files and processes each time, by SQL when it takes logins."""

    def __init__(self, host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan, start: str,
                 programs: str) -> None:
        self._host, self.plan, self._start, self._programs = host, plan, start, programs
        self.asked = RestoredServer(host, config, server, copy_of(plan), programs)
        self.sight: Sight = NOTHING_SEEN
        self.report: Report | None = None
        self.refusal = ""
        """What was said when nothing let us in."""
        self._refusals, self._ask_at = 0, 0.0
        self._seen_alive = False
        self._dead_looks, self._began = 0, time.monotonic()
        self._replayers: list[int] = []

    @classmethod
    async def begin(cls, host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan,
                    start: str) -> _Watch:
        there = await probe_destination(host, plan.directory, (), (config and config.bin_directory) or "")
        major = plan.source.major if plan.source is not None else None
        fitting = [each.directory for each in there.installations if each.major == major]
        return cls(host, config, server, plan, start, next(iter(fitting), ""))

    @property
    def is_refused(self) -> bool:
        """It takes logins, and none of ours, more than once."""
        return self._refusals > 1

    @property
    def is_up(self) -> bool:
        return self.report is not None or self.is_refused

    @property
    def lsn(self) -> Lsn | None:
        return self.report.lsn if self.report is not None else self.sight.consistent_to

    async def look(self) -> None:
        """One look; a host that is too slow to answer is looked at again, as long as the limits allow."""
        try:
            self.sight = await look_at_server(self._host, self.plan.directory, self._programs, self.sight.elsewhere)
        except Unreachable:
            raise
        except PgvaultError:
            return
        self.asked.seen(self.sight)
        if self.sight.alive:
            self._seen_alive, self._dead_looks = True, 0
            if self.sight.replayer is not None:
                self._replayers.append(self.sight.replayer)
        self.report = await self._asked() if self.sight.alive else None

    async def _asked(self) -> Report | None:
        if self.sight.status in ("starting", "standby", "stopping"):
            self._refusals = 0
            return None
        if time.monotonic() < self._ask_at:
            return None
        try:
            row = (await self.asked.ask(_REPORT.format(paused=self._is_paused)))[0]
        except NotAnswered as failure:
            self.refusal = failure.text
            if step := why_closed(failure.text):
                raise PgvaultError(f"no database of the restored server on {self._host.description} can be opened: "
                                   f"{failure.text}", detail="Its files are complete, and it runs.",
                                   hint=step) from None
            self._ask_at = time.monotonic() + _ASK_AGAIN_SECONDS[min(self._refusals, len(_ASK_AGAIN_SECONDS) - 1)]
            self._refusals += 1
            return None
        self._refusals, self.refusal = 0, ""
        return _report_of(row)

    @property
    def _is_paused(self) -> str:
        """Before PostgreSQL 14 it tells only that a pause was asked for, which at a target comes to the same."""
        old = self.plan.source is not None and self.plan.source.major < 14
        return "pg_is_wal_replay_paused()" if old else "pg_get_wal_replay_pause_state() = 'paused'"

    def signs(self) -> set[str]:
        return self.sight.signs_of_life() | ({str(self.report.lsn)} if self.report is not None else set())

    def must_live(self) -> None:
        """PgvaultError when it ended, never came, or crashes again and again."""
        if restarts_too_often(self._replayers):
            raise self._failure("crashes and starts again, over and over")
        if self.sight.alive:
            return
        self._dead_looks += 1
        began = self._seen_alive or bool(self.sight.log)
        if (self._dead_looks >= _SURE_LOOKS) if began else (time.monotonic() - self._began > ABSENT_SECONDS):
            raise self._failure("ended before it reached the target" if self._replayed else "did not start")

    @property
    def _replayed(self) -> bool:
        return self.sight.is_recovering or bool(self._replayers)

    def proof(self, arrived: Arrived) -> Proof:
        report = self.report
        lines = tuple(line for line in self.sight.log if _REACHED.search(line))
        lag = report.lag_bytes if report is not None and arrived.state == FOLLOWING else None
        seconds = report.lag_seconds if report is not None and lag is not None else None
        return Proof(arrived.state, report.last_commit if report else None, arrived.timeline, arrived.lsn, lines[-4:],
                     None if lag is None else max(lag, 0), 0.0 if lag is not None and lag <= 0 else seconds,
                     refusal=self.refusal if report is None and self.sight.alive else "")

    def went_astray(self, found: Astray) -> PgvaultError:
        plan, where = self.plan, f" at {found.lsn}" if found.lsn is not None else ""
        target = f"the target, {plan.stop_lsn}" if plan.stop_lsn is not None else "the target"
        if found.state == PROMOTED and isinstance(plan.target, EndOfWal) and not plan.standby:
            return WalMissing(f"the restored server left recovery{where}, before the end of the archived WAL",
                              detail=f"The archive reaches to {plan.stop_lsn}. {self._log_says()}",
                              hint=f"Do not use the server in {plan.directory}. Look for what is missing: "
                                   f"pgvault wal {plan.server}")
        if found.state == PAUSED:
            step = found.step.format(directory=plan.directory)
            return PgvaultError(f"the restored server is paused{where}, not at {target}"
                                f"{f': {found.reason}' if found.reason else ''}", detail=self._log_says(),
                                hint=f"The restored files are complete. {step}.")
        return PgvaultError(f"the restored server is {found.state}{where}, which was not asked for" if plan.standby else
                            f"the restored server is {found.state}{where}, not at {target}", detail=self._log_says(),
                            hint=f"Someone or something else did that; do not take the server in {plan.directory} for "
                                 "what was asked for.")

    @property
    def failures(self) -> list[str]:
        return [line for line in self.sight.log if FAILED.search(line)]

    def not_following(self) -> PgvaultError:
        said = self.failures
        return PgvaultError(
            f"the standby on {self._host.description} does not follow the original server",
            detail=f"It replayed all archived WAL and runs. Its log says: {' / '.join(said[-2:]) or 'nothing of it'}.",
            hint=f"Make primary_conninfo in {self.plan.directory}/postgresql.auto.conf right and reload it, or let it "
                 "reach the server: role, password (~/.pgpass), pg_hba.conf.")

    def stands_still(self, seconds: float) -> PgvaultError:
        where = f" at {self.lsn}" if self.lsn is not None else ""
        doing = f"It says that it does this: {self.sight.doing}. " if self.sight.doing else ""
        if self.is_refused:
            return PgvaultError(
                f"could not log in to the restored server on {self._host.description} to see whether it has arrived",
                detail=f"It refused: {self.refusal}. Its files say that it is {self.sight.state or 'in no known state'}"
                       f"{where}, and do not show whether that is the target. {doing}".strip(),
                hint=f"The restored files are complete and the server runs: look at it by hand, or let pgvault's role "
                     f"in ({self.plan.directory}/pg_hba.conf; conninfo of the host).")
        return PgvaultError(
            f"the restored server on {self._host.description} stands still{where}: nothing moved for "
            f"{span(round(seconds))}", detail=f"{doing}{self._log_says()}",
            hint=f"The restored files are complete and the server runs on: look at {self.plan.directory}/{LOG_FILE} "
                 "there, and whether its storage answers.")

    def _failure(self, what: str) -> PgvaultError:
        said = said_of_it(self.sight.log)
        return PgvaultError(
            f"the restored server on {self._host.description} {what}",
            detail=f"{self._log_says()} Its state is {self.sight.state or 'unknown'}.",
            hint=next_step(said, directory=self.plan.directory, start=self._start,
                           log=f"{self.plan.directory}/{LOG_FILE}"))

    def _log_says(self) -> str:
        return f"Its log says: {' / '.join(said_of_it(self.sight.log)) or 'nothing'}."


def _report_of(row: dict[str, object]) -> Report:
    limits = row["limits"] or {}
    assert isinstance(limits, dict)
    commit, lag, age = row["last_commit"], row["lag_bytes"], row["lag_seconds"]
    return Report(bool(row["in_recovery"]), position(str(row["lsn"] or "")),
                  instant(commit) if isinstance(commit, int) else None, bool(row["paused"]),
                  row["timeline"] if isinstance(row["timeline"], int) else None, lag if isinstance(lag, int) else None,
                  float(age) if isinstance(age, int | float) else None, limits)
