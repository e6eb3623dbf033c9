"""What differs between PostgreSQL's major versions outside of their WAL: one value for each known version.

To support a new major, add it here, as what it changes in the one before it; its WAL is in `pgvault/wal/versions.py`.
Sources: `backup/basebackup.c` and `repl_gram.y` (base backups), `catalog/pg_control.h`, `utils/guc_tables.c`,
`commands/tablespace.c`, `access/xlogrecovery.c`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ControlLayout(NamedTuple):
    """Offsets of the fields in `global/pg_control`, in bytes."""

    version: int
    """PG_CONTROL_VERSION, which several majors share."""
    checkpoint_time: int
    """`checkPointCopy.time`."""
    limits: int
    """The first of the settings that a hot standby compares."""
    block_size: int
    wal_block_size: int


class Major(NamedTuple):
    """One major version as a server, as a base backup and as a restored data directory."""

    number: int
    typed_base_backup: bool
    """Whether BASE_BACKUP takes its options in parentheses, and sends everything in one copy stream of typed messages.
    Otherwise the options are keywords, and each tablespace and the manifest come in a plain copy stream of their own.
    """
    control: ControlLayout
    session_timeouts: tuple[str, ...]
    """The timeouts, in addition to those of every version, that can end a session which is silent or long."""
    replay_pause: str
    """The SQL expression for the state of a pause of the recovery: 'paused' once it has stopped."""
    default_settings: Mapping[str, int]
    """Compiled-in values of the settings that recovery needs to be large enough."""
    origins_setting: str
    """The setting that limits how many replication origins can be restored."""
    library_replaces_command: bool
    """Whether archive_library only takes the place of an archive_command. Else both together stop archiving."""
    pathless_minor: int
    """The first minor whose replay creates a tablespace without a path, inside the data directory; 0 if all do."""


_13 = Major(
    13,
    typed_base_backup=False,
    control=ControlLayout(1300, checkpoint_time=104, limits=180, block_size=216, wal_block_size=224),
    session_timeouts=(),
    replay_pause="CASE WHEN pg_is_wal_replay_paused() THEN 'paused' END",  # true once a pause was asked for
    default_settings={"max_connections": 100, "max_worker_processes": 8, "max_wal_senders": 10,
                      "max_prepared_transactions": 0, "max_locks_per_transaction": 64, "max_replication_slots": 10},
    origins_setting="max_replication_slots",
    library_replaces_command=True,
    pathless_minor=8)
_14 = _13._replace(
    number=14,
    session_timeouts=("idle_session_timeout",),
    replay_pause="pg_get_wal_replay_pause_state()",
    pathless_minor=5)
_15 = _14._replace(number=15, typed_base_backup=True, pathless_minor=0)
_16 = _15._replace(number=16, library_replaces_command=False)
_17 = _16._replace(
    number=17,
    control=_16.control._replace(version=1700),
    session_timeouts=("idle_session_timeout", "transaction_timeout"))
_18 = _17._replace(
    number=18,
    control=_17.control._replace(version=1800),
    default_settings={**_17.default_settings, "max_active_replication_origins": 10},
    origins_setting="max_active_replication_origins")
_19 = _18._replace(
    number=19,  # its checkpoint record has logicalDecodingEnabled, and slru_pages_per_segment precedes the last field
    control=ControlLayout(1905, checkpoint_time=112, limits=188, block_size=224, wal_block_size=236),
    default_settings={**_18.default_settings, "max_locks_per_transaction": 128})

MAJORS: Mapping[int, Major] = {each.number: each for each in (_13, _14, _15, _16, _17, _18, _19)}
"""The versions with which pgvault was tested, by number."""
OLDEST = min(MAJORS)
NEWEST = max(MAJORS)
CONTROL_LAYOUTS: Mapping[int, ControlLayout] = {each.control.version: each.control for each in MAJORS.values()}
"""The layouts by PG_CONTROL_VERSION."""


def facts_of(major: int) -> Major:
    """Return what is known of a major version. One that is newer than all known ones counts as the newest."""
    return MAJORS[min(max(major, OLDEST), NEWEST)]
