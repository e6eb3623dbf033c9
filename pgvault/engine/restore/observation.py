"""What a restored server shows without a login: its files, its processes, pg_controldata and its log.

All of this works in any language: states come from pg_controldata, which the host runs in English, from postmaster.pid
and from process titles, which PostgreSQL does not translate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from pgvault.engine.restore.contents import LOG_FILE
from pgvault.io.host import Host
from pgvault.io.host_scripts import FREE_KIB
from pgvault.model.lsn import Lsn

_LOG_LINES = 400
_LOOK = f"""# look at the restored server
bin=$1 directory=$2 lines=$3 elsewhere=$4
cd "$directory" || exit 0
say() {{ printf '%s=%s\\0' "$1" "$2"; }}
say directory "$(pwd -P)"
say free "$(path=. && {FREE_KIB})"
say control "$("$bin/pg_controldata" . 2>/dev/null)"
branch=
for history in pg_wal/????????.history; do [ ! -f "$history" ] || branch=$history; done
[ -z "$branch" ] || say branch "$branch $(grep '^ *[0-9]' "$branch" 2>/dev/null | tail -n 1)"
if [ -e postmaster.pid ]; then
  say postmaster.pid "$(head -c 4096 postmaster.pid 2>/dev/null)"
  pid=$(head -n 1 postmaster.pid 2>/dev/null)
  case $pid in '' | *[!0-9]*) pid= ;; esac
fi
if [ -n "$pid" ] && [ -e /proc/self/stat ]; then
  {{ read -r line <"/proc/$pid/stat"; }} 2>/dev/null && case ${{line##*) }} in [ZX]*) ;; *) alive=yes ;; esac
  [ -z "$alive" ] || for stat in /proc/[0-9]*/stat; do
    {{ read -r line <"$stat"; }} 2>/dev/null || continue
    case ${{line##*) }} in ?" $pid "*) ;; *) continue ;; esac
    child=${{stat%/stat}}
    say process "${{child#/proc/}} ${{line##*) }}|$(tr '\\000' ' ' 2>/dev/null <"$child/cmdline")"
  done
elif [ -n "$pid" ] && {{ kill -0 "$pid" 2>/dev/null || ps -p "$pid" >/dev/null 2>&1; }}; then
  alive=yes
  ps -A -o ppid= -o pid= -o args= 2>/dev/null | while read -r parent child title; do
    [ "$parent" != "$pid" ] || say process "$child |$title"
  done
fi
if [ -n "$alive" ]; then
  say alive yes
  printed=$(readlink "/proc/$pid/fd/2" 2>/dev/null)
  case $printed in /*) [ ! -f "$printed" ] || elsewhere=$printed ;; esac
fi
say elsewhere "$elsewhere"
say log "$(
  tail -n "$lines" {LOG_FILE} 2>/dev/null
  [ -z "$elsewhere" ] || [ "$elsewhere" -ef {LOG_FILE} ] || tail -n "$lines" "$elsewhere" 2>/dev/null
  read -r kind current 2>/dev/null <current_logfiles && tail -n "$lines" "$current" 2>/dev/null)"
say end yes
"""
"""The places of its log: pg_ctl's file, the server's own collector's, and wherever the host's start command sends it,
which only a running server shows; $4 is where an earlier look found it.
"""

_PAIR = re.compile(r"(\S.*?):\s+(.*)")
_STARTED = re.compile(r"PostgreSQL \d\S* .*compiled by")
"""The server's version, which its first message has in any language: what is older is of an earlier run."""
_REPLAYS = re.compile(r"\bstartup\b.*?\b(?:recovering|waiting for) [0-9A-F]{24}")
_STREAMS = re.compile(r"\bwalreceiver\b.*\bstreaming ([0-9A-F]+/[0-9A-F]+)")
_WORKS = re.compile(r"\b(?:startup|checkpointer)\b")
_LASTS = re.compile(r"\d+[.,]\d\d s\b.*")
"""The reports of long steps, such as "syncing data directory (fsync), elapsed time: 10.00 s, current path: ..."."""
_ROOM = 1024
"""The free KiB below which a server cannot even log why it does not start."""
_TICKS = 10
"""Processor time in hundredths of a second that counts as work: a process that waits and wakes each second uses less.
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A child of the postmaster."""

    pid: int
    title: str
    ticks: int = 0
    """Its processor time, in ticks; 0 if the host does not show it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of one look."""

    alive: bool = False
    """True if its postmaster runs."""
    status: str = ""
    """The state in postmaster.pid: starting, stopping, ready (it accepts logins) or standby (it runs and accepts none).
    """
    started: int | None = None
    """Its start time, in seconds since 1970."""
    port: int | None = None
    places: tuple[str, ...] = ()
    """Where it listens: a directory of Unix sockets, an abstract one (@...), or an address."""
    directory: str = ""
    """Its data directory, with symbolic links resolved."""
    control: Mapping[str, str] = field(default_factory=dict)
    """The lines of pg_controldata."""
    processes: tuple[Process, ...] = ()
    log: tuple[str, ...] = ()
    """The last lines of its log since it was started."""
    branch: tuple[int, Lsn] | None = None
    """The newest timeline that it knows, and where that began."""
    elsewhere: str = ""
    """The file of its messages, if it is neither pg_ctl's nor its collector's."""
    free: int | None = None
    """The free KiB on the file system of its data directory; None if unknown."""

    @property
    def is_full(self) -> bool:
        return self.free is not None and self.free < _ROOM

    @property
    def state(self) -> str:
        return self.control.get("Database cluster state", "")

    @property
    def is_recovering(self) -> bool:
        return self.state in ("in archive recovery", "shut down in recovery")

    @property
    def consistent_to(self) -> Lsn | None:
        """Return how far replay has certainly come; None before the end of the server's backup."""
        if position(self.control.get("Backup start location", "")):
            return None
        return position(self.control.get("Minimum recovery ending location", ""))

    @property
    def streams_from(self) -> Lsn | None:
        """Return the position of the WAL that the original server sends; None if it sends none."""
        found = next(filter(None, (_STREAMS.search(each.title) for each in self.processes)), None)
        return position(found[1]) if found else None

    @property
    def doing(self) -> str:
        """Return what the startup process, which replays, reports in its title."""
        return next((each.title.strip() for each in self.processes if re.search(r"\bstartup\b", each.title)), "")

    @property
    def replayer(self) -> int | None:
        return next((each.pid for each in self.processes if re.search(r"\bstartup\b", each.title)), None)

    def signs_of_life(self) -> set[str]:
        """Return facts of which a new one shows that something changed. The log's reports of logins and lost
        connections are not among them: they occur while nothing else does.
        """
        signs = {self.state, self.status, self.control.get("Latest checkpoint location", ""),
                 self.control.get("Minimum recovery ending location", "")}
        for each in self.processes:
            if _REPLAYS.search(each.title) or _STREAMS.search(each.title):
                signs.add(each.title)
            if _WORKS.search(each.title):
                signs.add(f"{each.pid} {each.ticks // _TICKS}")
        return signs | {found[0] for line in self.log if (found := _LASTS.search(line))}


NOTHING_SEEN = Observation()


async def observe_server(host: Host, directory: str, programs: str, elsewhere: str = "") -> Observation:
    """Look at the server. `programs` is the directory of pg_controldata, or empty; `elsewhere` is the log that an
    earlier look found.
    """
    done = await host.run_script(_LOOK, programs, directory, str(_LOG_LINES), elsewhere)
    return parse_observation([record.decode("utf-8", "surrogateescape") for record in done.stdout.split(b"\0")[:-1]])


def parse_observation(records: Sequence[str]) -> Observation:
    """Parse the script's output."""
    pairs = [(key, value) for key, _, value in (record.partition("=") for record in records)]
    facts = dict(pairs)
    pid_file = [line.strip() for line in facts.get("postmaster.pid", "").splitlines()] + [""] * 8
    address = {"*": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(pid_file[5], pid_file[5])
    return Observation(
        alive="alive" in facts, status=pid_file[7], started=_number(pid_file[2]), port=_number(pid_file[3]),
        places=tuple(filter(None, (pid_file[4], address))), directory=facts.get("directory", ""),
        control=MappingProxyType({pair[1]: pair[2].strip() for line in facts.get("control", "").splitlines()
                                  if (pair := _PAIR.match(line))}),
        processes=tuple(filter(None, (_process(value) for key, value in pairs if key == "process"))),
        log=of_this_run(facts.get("log", "").splitlines()), branch=_branch(facts.get("branch", "")),
        elsewhere=facts.get("elsewhere", ""), free=_number(facts.get("free", "")))


def of_this_run(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines since the server was last started, as far as they show it."""
    begin = next((at for at in reversed(range(len(lines))) if _STARTED.search(lines[at])), 0)
    return tuple(lines[begin:])


def position(text: str) -> Lsn | None:
    with suppress(ValueError):
        return Lsn.parse(text)
    return None


def _process(text: str) -> Process | None:
    """Parse `pid state ppid ... |title`, with the fields of /proc/PID/stat that follow the program's name."""
    numbers, _, title = text.partition("|")
    words = numbers.split()
    if not words or not words[0].isdecimal():
        return None
    used = words[12:14]
    return Process(int(words[0]), title, sum(int(each) for each in used if each.isdecimal()))


def _branch(text: str) -> tuple[int, Lsn] | None:
    """Parse `pg_wal/00000002.history 1 0/3000000 reason`: the file's timeline, and where it left the one before."""
    words = text.split()
    if len(words) < 3:
        return None
    begins = position(words[2])
    with suppress(ValueError):
        return (int(words[0].rpartition("/")[2].partition(".")[0], 16), begins) if begins is not None else None
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
