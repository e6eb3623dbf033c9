"""What must hold at the destination before anything is written there: pure rules on the probe's findings.

A condition is named by a noun, so that its name suits both outcomes.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence

from pgvault.config.schema import HostConfig
from pgvault.engine.restore.directory_state import describe_contents, held_conditions
from pgvault.engine.restore.listening import listening_conditions
from pgvault.engine.restore.space_conditions import space_conditions
from pgvault.io.probe import Contents, Destination, Place
from pgvault.model.check import Outcome
from pgvault.model.holding import NOTHING
from pgvault.model.restore_plan import DirectoryState, Precondition, RestoreDestination, RestorePlan, Room, fails, holds
from pgvault.model.text import size

RECOVERY_SEGMENTS = 3
"""What a server writes in pg_wal before it is up: the segment that it replays, the new timeline's first, and the next.
"""


def destination_conditions(probed: Destination, state: DirectoryState, plan: RestorePlan,
                           host: HostConfig | None) -> tuple[Precondition, ...]:
    """Return every condition with its outcome; the plan stands if none has failed. `state` is the state of the probed
    directory.
    """
    backup = plan.source.backup
    return (
        *held_conditions(state, plan),
        _running(probed, plan, host),
        _directory(probed, state, plan),
        _owner(probed, plan),
        *space_conditions(probed, plan, backup.major),
        _space(probed, plan),
        _programs(probed, plan, backup.major),
        _tools(probed),
        *_listening(probed, plan, backup.major, host),
    )


def _running(probed: Destination, plan: RestorePlan, host: HostConfig | None) -> Precondition:
    postmaster = probed.postmaster
    if postmaster is None or not postmaster.alive:
        return holds("running server", "none there")
    return fails("running server",
                 f"{plan.destination.directory}/postmaster.pid names process {postmaster.pid} ({postmaster.program}), "
                 "which runs.", f"Stop it first, on that host: {_stop(probed, plan, host)}")


def _stop(probed: Destination, plan: RestorePlan, host: HostConfig | None) -> str:
    """Return the command that a person types to stop the server."""
    if command := host and host.stop_command_for(plan.destination.directory, probed.directory.real_path):
        return command
    programs = [each for each in probed.installations if each.has_pg_ctl]
    programs.sort(key=lambda each: str(each.major) != probed.pg_version)
    pg_ctl = f"{programs[0].directory}/pg_ctl" if programs else "pg_ctl"
    return shlex.join([pg_ctl, "stop", "-D", plan.destination.directory])


def _listening(probed: Destination, plan: RestorePlan, major: int,
               host: HostConfig | None) -> Iterator[Precondition]:
    if plan.destination.start and plan.configuration.listens is not None:
        yield from listening_conditions(probed, plan.configuration.listens, major,
                                        by_command=bool(host and host.start_command_for(plan.destination.directory)))


def _directory(probed: Destination, state: DirectoryState, plan: RestorePlan) -> Precondition:
    place, name = probed.directory, "directory"
    if not place.is_one_line:
        return fails(name, f"{place.path!r} has control characters; PostgreSQL keeps it in a file of lines.",
                     "Choose another directory.")
    if not place.path.strip("/"):
        return fails(name, "The root directory cannot be one.", "Choose another directory.")
    if place.contents in (Contents.NOT_A_DIRECTORY, Contents.UNREADABLE):
        what = "is not a directory" if place.contents is Contents.NOT_A_DIRECTORY else "cannot be read"
        return fails(name, f"{place.path} {what}.", "Choose another directory.")
    if place.within:
        return fails(name, f"{place.path} lies inside the data directory {place.within} of another cluster.",
                     "Choose a directory outside it: what a server finds among its files it may remove or back up.")
    if state.holds == NOTHING:
        return holds(name, "missing, will be made" if place.contents is Contents.MISSING else "empty")
    if probed.incomplete_restore is not None:
        return holds(name, f"what the incomplete restore {probed.incomplete_restore} left will be removed")
    if plan.replaced.sets_aside:
        return _renaming(place)
    what = describe_contents(state, plan.server, plan.source.backup) if probed.has_cluster else ", ".join(place.entries)
    return fails(name, f"{place.path} holds {what}.",
                 f"Choose another directory; or have it renamed out of the way: --overwrite "
                 f"{plan.destination.directory}")


def _renaming(place: Place) -> Precondition:
    """Return the condition that the directory can be renamed."""
    name, parent = "directory", posixpath.dirname(place.real_path)
    if place.is_mount_point:
        return fails(name, f"{place.real_path} is a mount point, which cannot be renamed.",
                     "Move what is in it to another place and restore without --overwrite; or restore to a directory "
                     f"below it: {place.real_path}/data")
    if not place.can_be_renamed:
        return fails(name, f"{place.real_path} cannot be renamed: we may not write to {parent}.",
                     f"Give us the right to write to {parent}; or move what is there away as the user that may, and "
                     "restore without --overwrite.")
    return holds(name, "what is there will be renamed, and kept until you remove it")


def _owner(probed: Destination, plan: RestorePlan) -> Precondition:
    place, name = probed.directory, "right to write"
    if probed.uid == 0 and plan.destination.start:
        return fails("user root", "PostgreSQL does not run as root.",
                     "Log in as the user that runs the server: ssh = \"postgres@...\"; or add --no-start.")
    exists = place.contents is not Contents.MISSING
    if exists and place.owner_uid != probed.uid:
        fix = f"Log in as {place.owner}, or choose a directory that is not there yet." if probed.uid == 0 else \
            f"On that host: chown {probed.user} {place.path}"
        return fails(name, f"{place.path} belongs to {place.owner}, and we are {probed.user} there.", fix)
    if not place.writable:
        where = place.path if exists else place.nearest
        return fails(name, f"{probed.user} may not write to {where}.", "Make it writable, or choose another.")
    if probed.uid == 0:
        places = shlex.join([place.real_path, *(each.real_path for each in probed.tablespaces)])
        return Precondition(name, Outcome.WARNING, "root will own the files, and PostgreSQL does not run as root.",
                            "Give them to the user that runs the server before you start it, on that host: "
                            f"chown -R postgres: {places}")
    return holds(name, f"as {probed.user}, who will own the files")


def room(probed: Destination, destination: RestoreDestination, total: int, segment_size: int) -> tuple[Room, ...]:
    """Return required and free space for each file system: requirements on one add up, and recovery needs space of its
    own in pg_wal. `total` is the number of bytes written in all.
    """
    spaces = destination.placed
    wanted = [(probed.directory, total - sum(each.size_bytes for each in spaces) + RECOVERY_SEGMENTS * segment_size),
              *((place, space.size_bytes) for space, place in zip(spaces, probed.tablespaces, strict=True))]
    on: dict[str, list[tuple[Place, int]]] = {}
    for place, count in wanted:
        on.setdefault(place.file_system, []).append((place, count))
    return tuple(_room(places) for places in on.values())


def _room(places: Sequence[tuple[Place, int]]) -> Room:
    """Return the room on one file system. The remains of an incomplete restore count as free: they are removed before
    anything is written.
    """
    first = places[0][0]
    left = sum(place.left_bytes for place, _ in places)
    free = None if first.free_bytes is None else first.free_bytes + left
    return Room(first.path, first.mounted_on, sum(count for _, count in places), free)


def _space(probed: Destination, plan: RestorePlan) -> Precondition:
    found = room(probed, plan.destination, plan.cost.bytes_to_write, plan.source.backup.segment_size)
    for each in found:
        if not each.is_enough:
            return fails("space", f"{each.path} needs {size(each.needed)} and {each.mounted_on} has "
                                  f"{size(each.free)} free ({size(each.needed - (each.free or 0))} too few).",
                         "Free space there, or choose another directory.")
    return holds("space", ", ".join(f"{_free(each)} free for {size(each.needed)}" for each in found))


def _programs(probed: Destination, plan: RestorePlan, major: int) -> Precondition:
    name = f"programs of PostgreSQL {major}"
    fitting = [i for i in probed.installations if i.major == major]
    if fitting:
        return holds(name, f"{fitting[0].version} in {fitting[0].directory}")
    found = ", ".join(f"{i.version} in {i.directory}" for i in probed.installations) or "none"
    outcome = Outcome.FAILED if plan.destination.start or probed.installations else Outcome.WARNING
    return Precondition(name, outcome, f"Found: {found}.",
                        f"Install PostgreSQL {major} there, or set bin_directory for the host.")


def _tools(probed: Destination) -> Precondition:
    if probed.tar is None:
        return fails("tar", "The host has no tar.", "Install tar there.")
    return holds("tar", "zstd too: stored data goes over as it is" if probed.zstd
                 else "no zstd: data is unpacked here and goes over plain")


def _free(room: Room) -> str:
    return "an unknown amount" if room.free is None else size(room.free)
