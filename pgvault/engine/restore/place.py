"""Prepares and publishes the destination's directories: marked before the first byte, unmarked after the last.

`global/pg_control` is sent under another name and gets its own after everything else is on disk; until then PostgreSQL
cannot start there. The mark is a file that identifies the restore, so that a second run knows what it may remove: it
has the job, whether the restore made the directory, and the data directory that it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgvault.engine.restore.contents import HELD_BACK
from pgvault.io.host import Host
from pgvault.io.host_failure import command_failed
from pgvault.io.probe_script import MARKER
from pgvault.model.errors import PgvaultError, Refused

_NOT_EMPTY = 3

_COMMON = f"""set -eu
umask 077
mark={MARKER}
empty() {{
  find "$1" -mindepth 1 -maxdepth 1 ! -name "$mark" ! -name lost+found -exec rm -rf {{}} +
}}
stop_writers() {{  # the programs of a restore that was cut off may still have something to write
  [ -d /proc/self ] || return 0
  there=$(cd "$1" && pwd -P)
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/cwd" 2>/dev/null)" = "$there" ]; then
      case $(cat "$process/comm" 2>/dev/null) in
        tar | bsdtar | busybox) kill -9 "${{process#/proc/}}" 2>/dev/null || : ;;
      esac
    fi
  done
}}
"""

PREPARE = f"""# make the destination ready
{_COMMON}
dir=$1 job=$2 aside=$3 left=$4
shift 4
if [ -n "$aside" ]; then
  if [ -e "$aside" ]; then echo "$aside exists" >&2; exit {_NOT_EMPTY}; fi
  mv "$dir" "$aside"
fi
for place in "$dir" "$@"; do
  case $place in /*) ;; *) place=${{place#*=}} ;; esac
  made=kept
  if [ ! -d "$place" ]; then mkdir -p "$place"; made=new; fi
  if [ -e "$place/$mark" ]; then
    if [ -n "$aside" ] || [ -e "$dir/global/pg_control" ]; then
      echo "$place belongs to the complete cluster that $(head -n 1 "$place/$mark") restored" >&2
      exit {_NOT_EMPTY}
    fi
    if [ "$(sed -n '3,$p' "$place/$mark")" != "$dir" ]; then
      echo "$place belongs to the incomplete restore $(head -n 1 "$place/$mark")" >&2
      exit {_NOT_EMPTY}
    fi
    if [ "$place" = "$dir" ] && [ "$(head -n 1 "$place/$mark")" != "$left" ]; then
      echo "$place now holds what the incomplete restore $(head -n 1 "$place/$mark") left or writes" >&2
      exit {_NOT_EMPTY}
    fi
    made=$(sed -n 2p "$place/$mark")
    stop_writers "$place"
    empty "$place"
  fi
  if [ -n "$(find "$place" -mindepth 1 -maxdepth 1 ! -name "$mark" ! -name lost+found -print | head -n 1)" ]; then
    echo "$place is not empty" >&2
    exit {_NOT_EMPTY}
  fi
  chmod 700 "$place"
  # half a mark on a full disk would be nobody's
  printf '%s\\n%s\\n%s\\n' "$job" "$made" "$dir" > "$place/$mark" || {{ rm -f "$place/$mark"; exit 1; }}
done
mkdir "$dir/pg_tblspc"
for space in "$@"; do
  ln -s "${{space#*=}}" "$dir/pg_tblspc/${{space%%=*}}"
done
"""

_FLUSH = """set -eu
case $(sync --help 2>&1) in *-f*) flush() { sync -f "$1"; } ;; *) flush() { sync; } ;; esac
"""

FLUSH = f"""# write everything to disk
{_FLUSH}
for place in "$@"; do flush "$place"; done
"""

PUBLISH = f"""# make it a cluster that can be started
{_FLUSH}
dir=$1
mv "$dir/{HELD_BACK}" "$dir/global/pg_control"
flush "$dir" || {{ mv "$dir/global/pg_control" "$dir/{HELD_BACK}"; exit 1; }}
for place in "$@"; do rm -f "$place/{MARKER}"; done
flush "$dir"
"""

UNDO = f"""# remove what the cancelled restore wrote
{_COMMON}
dir=$1 job=$2 aside=$3
shift 3
for place in "$@" "$dir"; do
  if [ "$(head -n 1 "$place/$mark" 2>/dev/null)" = "$job" ]; then
    made=$(sed -n 2p "$place/$mark")
    stop_writers "$place"
    empty "$place"
    rm -f "$place/$mark"
    if [ "$made" = new ]; then rmdir "$place"; fi
  fi
done
if [ -n "$aside" ] && [ -d "$aside" ]; then
  if [ -d "$dir" ]; then rmdir "$dir"; fi
  mv "$aside" "$dir"
fi
"""


def aside_name(directory: str, job: str) -> str:
    """Return where a data directory that a restore overwrites is kept."""
    return f"{directory}.before-{job}"


@dataclass(frozen=True, slots=True)
class Site:
    """The directories of one restore on its host."""

    host: Host
    directory: str
    """The data directory, with symbolic links resolved: what is renamed is the directory, not a link to it."""
    tablespaces: tuple[tuple[int, str], ...]
    """The OID and the location of each tablespace."""
    job: str
    sets_aside: bool
    left_by: str = ""
    """The job whose incomplete restore into the data directory may be removed."""

    @property
    def aside(self) -> str:
        """Return where an overwritten directory is kept; empty if nothing is overwritten."""
        return aside_name(self.directory, self.job) if self.sets_aside else ""

    @property
    def _places(self) -> list[str]:
        return [self.directory, *(location for _, location in self.tablespaces)]

    async def prepare(self) -> None:
        """Set aside what is overwritten, make the directories and the links to tablespaces, and mark them.

        If something there prevents this, what was begun is undone.
        """
        spaces = [f"{oid}={location}" for oid, location in self.tablespaces]
        done = await self.host.run_script(PREPARE, self.directory, self.job, self.aside, self.left_by, *spaces,
                                          timeout=3600)
        if done.status == 0:
            return
        error: PgvaultError
        if done.status == _NOT_EMPTY:
            error = Refused(f"the destination on {self.host.description} has changed since it was looked at",
                            detail=f"{done.stderr.strip()}.", hint="Make the plan again.")
        else:
            error = command_failed(self.host.description, ["sh"], done.status, done.stderr, path=self.directory,
                                   doing=f"make {self.directory} ready")
        try:
            await self.undo()
        except PgvaultError as undoing:
            kept = f"; what was there may be in {self.aside}" if self.aside else ""
            error.detail += f" What was begun is not undone ({undoing.message}){kept}."
        else:
            error.detail += " Nothing was changed there."
        raise error

    async def flush(self) -> None:
        """Flush everything that was sent to disk."""
        await self._must_run(FLUSH, *self._places, doing=f"flush {self.directory}")

    async def publish(self) -> None:
        """Let PostgreSQL start there, and remove the marks."""
        await self._must_run(PUBLISH, *self._places, doing=f"complete {self.directory}")

    async def undo(self) -> None:
        """Remove what this job wrote, and put back what it set aside."""
        await self._must_run(UNDO, self.directory, self.job, self.aside, *(place for _, place in self.tablespaces),
                             doing=f"remove what was restored to {self.directory}")

    async def _must_run(self, script: str, *arguments: str, doing: str) -> None:
        await self.host.must_run(["sh", "-c", script, "pgvault", *arguments], doing=doing, path=self.directory,
                                 timeout=3600)
