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
from pgvault.model.text import elapsed, size, span
from pgvault.model.times import utc


def show(plan: RestorePlan, context: Context, *, as_data: bool) -> None:
    """Show the plan on standard output if it was requested, else on standard error."""
    if context.json:
        if as_data:
            context.out.json(document(plan, _estimate(plan, context)))
        return
    out = context.out if as_data else context.err
    source, point, destination, replaced = plan.source, plan.point, plan.destination, plan.replaced
    stop = f" {'after' if point.stop_replayed else 'before'} {point.stop_lsn}" if point.stop_lsn else ""
    clock = " by the vault's clock" if plan.stop_clock == "vault" else ""
    stop += f", {utc(point.stop_time)}{clock}" if point.stop_time else ""
    listens = plan.configuration.listens
    out.fields([
        ("Backup", _describe_source(source.backup)),
        ("Destination", destination.place),
        ("Target", f"{describe(point.target)}; recovery stops{stop}"),
        ("Timeline", " -> ".join(map(str, point.timeline_path))),
        ("Then", "follow the original server" if point.standby else point.action.value),
        ("WAL", f"{source.wal.first} to {source.wal.last}, {source.wal.count} segments, all present"
                + (", the last one unfinished" if source.wal.partial else "")),
        ("Sends", f"{size(plan.cost.bytes_to_send)}, writes {size(plan.cost.bytes_to_write)}"),
        ("Takes", _describe_estimate(_estimate(plan, context))),
        *((f"Tablespace {space.name}", describe_tablespace(space)) for space in destination.tablespaces),
        *(("Prepared", f"{each} at the target") for each in source.prepared),
        *([("Expects", ", ".join(map(str, destination.expects)))] if destination.expects else []),
        *([("Listens", _describe_listening(listens))] if destination.start and listens else []),
        *([("Replaces", replaced.overwrites)] if replaced.overwrites else []),
        *([("Kept as", f"{replaced.kept_as}, JOB being this restore's job, until you remove it")]
          if replaced.kept_as else []),
        ("Command", _command(plan)),
    ], title=f"Restore of server {plan.server}:")
    show_conditions(plan.preconditions, out)
    for change in plan.configuration.settings_changed:
        out.line(f"  made safe: {describe_change(change)}")
    for change in plan.configuration.settings_to_look_at:
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
    source, point, destination, cost = plan.source, plan.point, plan.destination, plan.cost
    wal, configuration, replaced = source.wal, plan.configuration, plan.replaced
    return {
        "plan": "restore", "server": plan.server, "backup": source.backup.id, "backup_details": _source(source.backup),
        "target": {"kind": type(point.target).__name__, "text": describe(point.target), "stop_lsn": point.stop_lsn,
                   "stop_replayed": point.stop_replayed, "stop_time": point.stop_time,
                   "stop_clock": point.stop_time and plan.stop_clock},
        "prepared": list(source.prepared),
        "destination": {"host": destination.host, "directory": destination.directory,
                        "tablespaces": {space.name: space.location for space in destination.placed},
                        "tablespace_details": [{"oid": space.oid, "name": space.name, "original": space.original,
                                                "location": space.location or None,
                                                "created_after_backup_began": space.is_new,
                                                "dropped_before_target": space.is_gone}
                                               for space in destination.tablespaces],
                        "state": replaced.directory_state},
        "timeline": point.timeline, "timeline_path": list(point.timeline_path),
        "wal": {"first": wal.first, "last": wal.last, "segments": wal.count, "bytes": wal.bytes,
                "missing": list(wal.missing), "partial": wal.partial},
        "then": "follow" if point.standby else point.action.value, "start": destination.start,
        "recovery_settings": recovery_settings(source, point, destination),
        "bytes_to_send": cost.bytes_to_send, "bytes_to_write": cost.bytes_to_write,
        "space": [{"path": each.path, "mounted_on": each.mounted_on, "needed_bytes": each.needed,
                   "free_bytes": each.free} for each in cost.room],
        "estimate_seconds": None if takes.seconds is None else round(takes.seconds, 1), "estimate_basis": takes.basis,
        "overwrites": replaced.overwrites or None, "sets_aside": replaced.sets_aside,
        "kept_as": replaced.kept_as or None, "listens": configuration.listens,
        "settings_changed": list(configuration.settings_changed),
        "settings_to_look_at": list(configuration.settings_to_look_at),
        "expects": list(map(str, destination.expects)),
        "preconditions": list(plan.preconditions), "command": _command(plan),
    }


def _source(backup: Backup) -> dict[str, object]:
    """Return the parts of the documented backup object that the backup's own facts contain."""
    begin, end = backup.begin_segment, backup.end_segment
    return {
        "id": backup.id, "name": backup.name or None, "status": backup.status, "method": backup.method,
        "started_at": backup.started_at, "finished_at": backup.finished_at, "begin_lsn": backup.begin_lsn,
        "end_lsn": backup.end_lsn, "begin_wal": begin and begin.name(backup.segment_size),
        "end_wal": end and end.name(backup.segment_size), "timeline": backup.timeline,
        "system_identifier": backup.system_identifier, "server_version": backup.server_version,
        "data_directory": backup.data_directory, "tablespaces": backup.tablespaces, "size_bytes": backup.size_bytes,
        "stored_bytes": backup.stored_bytes, "file_count": backup.file_count, "corrupt_pages": backup.corrupt_pages}


def _describe_source(backup: Backup) -> str:
    """Describe the backup in one line. Its age is how far a restore goes back before the target."""
    age = f", {elapsed(backup.finished_at, datetime.now(UTC))} old" if backup.finished_at else ""
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
