"""The errors of a restored server that does not arrive, with the next step."""

from __future__ import annotations

from pgvault.engine.restore.arrival import PAUSED, PROMOTED, Astray
from pgvault.engine.restore.contents import LOG_FILE
from pgvault.engine.restore.watch import Watch
from pgvault.engine.restore.why_ended import cause_lines, next_step
from pgvault.model.errors import PgvaultError, WalMissing
from pgvault.model.target import EndOfWal
from pgvault.model.text import span

_FULL = "No space left on device"
"""The cause shown for a full file system, which the server itself may be unable to report."""


def went_astray(watch: Watch, found: Astray) -> PgvaultError:
    plan, point, where = watch.plan, watch.plan.point, f" at {found.lsn}" if found.lsn is not None else ""
    target = f"the target, {point.stop_lsn}" if point.stop_lsn is not None else "the target"
    if found.state == PROMOTED and isinstance(point.target, EndOfWal) and not point.standby:
        return WalMissing(f"the restored server left recovery{where}, before the end of the archived WAL",
                          detail=f"The archive reaches to {point.stop_lsn}. {_log_says(watch)}",
                          hint=f"Do not use the server in {watch.directory}. Look for what is missing: "
                               f"pgvault wal {plan.server}")
    if found.state == PAUSED:
        step = found.step.format(directory=watch.directory)
        before = "" if point.standby else f", before {target}" if found.lsn is not None else f", not at {target}"
        return PgvaultError(f"the restored server is paused{where}{before}"
                            f"{f': {found.reason}' if found.reason else ''}", detail=_log_says(watch),
                            hint=f"The restored files are complete. {step}.")
    return PgvaultError(f"the restored server is {found.state}{where}, which was not asked for" if point.standby else
                        f"the restored server is {found.state}{where}, not at {target}", detail=_log_says(watch),
                        hint=f"Someone or something else did that; do not take the server in {watch.directory} for "
                             "what was asked for.")


def not_following(watch: Watch) -> PgvaultError:
    failures = watch.failures
    return PgvaultError(
        f"the standby on {watch.host.description} does not follow the original server",
        detail=f"It replayed all archived WAL and runs. Its log says: {' / '.join(failures[-2:]) or 'nothing of it'}.",
        hint=f"Make primary_conninfo in {watch.directory}/postgresql.auto.conf right and reload it, or let it "
             "reach the server: role, password (~/.pgpass), pg_hba.conf.")


def stands_still(watch: Watch, seconds: float) -> PgvaultError:
    where = f" at {watch.lsn}" if watch.lsn is not None else ""
    doing = f"It says that it does this: {watch.observation.doing}. " if watch.observation.doing else ""
    if watch.is_refused and not watch.is_silent:
        return PgvaultError(
            f"could not log in to the restored server on {watch.host.description} to see whether it has arrived",
            detail=f"It refused: {watch.refusal}. Its files say that it is "
                   f"{watch.observation.state or 'in no known state'}{where}, and do not show whether that is the "
                   f"target. {doing}".strip(),
            hint=f"The restored files are complete and the server runs: look at it by hand, or let pgvault's role "
                 f"in ({watch.directory}/pg_hba.conf; conninfo of the host).")
    silence = f"It does not answer: {watch.refusal}. " if watch.is_refused else ""
    return PgvaultError(
        f"the restored server on {watch.host.description} stands still{where}: nothing moved for "
        f"{span(round(seconds))}", detail=f"{doing}{silence}{_log_says(watch)}",
        hint=f"The restored files are complete and the server runs on: look at {watch.directory}/{LOG_FILE} "
             "there, and whether its storage answers.")


def ended(watch: Watch, what: str) -> PgvaultError:
    """Return the error of a server that ended. `what` completes the sentence, as in "did not start"."""
    log_lines = [*cause_lines(watch.observation.log), *([_FULL] if watch.observation.is_full else [])]
    gave_up = f" {watch.gave_up}." if watch.gave_up and not watch.observation.log else ""
    return PgvaultError(
        f"the restored server on {watch.host.description} {what}",
        detail=f"{_log_says(watch)}{gave_up} Its state is {watch.observation.state or 'unknown'}.",
        hint=next_step(log_lines, directory=watch.directory, start=watch.start,
                       log=f"{watch.directory}/{LOG_FILE}"))


def _log_says(watch: Watch) -> str:
    full = f" {_FULL} there." if watch.observation.is_full else ""
    return f"Its log says: {' / '.join(cause_lines(watch.observation.log)) or 'nothing'}.{full}"
