"""Why a restored server ended or did not start, by the end of its log, and the next step that fits: pure rules.

The cause is often not in the FATAL line itself: "configuration file contains errors" comes after the LOG line that
names the setting, "could not create any TCP/IP sockets" after the one that names the address, and that of a failed
restore_command after the program's own output. Logs come in any language: where PostgreSQL leaves a part of a message
as it is (names of functions, settings, build options), the rule looks for that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FAILED = re.compile(r"\b(FATAL|PANIC)\b")
_CAUSE = re.compile(r"\b(FATAL|PANIC|ERROR|WARNING|HINT|DETAIL)\b|\bLOG\b.*(could not|unrecognized|invalid|error|"
                    r"cannot|outside the valid range|is not supported)")
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d .*?(?=\b[A-Z]{3,9}:  )")
_OWN = re.compile(r"\b[A-Z]{3,11} ?:  |^\s")
"""A line of PostgreSQL's own, or the continuation of a message. All others are of programs that it runs."""
_LINES = 4

_BUILD = (r"\b(BLCKSZ|RELSEG_SIZE|XLOG_BLCKSZ|SLRU_PAGES_PER_SEGMENT|MAXALIGN|NAMEDATALEN|INDEX_MAX_KEYS|LOBLKSIZE|"
          r"TOAST_MAX_CHUNK_SIZE|USE_FLOAT[48]_BYVAL|PG_CONTROL_VERSION|CATALOG_VERSION_NO)\b")
_LOCALE = (r"setlocale\(\)|\bLC_(COLLATE|CTYPE)\b|\"lc_(messages|monetary|numeric|time)\"|"
           r"database locale is incompatible")
_ICU = r"\bICU\b|\bucol_\w+|\buloc_\w+"
_LIBRARY = r"could not (access file|load library)|\$libdir|\.so\b"

_STEPS = (
    (r"lock file \".*\.s\.PGSQL\..*\" already exists|Address already in use",
     "Another server has its port: stop that one, or set port in {directory}/postgresql.auto.conf. Then {start}"),
    (r"Cannot assign requested address|could not translate host name|could not create any TCP/IP sockets",
     "This host has no such address: set listen_addresses in {directory}/postgresql.auto.conf. Then {start}"),
    (r"lock file \"postmaster\.pid\" already exists", "A server runs there by now: see which, before anything else."),
    (r"could not create (lock file|any Unix-domain sockets)",
     "Make its socket directory, or set unix_socket_directories in {directory}/postgresql.auto.conf. Then {start}"),
    (_BUILD, "The host's programs were built with other sizes or for another version: use those that fit this cluster "
             "(bin_directory). Then {start}"),
    (_LOCALE, "Install that locale on the host (locale-gen or localedef), or restore to a host that has it. Then "
              "{start}"),
    (_ICU, "Use programs of PostgreSQL that were built with ICU, and the host's ICU libraries. Then {start}"),
    (_LIBRARY, "Install that library on the host, or take it out of shared_preload_libraries in {directory}. Then "
               "{start}"),
    (r"configuration file .* contains errors|could not load (server certificate|\S*pg_hba\.conf)",
     "Correct that setting in {directory}. Then {start}"),
    (r"could not (map anonymous|create) shared memory|could not create semaphores",
     "The host has too little memory for its settings: lower shared_buffers or max_connections in {directory}. Then "
     "{start}"),
    (r"insufficient parameter settings|is a lower setting than on the",
     "Raise the setting that it names in {directory}. Then {start}"),
    (r"wal_level[=\s]+\"?minimal",
     "WAL was written there that cannot be replayed: choose a target before it, or a newer backup."),
    (r"No space left on device", "Free space on the host. Then {start}"),
)


def cause_lines(lines: Sequence[str]) -> list[str]:
    """Return the last lines that show the cause, without what is before their level; if there are none, just the last
    ones."""
    end = _last(FAILED.pattern, lines)
    if end is None:
        end = _last("|".join(sign for sign, _ in _STEPS), lines)
        return [_PREFIX.sub("", line) for line in (lines[-3:] if end is None else lines[max(end - 1, 0):end + 2])]
    relevant = [line for line in lines[:end + 3] if _CAUSE.search(line) or not _OWN.search(line)]
    return [_PREFIX.sub("", line) for line in relevant[-_LINES:]]


def _last(sign: str, lines: Sequence[str]) -> int | None:
    return next((at for at in reversed(range(len(lines))) if re.search(sign, lines[at])), None)


def next_step(log_lines: Sequence[str], *, directory: str, start: str, log: str) -> str:
    """Return the next step. `start` is the command that starts the server, `log` is where it reports more."""
    text = "\n".join(log_lines)
    step = next((step for sign, step in _STEPS if re.search(sign, text)), "Look at {log} there. Then {start}")
    advice = step.format(directory=directory, log=log, start=f"start it: {start}")
    return f"The restored files are complete. {advice}"


_CLOSED = (
    (_LOCALE, "Install that locale on the host (locale-gen or localedef) and restart the server, or restore to a host "
              "that has it."),
    (_ICU, "Use programs of PostgreSQL that were built with ICU, and the host's ICU libraries."),
    (_LIBRARY, "Install that library on the host, or take it out of session_preload_libraries and "
               "local_preload_libraries, also where they are set for a role or database."),
    (r"\bbase/\d+|\bpg_tblspc/\d+|\bPG_\d+_\d+|pg_filenode\.map",
     "Files of that database are missing: the backup lacks them, or the host lost them. Restore from another backup."),
)


def why_closed(refusal: str) -> str:
    """Return the next step if the database that refused a session can be opened by no role; empty if the refusal is
    about the login, or not known."""
    return next((step for sign, step in _CLOSED if re.search(sign, refusal)), "")
