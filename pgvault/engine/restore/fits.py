"""Whether the programs on a host can run the restored cluster: rules on what the programs report.

A server with another page size, a locale or a library that the host lacks, a setting that its programs do not accept:
each would show only after everything was copied, unless it is checked before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from pgvault.engine.restore.contents import PG_CONTROL
from pgvault.engine.restore.files import read_small
from pgvault.engine.restore.outward import LIBRARIES, libraries_of
from pgvault.io.host import Host
from pgvault.io.probe import Destination
from pgvault.io.programs import ProgramAnswers, ask_programs
from pgvault.model.check import Outcome
from pgvault.model.control_file import ControlFile, read_control_file
from pgvault.model.restore_plan import Precondition
from pgvault.model.secrets import masked
from pgvault.vault.manifest import Manifest
from pgvault.vault.names import Names
from pgvault.vault.packs import PackReader

_NEVER_ASKED = ("include", "include_if_exists", "include_dir", "config_file", "data_directory")
_SSL_FILES = ("ssl_cert_file", "ssl_key_file", "ssl_ca_file")
_MOST = 5


@dataclass(frozen=True, slots=True)
class Named:
    """An object of one database."""

    database: str
    value: str

    def __str__(self) -> str:
        return f"{self.value} (database {self.database})"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The requirements of a restored cluster, as far as the backup shows them."""

    control: ControlFile | None
    values: Mapping[str, str]
    """The settings that it will have."""
    directory: str
    """Its data directory."""
    locales: tuple[Named, ...] = ()
    libraries: tuple[Named, ...] = ()
    """The libraries of functions, as in `pg_proc.probin`."""
    subscriptions: tuple[Named, ...] = ()
    publications: tuple[Named, ...] = ()


def cluster_of(manifest: Manifest, packs: PackReader, values: Mapping[str, str], directory: str) -> Cluster:
    """Return the requirements of a backup's cluster, with the settings that it will have in this data directory."""
    control = read_control_file(read_small(PG_CONTROL, manifest, packs) or b"")
    with closing(Names(manifest.path)) as names:
        traits = [(each.kind, Named(names.database(each.database) or str(each.database), each.value))
                  for each in names.traits()]

    def of(*kinds: str) -> tuple[Named, ...]:
        return tuple(named for kind, named in traits if kind in kinds)

    return Cluster(control, values, directory, of("collate", "ctype"), of("library"), of("subscription"),
                   of("publication"))


async def fit_conditions(host: Host, destination: Destination, cluster: Cluster, major: int, *,
                         is_certain: bool) -> tuple[Precondition, ...]:
    """Return the conditions. Without `is_certain`, another program, or another host's, may be the one that runs the
    cluster.
    """
    programs = next((each.directory for each in destination.installations if each.major == major), None)
    if programs is None:
        return tuple(_replication(cluster))
    say = await ask_programs(host, programs, locales=sorted({each.value for each in cluster.locales}),
                             libraries=[*_preloaded(cluster), *_of_functions(cluster)], files=_files(cluster),
                             settings=_settings(cluster))
    bad = Outcome.FAILED if is_certain else Outcome.WARNING
    return (*_build(say, cluster.control, bad), *_locales(say, cluster, bad), *_accepted(say, cluster, bad),
            *_libraries(say, cluster, bad), *_replication(cluster))


def _build(say: ProgramAnswers, control: ControlFile | None, bad: Outcome) -> Iterator[Precondition]:
    if control is None:
        return
    for what, here, there in (("page", control.block_size, say.block_size),
                              ("WAL page", control.wal_block_size, say.wal_block_size)):
        if here and there and here != there:
            yield Precondition(f"{what} size", bad, f"The cluster's is {here} bytes, that of the programs there "
                               f"{there}.", "Install PostgreSQL with the same sizes there, or choose another host.")
    if say.is_big_endian is not None and say.is_big_endian != control.is_big_endian:
        yield Precondition("byte order", bad, "The cluster was made on processors with the other "
                           "byte order.", "Choose a host of the original's architecture, or move data by pg_dump.")


def _locales(say: ProgramAnswers, cluster: Cluster, bad: Outcome) -> Iterator[Precondition]:
    lacking = [each for each in cluster.locales if each.value in say.locales]
    if lacking:
        yield Precondition("locale", bad, f"The host lacks {_some(sorted(set(map(str, lacking))))}: a database cannot "
                           "be opened without its locale.",
                           "Generate it on that host (Debian: dpkg-reconfigure locales; elsewhere: localedef).")
    elif cluster.locales and say.block_size:
        yield Precondition("locale", Outcome.OK, _some(sorted({each.value for each in cluster.locales})))


def _accepted(say: ProgramAnswers, cluster: Cluster, bad: Outcome) -> Iterator[Precondition]:
    if say.refused:
        yield Precondition("configuration", bad, f"The programs there do not take it: {masked(say.refused)}.",
                           "Install there what the setting needs; or restore with --no-start and correct it in the "
                           "restored files.")
    if missing := [name for name in _named_files(cluster) if cluster.values[name] in say.files]:
        yield Precondition("files of the configuration", bad, "Missing there, or not to be read: "
                           f"{_some([f'{name} = {cluster.values[name]}' for name in missing])}.",
                           "Put them there; or restore with --no-start and correct the settings.")


def _libraries(say: ProgramAnswers, cluster: Cluster, bad: Outcome) -> Iterator[Precondition]:
    preloaded = [name for name in _preloaded(cluster) if name in say.libraries]
    if preloaded:
        yield Precondition("preloaded libraries", bad, f"Not installed there: {', '.join(preloaded)}; the server does "
                           "not start without them.", "Install their packages on that host.")
    of_functions = [each for each in cluster.libraries
                    if _plain(each.value) in say.libraries and _plain(each.value) not in preloaded]
    if of_functions:
        yield Precondition("libraries of extensions", Outcome.WARNING, "Not installed there: "
                           f"{_some(sorted({f'{_plain(e.value)} (database {e.database})' for e in of_functions}))}; "
                           "what uses them fails.", "Install their packages on that host.")


def _replication(cluster: Cluster) -> Iterator[Precondition]:
    if cluster.subscriptions:
        yield Precondition(
            "subscriptions", Outcome.WARNING, f"{_some(list(map(str, cluster.subscriptions)))}: the copy receives "
            "nothing (max_logical_replication_workers = 0), or it would take the changes in the original's place.",
            "In a copy, DROP SUBSCRIPTION after ALTER SUBSCRIPTION ... SET (slot_name = NONE). In place of the "
            "original: ALTER SYSTEM RESET max_logical_replication_workers, and restart.")
    if cluster.publications:
        yield Precondition("publications", Outcome.OK, f"{_some(list(map(str, cluster.publications)))}; a backup has "
                           "no slots, so no subscriber continues from the copy")


def _settings(cluster: Cluster) -> dict[str, str]:
    """Return the settings to try with the programs: none of a library's own, and no secret."""
    return {name: value for name, value in cluster.values.items()
            if "." not in name and name not in _NEVER_ASKED and masked(f"{name} = {value}") == f"{name} = {value}"}


def _named_files(cluster: Cluster) -> list[str]:
    """Return the settings that name a file outside the data directory, which no backup contains."""
    ssl = _SSL_FILES if cluster.values.get("ssl", "").lower() in ("on", "true", "yes", "1") else ()
    return [name for name in ("hba_file", *ssl) if (path := cluster.values.get(name, "")).startswith("/")
            and not path.startswith(f"{cluster.directory}/")]


def _files(cluster: Cluster) -> list[str]:
    return [cluster.values[name] for name in _named_files(cluster)]


def _preloaded(cluster: Cluster) -> list[str]:
    return [] if "dynamic_library_path" in cluster.values else \
        [_plain(each) for each in libraries_of(cluster.values.get(LIBRARIES, ""))]


def _of_functions(cluster: Cluster) -> list[str]:
    found = sorted({_plain(each.value) for each in cluster.libraries} - set(_preloaded(cluster)))
    return [] if "dynamic_library_path" in cluster.values else found


def _plain(library: str) -> str:
    """Return the name relative to `$libdir`, in which PostgreSQL searches for a name without directories."""
    name = library.strip('"').removeprefix("$libdir/")
    return name.removesuffix(".so") if not name.startswith("/") else name


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")
