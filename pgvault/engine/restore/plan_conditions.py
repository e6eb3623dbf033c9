"""The remarks and refusals of a plan about its backup, the WAL on its recovery path and what it replaces.

The destination's own conditions are in `preconditions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvault.engine.restore.choose import Choice
from pgvault.engine.restore.directory_state import describe_contents
from pgvault.engine.restore.place import aside_name
from pgvault.engine.restore.stop import reach_of
from pgvault.model.backup import Backup
from pgvault.model.check import Outcome
from pgvault.model.errors import UsageError, WalMissing
from pgvault.model.holding import NOTHING
from pgvault.model.restore_plan import DirectoryState, Precondition, Replaced
from pgvault.model.restore_request import RestoreRequest
from pgvault.model.target import EndOfWal, TargetAction
from pgvault.model.window import MINIMAL
from pgvault.vault import catalog
from pgvault.vault.layout import ServerVault
from pgvault.vault.wal_rows import Row
from pgvault.vault.wal_search import WalSearch


def break_conditions(request: RestoreRequest, choice: Choice, last: Row) -> Iterator[Precondition]:
    """Yield the warning of a restore to the end if the archive continues beyond a place that no recovery passes."""
    if not isinstance(request.target, EndOfWal) or not (why := choice.path.break_behind(last)):
        return
    if request.standby and last.ends_by == MINIMAL:
        raise WalMissing(f"no standby can be made of backup {choice.backup.id}", detail=f"{why}.",
                         hint=f"Take a newer backup, and make it of that: pgvault backup {request.server}")
    yield Precondition("end of the WAL", Outcome.WARNING, f"It is {last.reach}, though the archive goes on: {why}.",
                       "What was done behind it can be restored from a newer backup only.")


def histories_for(search: WalSearch, request: RestoreRequest, choice: Choice) -> tuple[str, ...]:
    """Return all histories, so that the new timeline gets an unused number. A standby takes the newest that it finds
    for its primary's, so it gets none that is newer than the one it follows.
    """
    newest = choice.history.timeline
    return tuple(name for name in search.histories() if not request.standby or int(name[:8], 16) <= newest)


def replaced_by(request: RestoreRequest, directory: str, state: DirectoryState, backup: Backup,
                real_path: str) -> Replaced:
    """Return what becomes of the data directory's contents. Raises UsageError if `--overwrite` names another directory.
    """
    if_holds = request.if_holds or state.holds
    if state.incomplete_restore is not None:
        return Replaced(state, if_holds, describe_contents(state, request.server, backup))
    if not request.overwrite or state.holds in ("", NOTHING):
        return Replaced(state, if_holds)
    if request.overwrite.rstrip("/") != directory:
        raise UsageError(f"--overwrite names {request.overwrite}, the restore goes to {directory}",
                         hint="Name the very directory that is to be replaced.")
    unmeasured = ", of unknown size" if state.size_bytes is None else ""
    return Replaced(state, if_holds, describe_contents(state, request.server, backup, f"in {directory}") + unmeasured,
                    sets_aside=True, kept_as=aside_name(real_path, "JOB"))


def whole(backup: Backup) -> Precondition:
    if backup.corrupt_pages:
        return Precondition("backup", Outcome.WARNING,
                            f"The server reported corrupt pages in {', '.join(backup.corrupt_pages[:5])}.",
                            "Prefer an older backup, with the same target: it replays the changes since.")
    return Precondition("backup", Outcome.OK, f"{backup.id} is whole, by its manifest")


def wal_conditions(search: WalSearch, request: RestoreRequest, choice: Choice,
                   rows: Sequence[Row]) -> Iterator[Precondition]:
    if unread := next((row for row in rows if row.problem), None):
        yield _unread(unread, request)
    if request.expects and request.action is TargetAction.PAUSE and not choice.stop.replayed:
        yield Precondition("locks at the target", Outcome.WARNING,
                           "The transaction that recovery pauses before still holds its locks there: a table that it "
                           "drops or truncates can be read only once the server is opened.",
                           "Open it then (pgvault open), or choose --target-action promote.")
    if isinstance(request.target, EndOfWal) and (row := _left_out(search, request, choice, rows[-1])):
        yield Precondition("unused WAL", Outcome.WARNING, f"With --partial {reach_of(row)}.",
                           "Use it when the server is lost; while it runs, pgvault switch-wal brings its newest WAL.")


def _unread(row: Row, request: RestoreRequest) -> Precondition:
    """Return the condition for unread WAL: a person has to allow what a plan cannot show."""
    return Precondition(
        "unread WAL", Outcome.WARNING if request.allow_unread else Outcome.FAILED,
        f"{row.name} was not read: {row.problem}. Whether it creates a tablespace is not known; replay would do that "
        "at the original path, whatever is there by now.",
        f"Look: pgvault wal {request.server}. Where nothing that is in use is at the original paths of tablespaces, it "
        "can be replayed unread: --allow-unread-wal")


def _left_out(search: WalSearch, request: RestoreRequest, choice: Choice, last: Row) -> Row | None:
    """Return the unfinished segment that would add the most commits; a standby gets them from the original server."""
    if request.standby:
        return None
    paths = (choice.history,) if request.timeline is not None else \
        search.tree.descendants(choice.history.timeline, last.end)
    found = [row for path in paths if (row := search.left_out(path, last))]
    return max((row for row in found if row.latest is not None or row.problem), key=lambda row: row.end, default=None)


def passed_over(server: ServerVault, chosen: Backup) -> Iterator[Precondition]:
    """Yield the newer backups that might have been chosen if their facts could be read."""
    for each in catalog.read_all(server, save=False).unreadable:
        if each.id > chosen.id:
            yield Precondition(f"unreadable backup {each.id}", Outcome.WARNING, f"It was passed over: {each.reason}.",
                               each.fix)
