"""The plan of a restore, from `pgvault restore --dry-run`, as lines for the review."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgvault.console.fields import LABEL, Field
from pgvault.console.recovery.answer import moment
from pgvault.console.recovery.draft import Draft, Then
from pgvault.console.recovery.typed import readings
from pgvault.model.identifier import sql_literal
from pgvault.model.text import elapsed, size, span

_STYLES = {"ok": "good", "warning": "warn", "failed": "bad"}
OUTCOME = 9
"""The width of the outcome's word, in columns."""
_TIMELINE = 8
"""The first characters of a segment's name, which are its timeline."""
_CHOSEN_HERE = {
    "unused WAL": "Here: esc leads back to the point, where \"the latest\" takes the unfinished last segment, too."}
"""The step of the wizard in which the subject of a condition is chosen."""
_LINES = {"--overwrite": "if not empty", "--allow-unread-wal": "unread WAL", "--port": "port", "--no-start": "start it",
          "--tablespace": "the tablespace's name", "--partial": "with, below the point"}
"""The lines of the steps before, by the options that a condition's fix names."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, from its JSON document."""

    document: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """Return the words after `pgvault` that carry out exactly this plan."""
        return shlex.split(self.document["command"])[1:]

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        return [each for each in self.document["preconditions"] if each["outcome"] == "failed"]

    @property
    def overwrites(self) -> str:
        """Describe what is replaced; empty if nothing is."""
        return self.document["overwrites"] or ""

    @property
    def doubt(self) -> str:
        """Return what to make sure of before replacing a cluster that is not known to be a copy of the server; else
        empty.
        """
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
        """Return the effect of the key that carries out the plan, in words."""
        return f"{'overwrite' if self.overwrites else 'restore to'} {self.place}"


def plan_fields(plan: Planned, draft: Draft, *, zone: str | None, command: str, now: datetime) -> Iterator[Field]:
    """Yield the review, the decisive facts first; `command` is the line that a person would type."""
    document = plan.document
    for each in plan.failed:
        yield Field("cannot run", f"{each['name']}: {each['detail']}", "bad")
        yield Field("", each["fix"], "warn")
        if where := here(each["fix"]):
            yield Field("", where, "bold")
    yield from _place(plan)
    yield from _source(document, draft, zone, now)
    yield from _then(draft)
    yield from _amounts(document)
    yield from _conditions(document)
    yield Field("stays", "runs as a job that outlives this console and its connection")
    yield Field("command", command)
    yield from _settings(document)
    yield from _each(document)


def here(advice: str) -> str:
    """Return the step of the wizard in which an option named by a hint is chosen; empty if the hint names none."""
    lines = [f'"{line}"' for option, line in _LINES.items() if option in advice]
    return f"Here: esc goes back to where this is chosen: {' or '.join(lines)}." if lines else ""


def _place(plan: Planned) -> Iterator[Field]:
    """Yield the destination and its cost, which have to be read first."""
    document = plan.document
    free = "" if plan.overwrites else "; nothing is overwritten"
    yield Field("to", f"{plan.place}{free}", "bold")
    for name, place in document["destination"]["tablespaces"].items():
        yield Field("", f"tablespace {name} to {place}")
    if plan.overwrites:
        kept = "; what is there is renamed and kept until you remove it" if document["sets_aside"] else ""
        yield Field("OVERWRITES", f"{plan.overwrites}{kept}", "bad")
        if plan.doubt:
            yield Field("", plan.doubt, "bold")


def _source(document: Mapping[str, Any], draft: Draft, zone: str | None, now: datetime) -> Iterator[Field]:
    target, wal = document["target"], document["wal"]
    chosen = "" if draft.backup == "auto" else "; chosen by you"
    yield Field("backup", f"{document['backup']}{_details(document['backup_details'], now)}{chosen}")
    yield Field("target", draft.point.label if draft.point and draft.point.label else target["text"], "bold")
    if target["stop_lsn"]:
        side = "after" if target["stop_replayed"] else "before"
        path = " -> ".join(map(str, document["timeline_path"]))
        time = moment(target["stop_time"]) or (draft.point.time if draft.point else None)
        ours = " by the vault's clock" if target.get("stop_clock") == "vault" else ""
        clocks = f", {', '.join(readings(time, zone))}{ours}" if time else ""
        yield Field("", f"{side} {target['stop_lsn']} on timeline {path}{clocks}")
    for each in document["prepared"]:
        gid = sql_literal(each["gid"])
        yield Field("", f"transaction {each['gid']!r} of {each['owner']} in {each['database']} is prepared there and "
                        f"has not ended{_locks(each['locks'])}; COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} ends "
                        "it", "warn")
    unfinished = ", the last one unfinished" if wal["partial"] else ""
    missing = "all present" if not wal["missing"] else f"MISSING: {wal['missing'][0]}"
    count = f"{wal['segments']} segment{'s' * (wal['segments'] != 1)}"
    yield Field("WAL", f"{short_names(wal['first'], wal['last'])}, {count}, {missing}{unfinished}",
                "bad" if wal["missing"] else "")


def _locks(locks: Sequence[str]) -> str:
    more = len(locks) - 3
    others = f" and {more} more lock{'s' * (more > 1)}" if more > 0 else ""
    return f", holds {', '.join(locks[:3])}{others}" if locks else ""


def short_names(first: str, last: str) -> str:
    """Return the names of two segments without the timeline and the common beginning, which are shown elsewhere."""
    if first[:_TIMELINE] != last[:_TIMELINE]:
        return f"{first} to {last}"
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    at = min(same, len(first) - 2)
    return f"...{first[at:]}" if first == last else f"...{first[at:]} to ...{last[at:]}"


def _details(backup: Mapping[str, Any] | None, now: datetime) -> str:
    if backup is None:
        return ""
    finished = moment(backup["finished_at"])
    age = f", {elapsed(finished, now)} old" if finished else ""
    return f"{age}, PostgreSQL {backup['server_version']}, {size(backup['size_bytes'])}"


def _then(draft: Draft) -> Iterator[Field]:
    what = {Then.PROMOTE: "opens for use", Then.PAUSE: "pauses at the target, read-only",
            Then.SHUTDOWN: "shuts down at the target", Then.STANDBY: "follows the original server"}[draft.then]
    yield Field("then", f"{'started and asked whether it arrived' if draft.start else 'not started; when it is'}, "
                        f"the server {what}")
    if draft.expect and draft.is_asked:
        yield Field("expects", f"{', '.join(draft.expect)} to be there")


def _amounts(document: Mapping[str, Any]) -> Iterator[Field]:
    free = "".join(f"; {size(each['free_bytes'])} free on {each['mounted_on']}" for each in document["space"])
    sends, writes = size(document["bytes_to_send"]), size(document["bytes_to_write"])
    yield Field("amount", f"{sends} to send, {writes} to write{free}")
    seconds, basis = document["estimate_seconds"], document["estimate_basis"]
    yield Field("takes", f"about {span(round(seconds))}, {basis}" if seconds is not None else f"not known: {basis}")


def _conditions(document: Mapping[str, Any]) -> Iterator[Field]:
    """Count the conditions that hold; show of the others only what a person has to know, since those that fail are at
    the top.
    """
    every = document["preconditions"]
    holding = sum(each["outcome"] == "ok" for each in every)
    yield Field("conditions", f"{holding} of {len(every)} hold", "good" if holding == len(every) else "warn")
    for each in every:
        if each["outcome"] not in ("ok", "failed"):
            yield outcome_field("", each["outcome"], _named(each))
            for line in filter(None, (each["fix"], _CHOSEN_HERE.get(each["name"], ""))):
                yield Field("", line, indent=LABEL + OUTCOME)


def _each(document: Mapping[str, Any]) -> Iterator[Field]:
    holding = [each for each in document["preconditions"] if each["outcome"] == "ok"]
    for number, each in enumerate(holding):
        yield Field("each holds" if not number else "", _named(each), "dim")


def _named(condition: Mapping[str, Any]) -> str:
    return f"{condition['name']} ({condition['detail']})" if condition["detail"] else str(condition["name"])


def outcome_field(name: str, outcome: str, text: str) -> Field:
    """Return what was checked, after the word of its outcome."""
    return Field(name, f"{outcome.upper():<{OUTCOME}}{text}", _STYLES.get(outcome, "dim"), hang=OUTCOME)


def _settings(document: Mapping[str, Any]) -> Iterator[Field]:
    for name, what in (("settings_changed", "made safe"), ("settings_to_look_at", "look at")):
        for number, change in enumerate(document[name]):
            yield Field(what if not number else "", describe_change(change), "warn" if what == "look at" else "")
    for number, (name, value) in enumerate(document["recovery_settings"].items()):
        yield Field("recovery" if not number else "", f"{name} = {value}", "dim")


def describe_change(change: Mapping[str, Any]) -> str:
    """Describe a setting in a file, and what is done about it."""
    if not change["line"]:
        return f"{change['file']}: {change['action']}"
    return f"{change['file']} line {change['line']}: {change['name']} = {change['was']} ({change['action']})"

