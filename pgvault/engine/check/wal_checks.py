"""The checks of WAL: that it can arrive, that it does arrive, and that what arrived has no gaps.

WAL arrives in two ways, and one working way is enough: PostgreSQL runs its archive_command for each finished segment,
or `pgvault receive-wal` streams it. Checks of the unused way do not apply.
"""

from __future__ import annotations

import shlex

from pgvault.engine.check.facts import ServerState, Slot, WalFacts
from pgvault.engine.check.server_checks import finding_of
from pgvault.model.backup import BackupStatus
from pgvault.model.check import Finding, failed, not_applicable, ok, warning
from pgvault.model.errors import PgvaultError
from pgvault.model.majors import facts_of
from pgvault.model.segment import DEFAULT_SEGMENT_SIZE, Segment
from pgvault.model.text import size as size_of
from pgvault.model.text import span
from pgvault.model.times import utc
from pgvault.model.window import MINIMAL

FEW_SEGMENTS = 4
"""This many segments that have not arrived yet are normal."""
MANY_SEGMENTS = 64
"""This many segments that have not arrived mean that WAL arrives more slowly than it is written."""

_STREAMED = "not used: WAL is streamed"
_NO_WAY = "Nothing brings WAL to the vault: a backup can be restored, but no instant after it."


def archive_mode(state: ServerState) -> Finding:
    mode = state.sql_facts.settings.get("archive_mode", "off")
    if state.is_archive_mode_on:
        return ok()
    if state.is_streaming:
        return ok(_STREAMED)
    return failed(f"archive_mode = {mode}, and WAL is not streamed either", _NO_WAY,
                  f"ALTER SYSTEM SET archive_mode = on;\n{_set_archive_command(state)}\n-- then restart PostgreSQL\n"
                  f"or, without a restart: {_receive(state)}")


def wal_level(state: ServerState) -> Finding:
    level = state.sql_facts.settings.get("wal_level", "")
    if level != "minimal":
        return ok()
    return failed("wal_level = minimal", "Such WAL cannot make a backup consistent.",
                  "ALTER SYSTEM SET wal_level = replica;  -- then restart PostgreSQL")


def archive_command(state: ServerState) -> Finding:
    if not state.is_archive_mode_on:
        return ok(_STREAMED)
    command, library = state.sql_facts.settings.get("archive_command", "").strip(), state.archive_library
    if command and library:
        replaces = facts_of(state.sql_facts.server.major).library_replaces_command
        harm = "PostgreSQL 15 ignores archive_command then." if replaces else "PostgreSQL archives nothing then."
        return (warning if replaces and state.is_streaming else failed)(
            f"archive_library = {library} is set, too", harm,
            f"{_set_archive_command(state)}\nSELECT pg_reload_conf();")
    if state.is_archiving:
        return _named_in(command, state) or ok(f"not used: archive_library = {library}" if library else "")
    if not command:
        return (warning if state.is_streaming else failed)(
            "empty, although archive_mode is on", "PostgreSQL keeps every segment in pg_wal until it is archived, so "
            "the disk fills up.", f"{_set_archive_command(state)}\nSELECT pg_reload_conf();")
    if state.is_streaming:
        return ok(_STREAMED)
    return failed(f"{command!r} discards the WAL", _NO_WAY,
                  f"{_set_archive_command(state)}\nSELECT pg_reload_conf();\nor: {_receive(state)}")


def continuous_archiving(state: ServerState) -> Finding:
    archiver = state.sql_facts.archiver
    if not state.is_archiving:
        return ok(_STREAMED)
    if archiver.fails:
        assert archiver.last_failed_at
        since = f"the last success was at {utc(archiver.last_archived_at.replace(microsecond=0))}" \
            if archiver.last_archived_at else "it never succeeded"
        return failed(
            f"archiving {archiver.last_failed} failed at {utc(archiver.last_failed_at.replace(microsecond=0))}, "
            f"{since}", "The archive_command (or archive_library) reports an error. PostgreSQL retries and keeps "
            "its segments: pg_wal grows.",
            f"Find the command's output in the server's log: SELECT pg_current_logfile();\n"
            f"After correcting the cause, test it: pgvault switch-wal {state.server.name}")
    if archiver.last_archived_at is None:
        return warning("nothing was archived yet", "PostgreSQL archives a segment when it is full or closed.",
                       f"pgvault switch-wal {state.server.name}")
    return ok()


def replication_slot(state: ServerState) -> Finding:
    slot = state.sql_facts.slot
    if slot is None:
        return _without_slot(state)
    if slot.kind != "physical":
        return failed(f"{slot.name} is a {slot.kind} slot", "Streaming needs a physical slot.",
                      f'Set slot_name of [servers.{state.server.name}] to another name, such as "pgvault_wal".')
    if slot.wal_status == "lost":
        return failed(
            f"{slot.name} is lost: the server removed WAL that the slot had reserved",
            "The receiver did not run while the server wrote more WAL than max_slot_wal_keep_size "
            f"({state.sql_facts.settings.get('max_slot_wal_keep_size', '?')} MB).",
            f"{_receive(state)}   # creates the slot again; the lost WAL leaves a gap\n"
            f"pgvault backup {state.server.name}        # makes the gap harmless")
    return _slot_lag(state, slot)


def _without_slot(state: ServerState) -> Finding:
    name = state.server.slot_name
    if state.vault.receiver is None:
        return not_applicable("not used: WAL is archived by PostgreSQL")
    return warning(f"{name} does not exist, although a receiver runs", "The receiver creates it when it is "
                   "connected; until then the server may remove WAL that is not received yet.",
                   f"{_receive(state)} --stop\n{_receive(state)}   # it reports why it cannot connect")


def _slot_lag(state: ServerState, slot: Slot) -> Finding:
    use = "active" if slot.active else "inactive"
    if slot.restart_lsn is None:
        return ok(f"{slot.name}, {use}, retains no WAL yet")
    size = state.sql_facts.server.segment_size
    kept = max(0, state.sql_facts.lsn - slot.restart_lsn)
    detail = f"{slot.name}, {use}, {size_of(kept)} behind"
    if slot.wal_status == "unreserved":
        return warning(detail, "The server is about to remove WAL that is not received yet.", _receive(state))
    if kept > MANY_SEGMENTS * size:
        return warning(detail, "The server retains that WAL until the receiver has received it.",
                       _receive_or_drop(state, slot))
    return ok(detail)


def receive_wal(state: ServerState) -> Finding:
    slot = state.sql_facts.slot
    if state.vault.receiver is not None:
        silence = state.vault.unheard(state.at)
        if silence is None and (slot is None or slot.active):
            return ok(state.vault.receiver)
        what = "not connected to the server" if silence is None else \
            f"it has received nothing for {span(int(silence.total_seconds()))}"
        return warning(f"{state.vault.receiver}, but {what}", "It retries by itself.",
                       f"{_receive(state)} --stop\n{_receive(state)}   # it reports why it cannot connect")
    if slot is None:
        return not_applicable("not used: WAL is archived by PostgreSQL")
    if slot.active:
        return failed(f"not running here, but slot {slot.name} is in use", "Another program streams through this slot.",
                      f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{slot.name}';  -- its process")
    report = warning if state.is_archiving else failed
    return report(f"not running, and slot {slot.name} retains WAL for it",
                  "WAL is not streamed to the vault, and the server retains all of it in pg_wal.",
                  _receive_or_drop(state, slot))


def arriving(state: ServerState) -> Finding:
    """Find segments that the server has finished and the vault does not have. All that it reports as archived are in
    the index."""
    wal, facts, name = state.vault.wal, state.sql_facts, state.server.name
    if isinstance(wal, PgvaultError):
        return finding_of(wal)
    size, timeline = facts.server.segment_size, facts.timeline
    newest = wal.newest.get(timeline)
    if elsewhere := _archived_elsewhere(state, wal):
        return elsewhere
    if newest is None:
        return warning(f"no segment of timeline {timeline} has arrived yet", _waiting(state),
                       _archive_incoming(state) or f"pgvault switch-wal {name}")
    behind = wal.behind(timeline, facts.lsn, size) or 0
    detail = f"newest {Segment(timeline, newest).name(size)}, {behind} behind"
    if behind <= FEW_SEGMENTS and not state.vault.incoming:
        return ok(detail)
    report = failed if behind > MANY_SEGMENTS else warning
    return report(detail, _waiting(state) or "WAL is written faster than it arrives, or archiving is stuck.",
                  _archive_incoming(state) or f"Check the archiver: SELECT * FROM pg_stat_archiver;\n"
                  f"and the archived WAL: pgvault wal {name}")


def gaps(state: ServerState) -> Finding:
    wal, name = state.vault.wal, state.server.name
    if isinstance(wal, PgvaultError):
        return finding_of(wal)
    done = {b.id for b in state.vault.backups if b.status is BackupStatus.DONE}
    size = _segment_size(state)
    harmful = wal.survey.harmful_gaps
    broken = [each for each in wal.survey.broken if each.backup in done]
    if not harmful and not broken:
        passed = sum(len(timeline.gaps) for timeline in wal.survey.timelines)
        return ok(f"{passed} before the newest backup begins" if passed else "")
    problems = [f"{gap.missing} missing after {gap.after.name(size)}" for gap in harmful]
    problems += [f"backup {each.backup} cannot be restored: {each.described(size)}" for each in broken]
    usable = state.vault.good_backups
    report = failed if usable or broken else warning
    return report("; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
                  "Nothing after a gap can be restored until a newer backup is taken.",
                  f"If the server or another archive still has them: pgvault put-wal {name} NAME < FILE\n"
                  f"otherwise: pgvault backup {name}")


def breaks(state: ServerState) -> Finding:
    wal, name = state.vault.wal, state.server.name
    if isinstance(wal, PgvaultError):
        return finding_of(wal)
    size, found = _segment_size(state), wal.survey.harmful_breaks
    if not found:
        return ok()
    shown = [f"{each.reason} behind {each.lsn} in {each.segment.name(size)}" for each in found[:3]]
    damage = next((each.segment.name(size) for each in found if each.cause != MINIMAL), "")
    return failed("; ".join(shown) + (f"; and {len(found) - 3} more" if len(found) > 3 else ""),
                  "Nothing after that position can be restored until a newer backup is taken.",
                  f"pgvault backup {name}"
                  + (f"\nIf the server or an archive has an intact {damage}: pgvault put-wal {name} {damage} < FILE\n"
                     "Check the disks and the memory of the vault and of the server." if damage else ""))


def histories(state: ServerState) -> Finding:
    wal, name = state.vault.wal, state.server.name
    if isinstance(wal, PgvaultError):
        return finding_of(wal)
    missing = [f"{timeline:08X}.history" for timeline in wal.survey.without_history]
    if not missing:
        return ok()
    return failed(f"{', '.join(missing)} missing", "Without it the branch point of that timeline is unknown, so its "
                  "WAL cannot follow a backup of an earlier timeline.",
                  "\n".join(f"On the server: pgvault put-wal {name} {each} < PGDATA/pg_wal/{each}" for each in missing)
                  + f"\nor: pgvault backup {name}")


def quarantine(state: ServerState) -> Finding:
    if not state.vault.quarantined:
        return ok()
    count, place = state.vault.quarantined, state.vault.places[0].path / state.server.name / "quarantine"
    return warning(f"{count} {'file' if count == 1 else 'files'}", "They were not accepted; each has a reason file.",
                   f"cat {shlex.quote(str(place))}/*.reason   # then remove the files")


def _archived_elsewhere(state: ServerState, wal: WalFacts) -> Finding | None:
    archiver, size = state.sql_facts.archiver, state.sql_facts.server.segment_size
    if not state.is_archiving or archiver.last_archived_at is None or state.vault.incoming:
        return None
    try:
        last = Segment.parse(archiver.last_archived, size)
    except ValueError:  # a history or a label file
        return None
    if wal.newest.get(last.timeline, -1) >= last.number:
        return None
    archives_by = "archive_library" if state.archive_library else "archive_command"
    return failed(
        f"PostgreSQL archived {archiver.last_archived} at {utc(archiver.last_archived_at.replace(microsecond=0))}, "
        "but it is not in the vault", f"Its {archives_by} succeeds without bringing the file here.",
        f"{_set_archive_command(state)}\nSELECT pg_reload_conf();\npgvault switch-wal {state.server.name}")


def _named_in(command: str, state: ServerState) -> Finding | None:
    """Find an archive_command that was copied from another server, which would archive under that server's name."""
    words = command.split()
    if "put-wal" not in words or state.server.name in words[words.index("put-wal"):]:
        return None
    return failed(f"it does not name {state.server.name}: {command}", "WAL is archived under another server's name.",
                  f"{_set_archive_command(state)}\nSELECT pg_reload_conf();")


def _segment_size(state: ServerState) -> int:
    if state.vault.identity:
        return state.vault.identity.segment_size
    return state.vault.backups[-1].segment_size if state.vault.backups else DEFAULT_SEGMENT_SIZE


def _waiting(state: ServerState) -> str:
    count = state.vault.incoming
    return f"{count} {'file waits' if count == 1 else 'files wait'} in the incoming directory." if count else ""


def _archive_incoming(state: ServerState) -> str:
    return f"pgvault archive-wal {state.server.name}" if state.vault.incoming else ""


def _set_archive_command(state: ServerState) -> str:
    """Return the statements with which PostgreSQL archives by the command; a library would have precedence."""
    library = "ALTER SYSTEM SET archive_library = '';\n" if state.archive_library else ""
    command = f"ssh {state.vault.login} pgvault put-wal {state.server.name} %f < %p"
    return f"{library}ALTER SYSTEM SET archive_command = '{command}';"


def _receive(state: ServerState) -> str:
    return f"pgvault receive-wal {state.server.name}"


def _receive_or_drop(state: ServerState, slot: Slot) -> str:
    return f"{_receive(state)}\nor, if WAL should not be streamed: SELECT pg_drop_replication_slot('{slot.name}');"
