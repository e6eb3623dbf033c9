"""The console's acts on what is kept: keep a backup, delete one, let the retention policy expire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgvault.console.background import run_in_background
from pgvault.console.commands import Document
from pgvault.console.fields import Field
from pgvault.console.screens.confirm import Typed
from pgvault.console.screens.planned_act import PlannedAct, plan_acts
from pgvault.console.screens.text_box import FailureBox
from pgvault.model.backup import Backup
from pgvault.model.text import size

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

_SHOWN = 5
"""Backups that are named one by one; the dialog has to fit on the smallest screen."""


def expire(app: BaseConsole, server: str) -> None:
    plan_acts(app, [PlannedAct(
        ("expire", server), f"expire {server}", "every backup is being judged; nothing is changed", expire_fields,
        nothing_to_do=lambda plan: "" if plan["command"] else f"{server}: nothing expires", confirms="")])


def delete(app: BaseConsole, server: str, backup_id: str) -> None:
    plan_acts(app, [PlannedAct(
        ("delete", server, backup_id), f"delete backup {backup_id}", "the plan is being made; nothing is changed",
        expire_fields, lambda _: Typed(backup_id, "id", "its id"))])


def keep(app: BaseConsole, server: str, backup: Backup) -> None:
    """Keep the backup with all WAL from its start on, or release it where it is kept."""
    run_in_background(app, "keep", _keep, app, ["keep", server, backup.id, *["--release"] * bool(backup.keep)],
                      exclusive=False)


async def _keep(app: BaseConsole, words: list[str]) -> None:
    answer = await app.queries.commands.ask(*words)
    if answer.failure:
        app.push_screen(FailureBox("nothing was changed", answer.failure))
    elif kept := answer.document["keep"]:
        app.tell(f"backup {words[2]} is kept ({kept}) until it is released")
    else:
        app.tell(f"backup {words[2]} is kept as long as the retention policy needs it")
    await app.read_vault([words[1]])


def expire_fields(plan: Document) -> Iterator[Field]:
    """Yield what a plan of `expire` or `delete` removes, and what stays because of what."""
    yield Field("policy", plan["policy"] or "none: nothing expires by itself")
    gone = [each for each in plan["backups"] if each["deleted"]]
    for number, each in enumerate(gone[:_SHOWN]):
        verdict = f", {each['verdict']}" * (plan["plan"] == "delete")
        yield Field("" if number else "DELETES", f"{each['id']}{verdict}: {each['reason']}", "bad")
    if len(gone) > _SHOWN:
        yield Field("", f"and {len(gone) - _SHOWN} more: the command with --dry-run lists them", "bad")
    yield Field("stays", f"{len(plan['backups']) - len(gone)} of {len(plan['backups'])} backups", "good")
    if plan["wal_files"]:
        yield Field("WAL", f"{plan['wal_files']:,} files that no backup needs then, {size(plan['wal_bytes'])}", "bad")
    if gone:
        yield Field("space", f"up to {size(plan['stored_bytes'])} in a day, but for what others share")
    if plan["unreadable"]:
        yield Field("mind", f"{', '.join(plan['unreadable'])} cannot be read: all WAL and all packs stay", "warn")
