"""What a person asks of a restore, and what does not go together: pure rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgvault.config.schema import HostConfig
from pgvault.model.errors import UsageError
from pgvault.model.relation import RelationName
from pgvault.model.target import EndOfWal, Target, TargetAction


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What a person asked for."""

    server: str
    backup: str = "auto"
    host: str = ""
    """A configured host; empty for this machine."""
    directory: str = ""
    """Empty: the host's data_directory."""
    target: Target = field(default_factory=EndOfWal)
    timeline: int | None = None
    action: TargetAction = TargetAction.PROMOTE
    standby: bool = False
    tablespaces: tuple[str, ...] = ()
    """NAME=PATH each."""
    overwrite: str = ""
    if_holds: str = ""
    """What the directory has to hold, in the word of pgvault.model.holding; empty: what it holds now."""
    workers: int | None = None
    bandwidth_limit: int | None = None
    start: bool = False
    partial: bool = False
    """Use the unfinished last segment of the timeline too."""
    allow_unread: bool = False
    """Replay WAL of which nobody knows whether it creates a tablespace."""
    expects: tuple[RelationName, ...] = ()
    """What the started server is asked for."""
    port: int | None = None
    """That the restored server is to listen on; None for the host's, or else the one in its configuration."""


def directory_of(request: RestoreRequest, host: HostConfig | None) -> str:
    directory = request.directory or (host.data_directory if host else None) or ""
    if not directory:
        raise UsageError("no directory to restore to", hint="Name it: pgvault restore SERVER BACKUP DIRECTORY")
    if not directory.startswith("/"):
        raise UsageError(f"not an absolute path: {directory}", hint="Write the whole path, from the root.")
    return directory.rstrip("/") or "/"


def check_action(request: RestoreRequest) -> None:
    """PostgreSQL does something else than go on only where it was given a target to stop at."""
    if request.expects and (not request.start or request.action is TargetAction.SHUTDOWN):
        raise UsageError("only a server that was started and still runs can be asked for what is expected",
                         hint="--expect goes with --start, and not with --target-action shutdown.")
    if request.standby and not isinstance(request.target, EndOfWal):
        raise UsageError("a standby follows the original server to no end, so it takes no target")
    if request.standby and request.partial:
        raise UsageError("a standby gets the newest WAL from the original server, not from an unfinished segment")
    if isinstance(request.target, EndOfWal) and request.action is not TargetAction.PROMOTE:
        raise UsageError(f"the server can only {request.action.value} at a target, and the end of the WAL is none",
                         hint="Name the place as --target-time or --target-lsn; pgvault wal SERVER tells the last.")
