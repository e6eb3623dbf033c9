"""A restore plan, shown to a person and as the JSON document of the contract."""

from __future__ import annotations

import shlex

from pgvault.cli.context import Context
from pgvault.model.restore_plan import RestorePlan, SettingChange
from pgvault.model.target import describe
from pgvault.model.text import size
from pgvault.model.times import utc


def where(plan: RestorePlan) -> str:
    return f"{plan.host or 'this machine'}:{plan.directory}"


def show(plan: RestorePlan, context: Context, *, as_data: bool) -> None:
    """On standard output when it is what was asked for, else as talk beside the job."""
    if context.json:
        if as_data:
            context.out.json(document(plan))
        return
    out = context.out if as_data else context.err
    path = " -> ".join(map(str, plan.timeline_path))
    stop = f" {'after' if plan.stop_replayed else 'before'} {plan.stop_lsn}" if plan.stop_lsn else ""
    stop += f", {utc(plan.stop_time)}" if plan.stop_time else ""
    out.fields([
        ("Backup", plan.backup),
        ("Destination", where(plan)),
        ("Target", f"{describe(plan.target)}; recovery stops{stop}"),
        ("Timeline", path),
        ("Then", "follow the original server" if plan.standby else plan.action.value),
        ("WAL", f"{plan.wal.first} to {plan.wal.last}, {plan.wal.count} segments, all present"
                + (", the last one unfinished" if plan.wal.partial else "")),
        ("Sends", f"{size(plan.bytes_to_send)}, writes {size(plan.bytes_to_write)}"),
        *((f"Tablespace {s.name}", s.location) for s in plan.tablespaces),
        *([("Expects", ", ".join(map(str, plan.expects)))] if plan.expects else []),
        *([("Replaces", plan.overwrites)] if plan.overwrites else []),
        ("Command", _command(plan)),
    ], title=f"Restore of server {plan.server}:")
    for condition in plan.preconditions:
        paint = {"ok": "good", "warning": "warn", "failed": "bad"}[condition.outcome.value]
        out.line(f"  {out.paint(condition.outcome.value.upper(), paint)}: {condition.name}"
                 + (f" ({condition.detail})" if condition.detail else ""))
        if condition.fix and condition.outcome.value != "ok":
            out.line(f"      {condition.fix}")
    for change in plan.settings_changed:
        out.line(f"  made safe: {told(change)}")
    for change in plan.settings_to_look_at:
        out.line(f"  look at: {told(change)}")


def told(change: SettingChange) -> str:
    if not change.line:
        return f"{change.file}: {change.action}"
    return f"{change.file} line {change.line}: {change.name} = {change.was} ({change.action})"


def document(plan: RestorePlan) -> dict[str, object]:
    """The plan in the fields of the contract."""
    return {
        "plan": "restore", "server": plan.server, "backup": plan.backup,
        "target": {"kind": type(plan.target).__name__, "text": describe(plan.target), "stop_lsn": plan.stop_lsn,
                   "stop_replayed": plan.stop_replayed,
                   "stop_time": plan.stop_time},
        "destination": {"host": plan.host, "directory": plan.directory,
                        "tablespaces": {s.name: s.location for s in plan.tablespaces}},
        "timeline": plan.timeline, "timeline_path": list(plan.timeline_path),
        "wal": {"first": plan.wal.first, "last": plan.wal.last, "segments": plan.wal.count,
                "bytes": plan.wal.bytes, "missing": list(plan.wal.missing), "partial": plan.wal.partial},
        "bytes_to_send": plan.bytes_to_send, "bytes_to_write": plan.bytes_to_write, "estimate_seconds": None,
        "overwrites": plan.overwrites or None,
        "settings_changed": list(plan.settings_changed), "settings_to_look_at": list(plan.settings_to_look_at),
        "expects": list(map(str, plan.expects)),
        "preconditions": list(plan.preconditions), "command": _command(plan),
    }


def _command(plan: RestorePlan) -> str:
    return shlex.join(plan.to_argv())
