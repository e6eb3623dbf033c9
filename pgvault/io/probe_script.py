"""The script that examines a destination, in POSIX sh: for dash, bash and busybox, without GNU options.

It changes nothing. $1 is the directory of PostgreSQL's programs or empty. A nonempty $2 requests the size of the data
directory. $3 is the port that a server will listen on or empty, $4 the number of its socket directories that follow
(`-` for the compiled-in ones). The data directory and the tablespace directories follow. The script prints records
`key=value`, each terminated by a NUL, since names and files may contain any other byte.
"""

from __future__ import annotations

from typing import Final

from pgvault.io.probe_listening import LISTENING
from pgvault.model.control_file import HEAD

MARKER: Final = "pgvault-restore-incomplete"
"""The file in a data directory with the id of the restore that has not completed."""

MEASURE_SECONDS: Final = 10
"""Measuring a million cold files takes minutes. If it takes longer than this, the size stays unknown."""

PROBE: Final = f"""# look at the destination
say() {{ printf '%s=%s\\0' "$1" "$2"; }}
begin() {{ head -c 4096 "$1" 2>/dev/null; }}
first_line() {{ "$@" 2>/dev/null </dev/null | head -n 1; }}
program() {{ cat "/proc/$1/comm" 2>/dev/null || ps -o comm= -p "$1" 2>/dev/null; }}
owner() {{ ls -ldnL "$1" 2>/dev/null | {{ read -r mode links uid rest; printf %s "$uid"; }}; }}
{LISTENING}
look_at() {{  # one directory: what is there, whose it is, what it is on
  say directory "$1"
  parent=$1
  while [ ! -e "$parent" ] && [ ! -L "$parent" ]; do
    parent=${{parent%/*}}
    [ -n "$parent" ] || parent=/
  done
  missing=${{1#"$parent"}}
  if [ "$parent" != "$1" ]; then
    say contents missing
  elif [ ! -d "$1" ]; then
    say contents not-a-directory
  elif [ ! -r "$1" ] || [ ! -x "$1" ]; then
    say contents unreadable
  else
    entries=0
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      [ -e "$entry" ] || [ -L "$entry" ] || continue
      say entry "${{entry##*/}}"
      entries=$((entries + 1))
      [ $entries -lt 5 ] || break
    done
    if [ $entries -eq 0 ]; then say contents empty; else say contents populated; fi
  fi
  if [ -d "$parent" ]; then
    real=$(cd "$parent" 2>/dev/null && pwd -P && echo .)
    real=${{real%??}}
    [ "$real" != / ] || [ -z "$missing" ] || real=
    [ -z "$real$missing" ] || say real "$real${{missing:+/${{missing#/}}}}"
    if [ -w "$parent" ] && [ -x "$parent" ]; then say writable yes; fi
    above=${{real%/*}}
    if [ -w "${{above:-/}}" ] && [ -x "${{above:-/}}" ]; then say renamable yes; fi
    [ -z "$missing" ] || above=$real
    while [ -n "$above" ]; do
      if [ -e "$above/PG_VERSION" ] && [ -e "$above/global" ]; then say within "$above"; break; fi
      above=${{above%/*}}
    done
  fi
  say nearest "$parent"
  say owner "$(owner "$parent")"
  say owner_name "$(ls -ldL "$parent" 2>/dev/null | {{ read -r mode links user rest; printf %s "$user"; }})"
  say device "$(stat -Lc %d "$parent" 2>/dev/null || stat -Lf %d "$parent" 2>/dev/null)"
  say df "$(df -Pk "$parent" 2>/dev/null)"
  if [ -e "$1/{MARKER}" ] && command -v timeout >/dev/null; then  # a million cold files may take minutes
    say left "$(timeout 20 du -sxk "$1/" 2>/dev/null | {{ read -r size rest; printf %s "$size"; }})"
  fi
}}

programs() {{  # PostgreSQL's programs in one directory
  [ -x "$1/postgres" ] || return
  say programs "$1"
  say version "$(first_line "$1/postgres" -V)"
  [ ! -x "$1/pg_ctl" ] || say pg_ctl yes
  [ "$sockets" = - ] || return 0
  built_in=$(built_in_sockets "$1/postgres")
  say sockets "$built_in"
  IFS=', '
  for socket in $built_in; do look_at_socket "$socket"; done
  unset IFS
}}

bin=$1 measure=$2 port=$3 sockets=$4
shift 4
say system "$(uname -s)"
say uid "$(id -u)"
say user "$(id -un 2>/dev/null)"
say processors "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null)"
if command -v tar >/dev/null; then say tar "$(first_line tar --version)"; fi
if command -v zstd >/dev/null; then say zstd "$(first_line zstd --version)"; fi
if [ -n "$bin" ]; then
  programs "$bin"
else
  on_path=$(command -v postgres) && programs "${{on_path%/*}}"
  for found in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin; do programs "$found"; done
fi
if [ "$sockets" != - ]; then
  while [ "$sockets" -gt 0 ]; do look_at_socket "$1"; sockets=$((sockets - 1)); shift; done
fi
[ -z "$port" ] || look_at_tcp

for file in PG_VERSION {MARKER} postmaster.pid; do
  if [ -e "$1/$file" ]; then
    # A mark beside pg_control was left by a crash at the very end: the cluster is complete, and may be in use.
    case $file in {MARKER}) [ ! -e "$1/global/pg_control" ] || continue ;; esac
    say "$file" "$(begin "$1/$file")"
  fi
done
if [ -e "$1/global/pg_control" ]; then  # whose it is and of when, and the version that tells the byte order
  say pg_control "$(head -c {HEAD} "$1/global/pg_control" 2>/dev/null | od -An -v -tx1 2>/dev/null)"
fi
if [ -e "$1/postmaster.pid" ]; then
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
  pid=${{pid#-}}
  case $pid in
    '' | *[!0-9]*) ;;
    *) if kill -0 "$pid" 2>/dev/null || [ -d "/proc/$pid" ] || ps -p "$pid" >/dev/null 2>&1; then
         say alive "$(program "$pid")"
       fi ;;
  esac
fi
if [ -n "$measure" ] && [ -d "$1" ] && command -v timeout >/dev/null; then
  say held "$(timeout {MEASURE_SECONDS} du -sxk "$1/" 2>/dev/null | {{ read -r size rest; printf %s "$size"; }})"
fi
for directory in "$@"; do look_at "$directory"; done
say end yes
"""
