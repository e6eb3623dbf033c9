"""Waits until the restored server has reached its target, and collects what it reports there.

Success is what PostgreSQL reports, not that files were copied: it left recovery, paused, or shut down at the target, on
which timeline, after which commit, and what its log has about it. The wait ends in a verdict or an error: it goes on as
long as something changes, however long that takes; without a change it has a limit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from pgvault.config.schema import HostConfig, ServerConfig
from pgvault.engine.restore.arrival import PAUSED, PROMOTED, Arrived, Astray, Goal, assess_arrival
from pgvault.engine.restore.astray import ended, not_following, stands_still, went_astray
from pgvault.engine.restore.condition import closed_databases, prepared_transactions, report_prepared
from pgvault.engine.restore.expect import find_expected
from pgvault.engine.restore.movement import Advance, Stillness
from pgvault.engine.restore.proof import Proof
from pgvault.engine.restore.start import Started
from pgvault.engine.restore.watch import SURE_LOOKS, Watch
from pgvault.io.host import Host
from pgvault.model.errors import Unreachable
from pgvault.model.event import Emit, Noted, PhaseStarted
from pgvault.model.lsn import Lsn
from pgvault.model.restore_plan import RestorePlan

SILENT_SECONDS = 300.0
"""The longest time without a change of a position, a file, or a working process, in seconds."""
REFUSED_SECONDS = 20.0
"""The same if no login succeeds and only files and processes can be examined."""
FOLLOW_SECONDS = 60.0
"""How long a standby that replays nothing more may take to reach the original server, in seconds."""
FAILING_SECONDS = 15.0
"""The same if its log shows that it tried more than once and failed."""
_POLL_SECONDS, _SLOWEST_POLL = 0.3, 5.0


async def prove(host: Host, config: HostConfig | None, server: ServerConfig, plan: RestorePlan, begin: Lsn,
                emit: Emit, *, started: Started) -> Proof:
    """Wait until the started server has reached the target, then check for what the restore was made for.

    Raises PgvaultError with the server's log if it cannot arrive or nothing changes any more. An expected table that is
    missing is reported, and raises nothing.
    """
    try:
        watch = await Watch.begin(host, config, server, plan, started)
        proof = await _reached(watch, begin, emit)
        if not proof.refusal:
            proof = replace(proof, closed=await closed_databases(watch.asked, emit))
        # A server that replays shows none; then the plan has them, from the WAL.
        reported = await prepared_transactions(watch.asked) if proof.state == PROMOTED and not proof.refusal else None
        proof = replace(proof, prepared=plan.source.prepared if reported is None else reported)
        report_prepared(proof.prepared, proof.state, emit)
        if plan.destination.expects:
            emit(PhaseStarted("look"))
            proof = replace(proof, expected=await find_expected(plan.destination.expects, watch.asked, emit))
        return proof
    except Unreachable as lost:
        raise Unreachable(lost.message, detail=f"{lost.detail} The restored files are complete and their server was "
                                               "started; whether it arrived is not known.".strip(),
                          hint=f"Look there, in {plan.destination.directory}: the server continues without pgvault.") \
            from lost


async def _reached(watch: Watch, begin: Lsn, emit: Emit) -> Proof:
    goal, plan = Goal.of(watch.plan), watch.plan
    advance, still = Advance(emit, begin, plan.point.stop_lsn), Stillness(emit)
    astray, failures, began = 0, 0, time.monotonic()
    while True:
        await watch.look()
        if advance.to(watch.lsn) or not watch.is_up:
            failures = len(watch.failures)
        verdict = assess_arrival(goal, watch.observation, watch.report, refused=watch.is_refused)
        if isinstance(verdict, Arrived):
            advance.end()
            if watch.report is None and watch.refusal:
                emit(Noted(f"the server takes no login for the proof ({watch.refusal}); its state is read from its "
                           "files and its log"))
            return watch.proof(verdict)
        moved = still.look(watch.signs(), watch.lsn, watch.observation.doing)
        is_astray = isinstance(verdict, Astray) and not (moved and verdict.state == PAUSED)
        astray = astray + 1 if is_astray else 0
        if isinstance(verdict, Astray) and astray >= SURE_LOOKS:
            raise went_astray(watch, verdict)
        if how := watch.how_it_ended():
            raise ended(watch, how)
        if plan.point.standby and watch.is_up:
            patience = FAILING_SECONDS if len(watch.failures) > failures + 1 else FOLLOW_SECONDS
            if advance.stands_for > min(patience, FOLLOW_SECONDS):
                raise not_following(watch)
        if still.seconds > _patience(watch):
            raise stands_still(watch, still.seconds)
        slow = 0.0 if astray else (time.monotonic() - began) / 100
        await asyncio.sleep(min(max(_POLL_SECONDS, slow), _SLOWEST_POLL))


def _patience(watch: Watch) -> float:
    """Return for how long nothing may move. A server that does not answer is not one that refuses."""
    return REFUSED_SECONDS if watch.is_refused and not watch.is_silent else SILENT_SECONDS
