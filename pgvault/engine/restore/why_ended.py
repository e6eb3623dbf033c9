"""Why a restored server ended or did not start, by the end of its log, and the next step that fits: pure rules.

The cause is often not in the FATAL line itself: "configuration file contains errors" comes after the LOG line that
names the setting, "could not create any TCP/IP sockets" after the one that names the address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FAILED = re.compile(r"\b(FATAL|PANIC)\b")
_CAUSE = re.compile(r"\b(FATAL|PANIC|ERROR|WARNING|HINT|DETAIL)\b|\bLOG\b.*(could not|unrecognized|invalid|error|"
                    r"cannot|outside the valid range|is not supported)")
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d .*?(?=\b[A-Z]{3,9}:  )")
_LINES = 4

_STEPS = (
    (r"lock file \".*\.s\.PGSQL\..*\" already exists|Address already in use",
     "Another server has its port: stop that one, or set port in {directory}/postgresql.auto.conf. Then {start}"),
    (r"Cannot assign requested address|could not translate host name|could not create any TCP/IP sockets",
     "This host has no such address: set listen_addresses in {directory}/postgresql.auto.conf. Then {start}"),
    (r"lock file \"postmaster\.pid\" already exists", "A server runs there by now: see which, before anything else."),
    (r"could not create (lock file|any Unix-domain sockets)",
     "Make its socket directory, or set unix_socket_directories in {directory}/postgresql.auto.conf. Then {start}"),
    (r"could not (access file|load library)",
     "Install that library on the host, or take it out of shared_preload_libraries in {directory}. Then {start}"),
    (r"configuration file .* contains errors|could not load (server certificate|\S*pg_hba\.conf)",
     "Correct that setting in {directory}. Then {start}"),
    (r"could not (map anonymous|create) shared memory|could not create semaphores",
     "The host has too little memory for its settings: lower shared_buffers or max_connections in {directory}. Then "
     "{start}"),
    (r"insufficient parameter settings", "Raise the setting that it names in {directory}. Then {start}"),
    (r"No space left on device", "Free space on the host. Then {start}"),
)


def said_of_it(lines: Sequence[str]) -> list[str]:
    """The last lines that tell the cause, without what is before their level; with none such, just the last ones."""
    end = next((at for at in reversed(range(len(lines))) if FAILED.search(lines[at])), None)
    if end is None:
        return [_PREFIX.sub("", line) for line in lines[-3:]]
    told = [line for line in lines[:end + 3] if _CAUSE.search(line)]
    return [_PREFIX.sub("", line) for line in told[-_LINES:]]


def next_step(said: Sequence[str], *, directory: str, start: str, log: str) -> str:
    """`start` is the command that starts it, `log` the place where it says more."""
    text = "\n".join(said)
    step = next((step for sign, step in _STEPS if re.search(sign, text)), "Look at {log} there. Then {start}")
    told = step.format(directory=directory, log=log, start=f"start it: {start}")
    return f"The restored files are complete. {told}"
