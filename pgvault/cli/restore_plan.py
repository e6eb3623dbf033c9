"""Shows a restore plan as text and as the documented JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from pgvault.cli.context import Context
from pgvault.cli.output import Output
from pgvault.engine.restore.contents import recovery_settings
from pgvault.engine.restore.spaces import describe_tablespace
from pgvault.jobs.measured import measured_restores
from pgvault.model.backup import Backup
from pgvault.model.estimate import Estimate, estimate
from pgvault.model.restore_plan import Listening, Precondition, RestorePlan, SettingChange
from pgvault.model.target import describe
from pgvault.model.text import size, span
from pgvault.model.times import utc


def where(plan: RestorePlan) -> str:
    return f"{plan.host or 'this machine'}:{plan.directory}"


def show(plan: RestorePlan, context: Context, *, as_data: bool) -> None:
    """Show the plan on standard output if it was requested, else on standard error."""
    if context.json:
        if as_data:
            context.out.json(document(plan, _estimate(plan, context)))
        return
    out = context.out if as_data else context.err
    path = " -> ".join(map(str, plan.timeline_path))
    stop = f" {'after' if plan.stop_replayed else 'before'} {plan.stop_lsn}" if plan.stop_lsn else ""
    clock = " by the vault's clock" if plan.stop_clock == "vault" else ""
    stop += f", {utc(plan.stop_time)}{clock}" if plan.stop_time else ""
    out.fields([
        ("Backup", _describe_source(plan)),
        ("Destination", where(plan)),
        ("Target", f"{describe(plan.target)}; recovery stops{stop}"),
        ("Timeline", path),
        ("Then", "follow the original server" if plan.standby else plan.action.value),
        ("WAL", f"{plan.wal.first} to {plan.wal.last}, {plan.wal.count} segments, all present"
                + (", the last one unfinished" if plan.wal.partial else "")),
        ("Sends", f"{size(plan.bytes_to_send)}, writes {size(plan.bytes_to_write)}"),
        ("Takes", _describe_estimate(_estimate(plan, context))),
        *((f"Tablespace {space.name}", describe_tablespace(space)) for space in plan.tablespaces),
        *(("Prepared", f"{each} at the target") for each in plan.prepared),
        *([("Expects", ", ".join(map(str, plan.expects)))] if plan.expects else []),
        *([("Listens", _describe_listening(plan.listens))] if plan.start and plan.listens else []),
        *([("Replaces", plan.overwrites)] if plan.overwrites else []),
        *([("Kept as", f"{plan.kept_as}, JOB being this restore's job, until you remove it")] if plan.kept_as else []),
        ("Command", _command(plan)),
    ], title=f"Restore of server {plan.server}:")
    show_conditions(plan.preconditions, out)
    for change in plan.settings_changed:
        out.line(f"  made safe: {describe_change(change)}")
    for change in plan.settings_to_look_at:
        out.line(f"  review: {describe_change(change)}")


def show_conditions(conditions: Iterable[Precondition], out: Output) -> None:
    for condition in conditions:
        paint = {"ok": "good", "warning": "warn", "failed": "bad"}[condition.outcome.value]
        out.line(f"  {out.paint(condition.outcome.value.upper(), paint)}: {condition.name}"
                 + (f" ({condition.detail})" if condition.detail else ""))
        if condition.fix and condition.outcome.value != "ok":
            out.line(f"      {condition.fix}")


def _estimate(plan: RestorePlan, context: Context) -> Estimate:
    return estimate(plan, measured_restores(context.config.vault.home))


def describe_change(change: SettingChange) -> str:
    if not change.line:
        return f"{change.file}: {change.action}"
    return f"{change.file} line {change.line}: {change.name} = {change.was} ({change.action})"


def document(plan: RestorePlan, takes: Estimate) -> dict[str, object]:
    """Return the documented JSON object."""
    return {
        "plan": "restore", "server": plan.server, "backup": plan.backup, "backup_details": _source(plan.source),
        "target": {"kind": type(plan.target).__name__, "text": describe(plan.target), "stop_lsn": plan.stop_lsn,
                   "stop_replayed": plan.stop_replayed,
                   "stop_time": plan.stop_time, "stop_clock": plan.stop_time and plan.stop_clock},
        "prepared": list(plan.prepared),
        "destination": {"host": plan.host, "directory": plan.directory,
                        "tablespaces": {space.name: space.location for space in plan.placed},
                        "tablespace_details": [{"oid": space.oid, "name": space.name, "original": space.original,
                                                "location": space.location or None,
                                                "created_after_backup_began": space.is_new,
                                                "dropped_before_target": space.is_gone}
                                               for space in plan.tablespaces],
                        "state": plan.directory_state},
        "timeline": plan.timeline, "timeline_path": list(plan.timeline_path),
        "wal": {"first": plan.wal.first, "last": plan.wal.last, "segments": plan.wal.count,
                "bytes": plan.wal.bytes, "missing": list(plan.wal.missing), "partial": plan.wal.partial},
        "then": "follow" if plan.standby else plan.action.value, "start": plan.start,
        "recovery_settings": recovery_settings(plan),
        "bytes_to_send": plan.bytes_to_send, "bytes_to_write": plan.bytes_to_write,
        "space": [{"path": each.path, "mounted_on": each.mounted_on, "needed_bytes": each.needed,
                   "free_bytes": each.free} for each in plan.room],
        "estimate_seconds": None if takes.seconds is None else round(takes.seconds, 1), "estimate_basis": takes.basis,
        "overwrites": plan.overwrites or None, "sets_aside": plan.sets_aside, "kept_as": plan.kept_as or None,
        "listens": plan.listens,
        "settings_changed": list(plan.settings_changed), "settings_to_look_at": list(plan.settings_to_look_at),
        "expects": list(map(str, plan.expects)),
        "preconditions": list(plan.preconditions), "command": _command(plan),
    }


def _source(backup: Backup | None) -> dict[str, object] | None:
    """Return the parts of the documented backup object that the backup's own facts contain."""
    if backup is None:
        return None
    begin, end = backup.begin_segment, backup.end_segment
    return {
        "id": backup.id, "name": backup.name or None, "status": backup.status, "method": backup.method,
        "started_at": backup.started_at, "finished_at": backup.finished_at, "begin_lsn": backup.begin_lsn,
        "end_lsn": backup.end_lsn, "begin_wal": begin and begin.name(backup.segment_size),
        "end_wal": end and end.name(backup.segment_size), "timeline": backup.timeline,
        "system_identifier": backup.system_identifier, "server_version": backup.server_version,
        "data_directory": backup.data_directory, "tablespaces": backup.tablespaces, "size_bytes": backup.size_bytes,
        "stored_bytes": backup.stored_bytes, "file_count": backup.file_count, "corrupt_pages": backup.corrupt_pages}


def _describe_source(plan: RestorePlan) -> str:
    """Describe the backup in one line. Its age is how far a restore goes back before the target."""
    backup = plan.source
    if backup is None:
        return plan.backup
    age = f", {span(round((datetime.now(UTC) - backup.finished_at).total_seconds()))} old" if backup.finished_at else ""
    return f"{backup.id}{age}, PostgreSQL {backup.server_version}, {size(backup.size_bytes)}"


def _describe_listening(listens: Listening) -> str:
    sockets = "the programs' default" if listens.socket_directories is None else \
        ", ".join(listens.socket_directories) or "none"
    return f"port {listens.port}; TCP on {', '.join(listens.addresses) or 'no address'}; sockets: {sockets}"


def _describe_estimate(takes: Estimate) -> str:
    return f"about {span(round(takes.seconds))}, {takes.basis}" if takes.seconds is not None else \
        f"not known: {takes.basis}"


def _command(plan: RestorePlan) -> str:
    return shlex.join(plan.to_argv())
