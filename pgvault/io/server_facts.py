"""The facts that a server reports about itself, for backups and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvault.model.errors import Refused
from pgvault.model.majors import NEWEST, OLDEST
from pgvault.model.segment import DEFAULT_SEGMENT_SIZE

if TYPE_CHECKING:
    from pgvault.io.postgres import Connection  # it imports psycopg, which rules on facts do not need


@dataclass(frozen=True, slots=True)
class ServerFacts:
    system_identifier: str
    version: str
    """The version, such as "18.1"."""
    major: int
    segment_size: int
    """Size of a WAL segment in bytes."""
    data_directory: str
    """The data directory; empty if the role may not see it."""
    in_recovery: bool

    @property
    def tested(self) -> bool:
        """Whether this version of pgvault was tested with this major version of PostgreSQL."""
        return self.major <= NEWEST


def read_facts(connection: Connection) -> ServerFacts:
    """Query the facts. Refused for a PostgreSQL that is too old to be backed up."""
    number = connection.info.server_version
    if number < OLDEST * 10000:
        raise Refused(f"PostgreSQL {number // 10000} is too old for pgvault", detail=f"It supports {OLDEST} and later.",
                      hint="Upgrade the server, or protect it with an older tool.")
    row = connection.execute(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version'),"
        " (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'),"
        " (SELECT setting FROM pg_settings WHERE name = 'data_directory'), pg_is_in_recovery()").fetchone()
    assert row
    return ServerFacts(
        system_identifier=row[0], version=row[1].split()[0], major=number // 10000,
        segment_size=int(row[2] or DEFAULT_SEGMENT_SIZE), data_directory=row[3] or "", in_recovery=row[4])
