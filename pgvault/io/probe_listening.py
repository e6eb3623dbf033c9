"""Finds out whether a server can listen on a host: the part of the probe about a port and its sockets.

The rules are PostgreSQL's (`CreateLockFile` in miscinit.c). The lock file of a live process of the same user prevents
the start, and so does one that cannot be read or parsed. What a dead process left is no obstacle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LISTENING: Final = r"""
look_at_socket() {  # whether a server of ours can make its socket in a directory
  say socket "$1"
  if [ -d "$1" ] && [ -w "$1" ] && [ -x "$1" ]; then say socket_writable yes; fi
  lock=$1/.s.PGSQL.$port.lock
  [ -e "$lock" ] || return 0
  if [ ! -r "$lock" ]; then say lock_closed yes; return; fi
  say lock "$(begin "$lock")"
  pid=$(head -n 1 "$lock" 2>/dev/null)
  pid=${pid#-}
  case $pid in
    '' | *[!0-9]*) ;;
    *) if kill -0 "$pid" 2>/dev/null; then say lock_holder "$(program "$pid")"; fi ;;
  esac
}

built_in_sockets() {  # the socket directories that this program takes where the configuration names none
  "$1" --describe-config 2>/dev/null </dev/null | while IFS=$(printf '\t') read -r name context group kind value rest
  do
    if [ "$name" = unix_socket_directories ]; then printf %s "$value"; fi
  done
}

look_at_tcp() {  # what listens on the port; the kernel tells those that listen first
  wanted=$(printf %04X "$port")
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    say tcp "$table"
    while read -r slot local remote state queues timer retransmits uid timeout inode rest; do
      case $state in st) continue ;; 0A) ;; *) break ;; esac
      case $local in *":$wanted")
        say listener "${local%:*}"
        say listener_user "$(id -un "$uid" 2>/dev/null || printf %s "$uid")"
        holder=$(ls -l /proc/[0-9]*/fd/ 2>/dev/null | grep -e '^/proc/' -e "socket:\[$inode\]" 2>/dev/null |
          while read -r first rest; do
            case $first in /proc/*) process=${first#/proc/} ;; *) printf %s "${process%%/*}"; break ;; esac
          done)
        [ -z "$holder" ] || say listener_process "$holder $(program "$holder")" ;;
      esac
    done < "$table"
  done
}
"""
"""Functions for the probe script, which provides `say`, `begin` and `program`, and `$port`."""


@dataclass(frozen=True, slots=True)
class SocketPlace:
    """A directory for Unix sockets, and what prevents a socket for the port there."""

    directory: str
    writable: bool
    """Whether it is a directory in which the login may create files."""
    taken_by: str
    """A description such as "process 888 (postgres) of /srv/data", if the port's lock file exists and PostgreSQL would
    not remove it; empty if nothing prevents the socket.
    """


@dataclass(frozen=True, slots=True)
class Listener:
    """What listens on the TCP port."""

    address: str
    """The address as the kernel writes it: hexadecimal digits of /proc/net/tcp or tcp6."""
    process: str
    """A description such as "process 888 (postgres)"."""


Records = Sequence[tuple[str, str]]


def socket_place(records: Records) -> SocketPlace:
    """Parse the records that begin with `socket`."""
    facts = dict(records)
    return SocketPlace(facts["socket"], "socket_writable" in facts, _taken_by(facts))


def _taken_by(facts: Mapping[str, str]) -> str:
    if "lock_closed" in facts:
        return "a server of another user"
    if "lock" not in facts:
        return ""
    pid, directory, *_ = [*facts["lock"].splitlines(), "", ""]
    pid = pid.strip().removeprefix("-")
    if not (pid.isascii() and pid.isdigit()):
        return "a damaged lock file"
    return f"process {pid} ({facts['lock_holder']}) of {directory.strip()}" if "lock_holder" in facts else ""


def listener(records: Records) -> Listener:
    """Parse the records that begin with `listener`."""
    facts = dict(records)
    pid, _, program = facts.get("listener_process", "").partition(" ")
    return Listener(facts["listener"], f"process {pid} ({program})" if pid else
                    f"a process of user {facts.get('listener_user', '')}")
