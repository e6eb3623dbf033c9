"""Asks PostgreSQL's programs on a host about a cluster that they are to run, before it exists.

`postgres -C` reads no cluster: it takes settings from its arguments, checks them like those in a configuration file,
and exits. So a host's own programs report whether they know a setting and accept its value, and through `lc_monetary`
whether their C library has a locale. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pgvault.io.host import Host

_ASK: Final = r"""# ask PostgreSQL's programs
say() { printf '%s=%s\0' "$1" "$2"; }
programs=$1
shift
postgres() {  # -C comes first: then root may ask, too
  name=$1
  shift
  "$programs/postgres" -C "$name" -D / -c config_file=/dev/null "$@" </dev/null
}
refused() { postgres port "$@" 2>&1 >/dev/null | sed -n 's/.*FATAL: *//p' | head -n 1; }
for name in block_size wal_block_size; do say "$name" "$(postgres "$name" 2>/dev/null)"; done
say order "$(printf '\1\0' | od -An -tu2 2>/dev/null)"
for each in "$("$programs/pg_config" --pkglibdir 2>/dev/null)" "$programs/../lib" "$programs/../lib/postgresql"; do
  if [ -e "$each/plpgsql.so" ]; then libraries=$each; break; fi
done
settings=0
while [ $settings -lt $# ]; do  # those behind the others, which stay
  each=$1
  shift
  case $each in
    locale=*) [ -z "$(refused -c "lc_monetary=${each#*=}")" ] || say lacks "$each" ;;
    library=/*) [ -e "${each#*=}" ] || [ -e "${each#*=}.so" ] || say lacks "$each" ;;
    library=*) [ -z "${libraries-}" ] || [ -e "$libraries/${each#*=}.so" ] || say lacks "$each" ;;
    file=*) [ -r "${each#*=}" ] || say lacks "$each" ;;
    setting=*) set -- "$@" -c "${each#*=}"; settings=$((settings + 2)) ;;
  esac
done
[ $# -eq 0 ] || say refused "$(refused "$@")"
say end yes
"""
_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class ProgramAnswers:
    """The programs' answers. They are None and empty if the programs report nothing."""

    block_size: int | None
    wal_block_size: int | None
    is_big_endian: bool | None
    locales: tuple[str, ...]
    """Missing ones of the requested locales; likewise for libraries and files."""
    libraries: tuple[str, ...]
    files: tuple[str, ...]
    """Files that are missing or unreadable."""
    refused: str
    """Their message about the first setting that they reject."""


async def ask_programs(host: Host, directory: str, *, locales: Sequence[str] = (), libraries: Sequence[str] = (),
                       files: Sequence[str] = (), settings: Mapping[str, str] | None = None) -> ProgramAnswers:
    """Ask the programs in `directory`. Libraries are names without a suffix, in PostgreSQL's own place, or paths."""
    asked = [*(f"locale={each}" for each in locales), *(f"library={each}" for each in libraries),
             *(f"file={each}" for each in files),
             *(f"setting={name}={value}" for name, value in _in_order(settings or {}))]
    done = await host.run_script(_ASK, directory, *asked, timeout=_TIMEOUT)
    records = [record.decode("utf-8", "surrogateescape").partition("=") for record in done.stdout.split(b"\0")[:-1]]
    facts = {key: value.strip() for key, _, value in records}
    lacking = [value.partition("=") for key, _, value in records if key == "lacks"]

    def lacks(kind: str) -> tuple[str, ...]:
        return tuple(value for each, _, value in lacking if each == kind)

    return ProgramAnswers(_number(facts.get("block_size", "")), _number(facts.get("wal_block_size", "")),
                          {"1": False, "256": True}.get(facts.get("order", "")),
                          lacks("locale"), lacks("library"), lacks("file"), facts.get("refused", ""))


def _in_order(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Put last the settings that decide whether and in which language the programs answer."""
    return sorted(settings.items(), key=lambda item: item[0] in ("lc_messages", "log_min_messages"))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
