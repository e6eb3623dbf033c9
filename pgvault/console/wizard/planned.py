"""The plan of a restore as `pgvault restore --dry-run` told it, said line by line for the review."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgvault.console.fields import LABEL, Field
from pgvault.console.wizard.answer import moment
from pgvault.console.wizard.draft import Draft, Then
from pgvault.console.wizard.typed import readings
from pgvault.model.text import size, span

_STYLES = {"ok": "good", "warning": "warn", "failed": "bad"}
_OUTCOME = 9
"""Columns of its word."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, from its JSON document."""

    document: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """The words behind `pgvault` that carry out this very plan."""
        return shlex.split(self.document["command"])[1:]

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        return [each for each in self.document["preconditions"] if each["outcome"] == "failed"]

    @property
    def overwrites(self) -> str:
        """What is replaced, in words; empty for nothing."""
        return self.document["overwrites"] or ""

    @property
    def doubt(self) -> str:
        """What to make sure of when a cluster is replaced that is not known to be a copy of the server; else empty."""
        name = "replaced cluster"
        return next((each["fix"] for each in self.document["preconditions"]
                     if each["name"] == name and each["outcome"] == "warning"), "")

    @property
    def directory(self) -> str:
        return str(self.document["destination"]["directory"])

    @property
    def place(self) -> str:
        return f"{self.document['destination']['host'] or 'this machine'}:{self.directory}"

    @property
    def act(self) -> str:
        """The real effect, for the key that causes it."""
        return f"{'overwrite' if self.overwrites else 'restore to'} {self.place}"


def told(plan: Planned, draft: Draft, *, zone: str | None, command: str, now: datetime) -> Iterator[Field]:
    """The review, from what decides to what is good to know; `command` is the line that a person would type."""
    document = plan.document
    for each in plan.failed:
        yield Field("cannot run", f"{each['name']}: {each['detail']}", "bad")
        yield Field("", each["fix"], "warn")
        if each["name"] == "directory":
            yield Field("", "Here: esc goes back to where this is chosen, with \"if not empty\" below the directory.",
                        "bold")
    yield from _source(document, draft, zone, now)
    yield Field("to", plan.place, "bold")
    for name, place in document["destination"]["tablespaces"].items():
        yield Field("", f"tablespace {name} to {place}")
    if plan.overwrites:
        kept = "; what is there is renamed and kept until you remove it" if document["sets_aside"] else ""
        yield Field("OVERWRITES", f"{plan.overwrites}{kept}", "bad")
        if plan.doubt:
            yield Field("", plan.doubt, "bold")
    else:
        yield Field("overwrites", "nothing")
    yield Field("then", _then(draft))
    yield from _amounts(document)
    yield from _conditions(document)
    yield from _settings(document)
    yield Field("stays", "the restore runs as a job: it goes on when this console or the connection ends")
    yield Field("command", command)


def _source(document: Mapping[str, Any], draft: Draft, zone: str | None, now: datetime) -> Iterator[Field]:
    target, wal = document["target"], document["wal"]
    chosen = "chosen from the point" if draft.backup == "auto" else "chosen by you"
    yield Field("backup", f"{document['backup']}{_details(document['backup_details'], now)}; {chosen}")
    yield Field("target", draft.point.label if draft.point and draft.point.label else target["text"], "bold")
    if target["stop_lsn"]:
        side = "after" if target["stop_replayed"] else "before"
        path = " -> ".join(map(str, document["timeline_path"]))
        yield Field("stops", f"{side} {target['stop_lsn']} on timeline {path}")
        if time := moment(target["stop_time"]) or (draft.point.time if draft.point else None):
            yield Field("", ", ".join(readings(time, zone)))
    unfinished = ", the last one unfinished" if wal["partial"] else ""
    missing = "all present" if not wal["missing"] else f"MISSING: {wal['missing'][0]}"
    yield Field("WAL", f"{wal['first']} to {wal['last']}, {wal['segments']} segments, {missing}{unfinished}",
                "bad" if wal["missing"] else "")


def _details(backup: Mapping[str, Any] | None, now: datetime) -> str:
    if backup is None:
        return ""
    finished = moment(backup["finished_at"])
    age = f", {span(round((now - finished).total_seconds()))} old" if finished else ""
    return f"{age}, PostgreSQL {backup['server_version']}, {size(backup['size_bytes'])}"


def _then(draft: Draft) -> str:
    what = {Then.PROMOTE: "opens for use, on a timeline of its own", Then.PAUSE: "pauses at the target, read-only",
            Then.SHUTDOWN: "shuts down at the target", Then.STANDBY: "follows the original server"}[draft.then]
    start = "the server is started and asked whether it arrived; it" if draft.start else \
        "the server is not started; started by you, it"
    tables = f"; {', '.join(draft.expect)} must be there" if draft.expect and draft.is_asked else ""
    return f"{start} {what}{tables}"


def _amounts(document: Mapping[str, Any]) -> Iterator[Field]:
    yield Field("amount", f"sends {size(document['bytes_to_send'])}, writes {size(document['bytes_to_write'])}")
    for each in document["space"]:
        yield Field("space", f"{size(each['needed_bytes'])} needed on {each['mounted_on']}, "
                             f"{size(each['free_bytes'])} free")
    seconds, basis = document["estimate_seconds"], document["estimate_basis"]
    yield Field("takes", f"about {span(round(seconds))}, {basis}" if seconds is not None else f"not known: {basis}")


def _conditions(document: Mapping[str, Any]) -> Iterator[Field]:
    for number, each in enumerate(document["preconditions"]):
        detail = f" ({each['detail']})" if each["detail"] else ""
        outcome = each["outcome"]
        yield outcome_field("conditions" if not number else "", outcome, f"{each['name']}{detail}")
        if each["fix"] and outcome == "warning":
            yield Field("", each["fix"], indent=LABEL + _OUTCOME)


def outcome_field(name: str, outcome: str, text: str) -> Field:
    """What was looked at, behind the word of how it is."""
    return Field(name, f"{outcome.upper():<{_OUTCOME}}{text}", _STYLES.get(outcome, "dim"), hang=_OUTCOME)


def _settings(document: Mapping[str, Any]) -> Iterator[Field]:
    for name, what in (("settings_changed", "made safe"), ("settings_to_look_at", "look at")):
        for number, change in enumerate(document[name]):
            yield Field(what if not number else "", told_change(change), "warn" if what == "look at" else "")
    for number, (name, value) in enumerate(document["recovery_settings"].items()):
        yield Field("recovery" if not number else "", f"{name} = {value}", "dim")


def told_change(change: Mapping[str, Any]) -> str:
    """A setting in a file, and what is done about it."""
    if not change["line"]:
        return f"{change['file']}: {change['action']}"
    return f"{change['file']} line {change['line']}: {change['name']} = {change['was']} ({change['action']})"

