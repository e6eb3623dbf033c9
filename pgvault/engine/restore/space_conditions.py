"""What must hold at the places of tablespaces before anything is written there: pure rules on the probe's findings."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence

from pgvault.engine.restore.directory_state import OURS
from pgvault.engine.restore.spaces import describe_tablespace
from pgvault.io.probe import Contents, Destination, Installation
from pgvault.io.probe_script import MARKER
from pgvault.model.check import Outcome
from pgvault.model.majors import facts_of
from pgvault.model.restore_plan import Precondition, RestorePlan
from pgvault.model.target import option

_MINOR = re.compile(r"(\d+)\.(\d+)")


def space_conditions(probed: Destination, plan: RestorePlan, major: int) -> Iterator[Precondition]:
    taken = [probed.directory.real_path]
    for space, place in zip(plan.destination.placed, probed.tablespaces, strict=True):
        name = f"tablespace {space.name}"
        choose = f"Choose another place: {shlex.join(option('--tablespace', f'{space.name}=PATH'))}"
        if not place.is_one_line:
            yield Precondition(name, Outcome.FAILED, f"{place.path!r} has control characters.", choose)
        elif any(_overlap(place.real_path, other) for other in taken):
            yield Precondition(name, Outcome.FAILED, f"{place.path} is taken by this restore itself.", choose)
        elif place.within:
            detail = f"{place.path} lies inside the data directory {place.within} of another cluster."
            yield Precondition(name, Outcome.FAILED, detail, choose)
        elif place.contents not in (Contents.MISSING, Contents.EMPTY) and not set(place.entries) <= OURS \
                and not (probed.incomplete_restore is not None and MARKER in place.entries):
            yield Precondition(name, Outcome.FAILED, f"{place.path} is not empty: {', '.join(place.entries)}.", choose)
        elif not place.writable or (place.contents is not Contents.MISSING and place.owner_uid != probed.uid):
            yield Precondition(name, Outcome.FAILED, f"{probed.user} may not write to {place.path}.", choose)
        else:
            left = ", where what the incomplete restore left will be removed" if MARKER in place.entries else ""
            yield Precondition(name, Outcome.OK, f"{describe_tablespace(space)}{left}")
        taken.append(place.real_path)
    for space in plan.destination.tablespaces:
        if not space.location:
            yield Precondition(f"tablespace {space.name}", Outcome.OK, describe_tablespace(space))
    if plan.source.wal.created or plan.destination.has_spaces_inside:
        yield from minor_conditions(probed.installations, major)
    if plan.point.standby:
        yield Precondition("later tablespaces", Outcome.WARNING,
                           "What the original server creates from now on, a standby creates at the same path on its "
                           "own host.",
                           "Make the directory on both hosts before each CREATE TABLESPACE; on the original server's "
                           "own host the two would write to one directory, so create none while it follows.")


def _overlap(one: str, other: str) -> bool:
    return posixpath.commonpath([one, other]) in (one, other)


def minor_conditions(installations: Sequence[Installation], major: int) -> Iterator[Precondition]:
    """Yield the condition of the host's minor version: older minors replay the creation of a tablespace only with its
    path, and cannot have one in the data directory.
    """
    least = facts_of(major).pathless_minor
    if not least:
        return
    name, fix = "replay of tablespaces", f"Update it to {major}.{least} or newer, or restore from a newer backup."
    found = [each for each in installations if each.major == major]
    minors = [(int(match[2]) if (match := _MINOR.match(each.version)) else None, each) for each in found]
    if old := next((each for minor, each in minors if minor is not None and minor < least), None):
        yield Precondition(
            name, Outcome.FAILED, "A tablespace was created or dropped after the backup began, and PostgreSQL "
            f"{old.version} in {old.directory} can replay that only at its original path.", fix)
    elif not minors or any(minor is None for minor, _ in minors):
        yield Precondition(
            name, Outcome.WARNING, "A tablespace was created or dropped after the backup began, and the version of "
            "the programs there is not known.", f"Be sure that it is {major}.{least} or newer.")
