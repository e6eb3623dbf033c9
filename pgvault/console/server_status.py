"""The status of a server in the words and cells of the console: pure, from the reports of the vault and the checks.

What is unknown is never drawn as good: not read yet, not checked and no answer all look different from OK.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pgvault.config.schema import ServerConfig
from pgvault.console.check_rows import first_failure, outcome_style
from pgvault.console.checks import Checked, Checks, NoAnswer
from pgvault.console.fields import Field, failed
from pgvault.console.glyphs import Glyphs
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.protection import Protection, ProtectionState, are_too_few, is_too_old
from pgvault.model.text import UNKNOWN, Painted, Part, age, ago, size, span
from pgvault.model.times import exact

Known = Protection | PgvaultError | None
"""The protection as read: None before it was read, an error if the query failed."""
INDENT = 12
_WELL = "everything that was promised can be restored"
_STATES = {ProtectionState.OK: ("good", "good"), ProtectionState.WARNING: ("warning", "warn"),
           ProtectionState.FAILED: ("failed", "bad"), ProtectionState.UNKNOWN: ("unknown", "warn")}


# In the list of servers


def state_of(known: Protection | PgvaultError, checked: Checked | None) -> ProtectionState:
    """Return the vault's own state, but never OK if a check failed: further WAL and backups may not be stored."""
    if not isinstance(known, Protection):
        return ProtectionState.UNKNOWN
    has_failed = checked is not None and checked.outcome is Outcome.FAILED
    return ProtectionState.WARNING if has_failed and known.state is ProtectionState.OK else known.state


def state_part(known: Known, checked: Checked | None, glyphs: Glyphs) -> Painted:
    if known is None:
        return Painted("reading", "dim")
    state = state_of(known, checked)
    glyph, style = _STATES[state]
    return Painted(f"{getattr(glyphs, glyph)} {state.value.upper()}", style)


def counted(known: Iterable[tuple[Known, Checked | None]]) -> str:
    """Count the servers in trouble, the worst first: `2 FAILED, 1 WARNING`; empty if none that was read is."""
    states = [state_of(each, checked) for each, checked in known if each]
    troubles = (ProtectionState.FAILED, ProtectionState.UNKNOWN, ProtectionState.WARNING)
    return ", ".join(f"{number:,} {state.value.upper()}" for state in troubles if (number := states.count(state)))


def last_backup(known: Known, now: datetime) -> Part:
    """Return the last backup's age; `none` is a finding, `-` is unknown."""
    if not isinstance(known, Protection) or (known.state is ProtectionState.UNKNOWN and not known.last_backup):
        return Painted("-", "dim")
    return age(known.last_backup.finished_at, now) if known.last_backup else Painted("none", "bad")


def reach(known: Known, now: datetime) -> Part:
    """Return the span to which the server can be restored: `3d to 10m ago`."""
    if not isinstance(known, Protection) or (known.state is ProtectionState.UNKNOWN and not known.window):
        return Painted("-", "dim")
    if known.window is None:
        return Painted("nothing", "bad")
    begin, until = (age(moment, now, minutes_below=200) for moment in (known.window.from_time, known.window.until_time))
    return f"{begin} ago" if until in (UNKNOWN, begin) else f"{begin} to {until} ago"


def wal(known: Known) -> Part:
    """Describe how WAL arrives, or which WAL is missing."""
    if not isinstance(known, Protection):
        return Painted("-", "dim")
    if missing := sum(gap.missing for gap in known.gaps):
        return Painted(f"{missing:,} missing", "bad")
    if known.unheard:
        return Painted(f"silent {age(known.read_at - known.unheard, known.read_at)}", "warn")
    return "streaming" if known.receiver else Painted("no receiver", "dim")


def check_part(checks: Checks, server: str, now: datetime) -> Painted:
    """Return the outcome of the last check with its age; never good if there was none."""
    if server in checks.running:
        return Painted("running", "accent")
    if server in checks.missing:
        return Painted("no answer", "warn")
    if (found := checks.found.get(server)) is None:
        return Painted("not run", "dim")
    word, style = outcome_style(found.outcome)
    return Painted(f"{word} {age(found.at, now)}", style)


# Details


def status_fields(known: Known, server: ServerConfig, checked: Checked | None, missing: NoAnswer | None,
                  now: datetime, *, read_only: bool) -> Iterator[Field]:
    """Yield the worst reason and the next step, which have to be seen; then the other reasons and what can be restored.
    """
    if known is None:
        yield Field("", "The vault is being read.", "dim", 1)
    elif isinstance(known, PgvaultError):
        yield from _unknown(known, known.message)
    elif known.state is ProtectionState.UNKNOWN:
        yield from _unknown(known.failure, known.reason)
        yield from _facts(known)
    else:
        state = state_of(known, checked)
        _, style = _STATES[state]
        yield Field(state.value.upper(), known.reason or _failed_check(checked, now) or _WELL, style, INDENT)
        if step := next_step(known, server, checked, missing, now, read_only=read_only):
            yield Field("next step", step, "bold", INDENT)
        for number, reason in enumerate(known.reasons[1:]):
            yield Field("" if number else "also", reason, "", INDENT)
        yield from _facts(known)


def _unknown(failure: PgvaultError | None, reason: str) -> Iterator[Field]:
    """Return an unknown state. It is drawn as every error is, but for the word: the server did not fail."""
    yield Field("UNKNOWN", reason, "warn", INDENT)
    if failure:
        yield from (field for field in failed(failure, indent=INDENT) if field.name != "failed")
    if not failure or not failure.hint:
        yield Field("next step", "x checks the server and its vault, and says what to do", "bold", INDENT)


def _failed_check(checked: Checked | None, now: datetime) -> str:
    """Return the first failed check as a reason, with its time: the vault alone, and `pgvault status` now, may report
    something else.
    """
    worst = first_failure(checked.findings) if checked and checked.outcome is Outcome.FAILED else None
    if not checked or not worst:
        return ""
    return f"the check {worst.name} failed {ago(checked.at, now)}: {worst.detail or worst.cause}"


def next_step(known: Protection, server: ServerConfig, checked: Checked | None, missing: NoAnswer | None, now: datetime,
              *, read_only: bool) -> str:
    """Return what to do about the state; empty if there is nothing to do. A check without an answer precedes the
    findings of an earlier one.
    """
    back_up = f"pgvault backup {server.name}" if read_only else "b"
    if missing and state_of(known, checked) is not ProtectionState.OK:
        return missing.failure.hint or "the checks below say why the server could not be checked"
    if checked and (worst := first_failure(checked.findings)) and worst.fix:
        return f"{worst.name}: {worst.fix}"
    if known.state is ProtectionState.OK:
        return ""
    if known.last_backup is None:
        return f"{back_up} takes a backup; x checks that all it needs is there"
    if known.state is ProtectionState.FAILED or known.gaps:
        return f"{back_up} takes a new backup, from which everything to come can be restored; 3 shows what is missing"
    if is_too_old(known.last_backup, server.last_backup_maximum_age, now) or \
            are_too_few(known.backup_count, server.minimum_redundancy):
        return f"{back_up} takes one"
    return "x checks the server, and says what to do"


def _facts(known: Protection) -> Iterator[Field]:
    if window := known.window:
        begin = exact(window.from_time) if window.from_time else UNKNOWN
        until = f" to {exact(window.until_time)}" if window.until_time else "; nothing was committed since"
        yield Field("restorable", f"{begin}{until}, timeline {window.timeline}", "", INDENT)
    if last := known.last_backup:
        took = f" in {span((last.finished_at - last.started_at).total_seconds())}" if last.finished_at else ""
        good = f"{known.backup_count:,} good, last {last.id}{took}"
        yield Field("backups", f"{good}; {size(known.stored_bytes)} with WAL", "", INDENT)
    if known.receiver:
        yield Field("receiver", known.receiver, "", INDENT)
