"""Starting the restored server: with the host's own command, or with pg_ctl of the right major."""

from __future__ import annotations

import shlex

from pgvault.config.schema import HostConfig
from pgvault.engine.restore.contents import LOG_FILE
from pgvault.engine.restore.sight import look_at_server
from pgvault.io.host import Host
from pgvault.io.probe import Destination, Installation, probe_destination
from pgvault.model.errors import PgvaultError, Refused, Unreachable
from pgvault.model.restore_plan import RestorePlan

_SECONDS = 120.0


async def start_server(host: Host, config: HostConfig | None, plan: RestorePlan, major: int) -> str:
    """Start it; returns the line that a person would type to do so again."""
    log = f"{plan.directory}/{LOG_FILE}"
    if config is not None and config.start_command:
        try:
            done = await host.run_shell(config.start_command, timeout=_SECONDS)
        except Unreachable:
            raise
        except PgvaultError:
            if await _runs(host, plan):
                return config.start_command
            raise
        what = line = config.start_command
        hint = "The restored files are complete. Run that line there by hand: it, or the log that it names, says why."
    else:
        destination = await probe_destination(host, plan.directory, (), (config and config.bin_directory) or "")
        argv = [f"{programs_for(destination, major).directory}/pg_ctl", "start", "-D", plan.directory, "-l", log]
        done = await host.run([*argv, "-s", "-W"], timeout=_SECONDS)
        what, line = "pg_ctl start", shlex.join(argv)
        hint = f"The restored files are complete. Look at {log} there. Then start it: {line}"
    if done.status and not await _runs(host, plan):
        raise PgvaultError(f"could not start the restored server on {host.description}",
                           detail=f"{what} ended with status {done.status}: {(done.stderr or '').strip()}",
                           hint=hint)
    return line


async def _runs(host: Host, plan: RestorePlan) -> bool:
    """Commands that wait until a server takes logins give up on one that replays for longer; it goes on all the same.
    """
    return (await look_at_server(host, plan.directory, "")).alive


def programs_for(destination: Destination, major: int) -> Installation:
    """PostgreSQL's programs of this major on the host; Refused when there are none."""
    for installation in destination.installations:
        if installation.major == major and installation.has_pg_ctl:
            return installation
    found = ", ".join(f"{i.version} in {i.directory}" for i in destination.installations) or "none"
    raise Refused(f"{destination.host or 'this machine'} has no programs of PostgreSQL {major}",
                  detail=f"Found: {found}.", hint="Install them, or set bin_directory for this host.")
