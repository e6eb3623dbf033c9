"""What is done to the destination's directories: marked before the first byte, unmarked after the last.

While the mark is there PostgreSQL cannot start on the directory, since `global/pg_control` is sent last, and a second
run knows that what it finds is its own to remove.
"""

from __future__ import annotations

from pgvault.io.host import Host
from pgvault.io.probe_script import MARKER
from pgvault.model.errors import Refused
from pgvault.model.restore_plan import RestorePlan

PREPARE = f"""# make the destination ready
set -eu
umask 077
dir=$1 job=$2 aside=$3
shift 3
mark={MARKER}
empty() {{ find "$1" -mindepth 1 -maxdepth 1 ! -name "$mark" -exec rm -rf {{}} +; }}
if [ -n "$aside" ]; then
  [ ! -e "$aside" ]
  mv "$dir" "$aside"
fi
for place in "$dir" "$@"; do
  case $place in *=*) place=${{place#*=}} ;; esac
  mkdir -p "$place"
  if [ -e "$place/$mark" ]; then empty "$place"; fi
  if [ -n "$(find "$place" -mindepth 1 -maxdepth 1 ! -name "$mark" ! -name lost+found -print | head -n 1)" ]; then
    echo "$place is not empty" >&2
    exit 3
  fi
  chmod 700 "$place"
  printf '%s\\n' "$job" > "$place/$mark"
done
mkdir "$dir/pg_tblspc"
for space in "$@"; do
  ln -s "${{space#*=}}" "$dir/pg_tblspc/${{space%%=*}}"
done
"""

FINISH = f"""# write everything to disk and remove the mark
set -eu
dir=$1
shift
for place in "$dir" "$@"; do sync -f "$place" 2>/dev/null || sync; done
for place in "$@" "$dir"; do rm -f "$place/{MARKER}"; done
sync -f "$dir" 2>/dev/null || sync
"""

UNDO = f"""# remove what the cancelled restore wrote
set -eu
dir=$1 job=$2 aside=$3
shift 3
for place in "$dir" "$@"; do
  if [ "$(cat "$place/{MARKER}" 2>/dev/null)" = "$job" ]; then
    find "$place" -mindepth 1 -maxdepth 1 ! -name "{MARKER}" -exec rm -rf {{}} +
    rm -f "$place/{MARKER}"
  fi
done
if [ -n "$aside" ] && [ -d "$aside" ]; then
  rmdir "$dir"
  mv "$aside" "$dir"
fi
"""

_NOT_EMPTY = 3


def aside_of(plan: RestorePlan, job: str) -> str:
    """Where an overwritten directory is kept; empty when nothing is overwritten."""
    return f"{plan.directory}.before-{job}" if plan.sets_aside else ""


async def prepare(host: Host, plan: RestorePlan, job: str) -> None:
    """Set aside what is overwritten, make the directories and the links to tablespaces, and mark them."""
    spaces = [f"{space.oid}={space.location}" for space in plan.tablespaces]
    done = await host.run_script(PREPARE, plan.directory, job, aside_of(plan, job), *spaces)
    if done.status == _NOT_EMPTY:
        raise Refused(f"the destination on {host.description} has changed since it was looked at",
                      detail=f"{done.stderr.strip()}.", hint="Make the plan again.")
    if done.status:
        raise Refused(f"could not make {plan.directory} on {host.description} ready", detail=done.stderr.strip(),
                      hint="Check the directory's owner and its parent's.")


async def finish(host: Host, plan: RestorePlan) -> None:
    """Everything is on disk and the mark is gone."""
    await host.must_run(["sh", "-c", FINISH, "pgvault", plan.directory, *(s.location for s in plan.tablespaces)],
                        doing=f"complete {plan.directory}", path=plan.directory, timeout=3600)


async def undo(host: Host, plan: RestorePlan, job: str) -> None:
    """Remove what this job wrote, and put back what it set aside."""
    await host.must_run(["sh", "-c", UNDO, "pgvault", plan.directory, job, aside_of(plan, job),
                         *(s.location for s in plan.tablespaces)],
                        doing=f"remove what was restored to {plan.directory}", path=plan.directory, timeout=3600)
