"""Starts the restored server: with the host's own command, or with pg_ctl of the right major."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from pgvault.config.schema import HostConfig
from pgvault.engine.restore.contents import LOG_FILE
from pgvault.engine.restore.observation import observe_server
from pgvault.io.host import Host
from pgvault.io.probe import Destination, Installation, probe_destination
from pgvault.model.errors import PgvaultError, Refused, Unreachable

_SECONDS = 120.0
_WATCHED_SECONDS = "3"
"""How long pg_ctl watches whether the server ends at once, in seconds; a server that cannot write its log reports
nothing else. One that replays for longer accepts no logins yet, which is no failure.
"""


class Started(NamedTuple):
    line: str
    """The command that a person would type to start it again."""
    gave_up: str = ""
    """The output of pg_ctl if it saw the server end; else empty. The cause is in the server's log, unless that could
    not be written.
    """


async def start_server(host: Host, config: HostConfig | None, directory: str, major: int) -> Started:
    """Start the server. Raises PgvaultError if the host's own command fails."""
    if command := config and config.start_command_for(directory):
        return await _by_command(host, directory, command)
    destination = await probe_destination(host, directory, (), (config and config.bin_directory) or "")
    pg_ctl = f"{programs_for(destination, major).directory}/pg_ctl"
    argv = [pg_ctl, "start", "-D", directory, "-l", f"{directory}/{LOG_FILE}"]
    done = await host.run([*argv, "-s", "-w", "-t", _WATCHED_SECONDS], timeout=_SECONDS)
    if not done.status or await _runs(host, directory):
        return Started(shlex.join(argv))
    return Started(shlex.join(argv), f"pg_ctl ended with status {done.status}: {' '.join((done.stderr or '').split())}")


async def _by_command(host: Host, directory: str, command: str) -> Started:
    try:
        done = await host.run_shell(command, timeout=_SECONDS)
    except Unreachable:
        raise
    except PgvaultError:
        if await _runs(host, directory):
            return Started(command)
        raise
    if done.status and not await _runs(host, directory):
        raise PgvaultError(
            f"could not start the restored server on {host.description}",
            detail=f"{command} ended with status {done.status}: {(done.stderr or '').strip()}",
            hint="The restored files are complete. Run that line there by hand: it, or the log that it names, says "
                 "why.")
    return Started(command)


async def _runs(host: Host, directory: str) -> bool:
    """Return whether the server runs. Commands that wait until a server accepts logins give up on one that replays for
    longer; it continues all the same.
    """
    return (await observe_server(host, directory, "")).alive


def programs_for(destination: Destination, major: int) -> Installation:
    """Return the directory of PostgreSQL's programs of this major on the host. Raises Refused if there are none."""
    for installation in destination.installations:
        if installation.major == major and installation.has_pg_ctl:
            return installation
    found = ", ".join(f"{i.version} in {i.directory}" for i in destination.installations) or "none"
    raise Refused(f"{destination.host or 'this machine'} has no programs of PostgreSQL {major}",
                  detail=f"Found: {found}.", hint="Install them, or set bin_directory for this host.")
