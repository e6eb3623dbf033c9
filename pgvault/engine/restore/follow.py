"""The timeline that a standby follows: its primary's, by the primary's own report where it can be reached.

The archive may have timelines on which the primary never was: of servers that were restored from it, tried and thrown
away. A standby that takes one of these for the newest waits for ever for WAL that its primary does not have.
"""

from __future__ import annotations

from collections.abc import Container

from pgvault.config.schema import ServerConfig
from pgvault.engine.restore.choose import Choice
from pgvault.model.check import Outcome
from pgvault.model.errors import PgvaultError
from pgvault.model.restore_plan import Precondition
from pgvault.model.timeline import History, parse_history

_NAME = "timeline of the original server"


def ask_primary(server: ServerConfig, system_identifier: str) -> History:
    """Return the server's timeline with its ancestors. Raises PgvaultError if the server does not report it."""
    from pgvault.io.postgres import connect  # only a standby's plan asks a server
    from pgvault.io.replication_stream import identify, timeline_history

    connection = connect(server, replication=True)
    try:
        system = identify(server.name, connection)
        if system.identifier != system_identifier:
            raise PgvaultError(f"the server that answers as {server.name} has system identifier {system.identifier}")
        text = timeline_history(server.name, connection, system.timeline) if system.timeline > 1 else b""
        if text is None:
            raise PgvaultError(f"{server.name} has no history file of its timeline {system.timeline}")
        return parse_history(text.decode("utf-8", "replace"), system.timeline)
    except ValueError as error:
        raise PgvaultError(f"the history of {server.name}'s timeline cannot be read: {error}") from None
    finally:
        connection.close()


def timeline_to_follow(primary: History, known: Container[int]) -> int | None:
    """Return the newest timeline on the primary's path of which the archive has WAL; None if it has none."""
    path = (primary.timeline, *(ancestor.timeline for ancestor in reversed(primary.ancestors)))
    return next((timeline for timeline in path if timeline in known), None)


def follow_condition(choice: Choice, primary: History | PgvaultError) -> Precondition:
    """Return the condition that the primary continues from where the archived WAL leads the standby."""
    here, stop = choice.history.timeline, choice.stop
    if isinstance(primary, PgvaultError):
        return Precondition(_NAME, Outcome.WARNING, f"It was not learnt: {primary.message}. The standby follows "
                            f"timeline {here}.", "Be sure that the server is on it: SELECT timeline_id FROM "
                            "pg_control_checkpoint(); or name its own: --target-timeline N")
    if primary.holds(stop.timeline, stop.lsn):
        return Precondition(_NAME, Outcome.OK, f"{primary.timeline}" if primary.timeline == here else
                            f"{primary.timeline}, which goes on from timeline {here}")
    return Precondition(_NAME, Outcome.FAILED,
                        f"The server is on timeline {primary.timeline}, and the archived WAL of timeline {here} "
                        f"leads to {stop.lsn}, which is not on its path.",
                        "Follow the server's own: leave --target-timeline out, and have its WAL and its history file "
                        "archived.")
