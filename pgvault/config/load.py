"""Finds, strictly reads and resolves the configuration, so that no other code needs to know a default.

Every verb calls this first. put-wal and get-wal, for which PostgreSQL waits, need it within milliseconds, so nothing
slow is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pgvault.config.lines import Keys
from pgvault.config.problems import ConfigProblem, first_of, nearest
from pgvault.config.read import (
    VAULT_KEYS,
    Document,
    Value,
    check_tables,
    read_document,
    read_keys,
    read_values,
    table_at,
)
from pgvault.config.schema import SECTIONS, HostConfig, ServerConfig, VaultConfig, settings_of
from pgvault.model.errors import ConfigError, NotFound
from pgvault.model.names import check_name

ENVIRONMENT = "PGVAULT_CONFIG"
SYSTEM_FILE = Path("/etc/pgvault/pgvault.toml")
_Section = TypeVar("_Section", ServerConfig, HostConfig)


class Config(NamedTuple):
    """The complete configuration, with all defaults resolved."""

    path: Path
    """The main file, absolute."""
    files: tuple[Path, ...]
    """All files that were read, the main one first."""
    vault: VaultConfig
    servers: Mapping[str, ServerConfig]
    hosts: Mapping[str, HostConfig]
    origins: Mapping[str, str]
    """`file:line` of each setting in the files, by its dotted key."""
    keys: Mapping[str, str] = MappingProxyType({})
    """[console.keys]: the user's keys for the console's actions, by the actions' ids."""

    def server(self, name: str) -> ServerConfig:
        """Return a server; NotFound with the nearest name if it is not configured."""
        if found := self.servers.get(name):
            return found
        raise _unknown("server", name, self.servers, self.path)

    def host(self, name: str) -> HostConfig:
        """Return a host; NotFound with the nearest name if it is not configured."""
        if found := self.hosts.get(name):
            return found
        raise _unknown("host", name, self.hosts, self.path)

    def origin(self, key: str) -> str:
        """Return where `servers.main.parallel_jobs` was set: `file:line`, or `default`. KeyError if there is no such
        setting."""
        if found := self.origins.get(key):
            return found
        section, _, rest = key.partition(".")
        name, _, setting = rest.rpartition(".")
        if section == "vault":
            known = not name
        else:
            known = name in {"servers": self.servers, "hosts": self.hosts}.get(section, {})
        if not known or setting not in settings_of(SECTIONS[section]):
            raise KeyError(key)
        return "default"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Load the configuration from the given file, or from the first of the usual places.

    ConfigError if there is none, or for the first problem, with the number of further problems.
    """
    config, problems = _read(find(path, os.environ if environ is None else environ))
    if config is None:
        raise first_of(problems)
    return config


def find_problems(path: Path) -> list[ConfigProblem]:
    """Return all problems in the file and those it includes, in the order of files and lines."""
    return _read(path)[1]


def find(path: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the file to read. A file named explicitly is not searched for elsewhere."""
    if path is not None:
        return _named(path, "--config")
    if named := environ.get(ENVIRONMENT):
        return _named(Path(named), f"${ENVIRONMENT}")
    home = environ.get("HOME") or os.path.expanduser("~")
    places = (Path(home, ".config/pgvault/pgvault.toml"), SYSTEM_FILE)
    for place in places:
        if os.path.lexists(place):  # a dangling link exists, and is reported later
            return place
    raise ConfigError("no configuration found",
                      detail=f"Looked for --config, ${ENVIRONMENT}, {places[0]}, {places[1]}.",
                      hint=f"Create {places[1]}, beginning with [vault] and home = \"/var/lib/pgvault\"; "
                           "or try pgvault first with pgvault demo.")


def _named(path: Path, by: str) -> Path:
    if not os.path.lexists(path):
        raise ConfigError(f"configuration file {path} not found", detail=f"{by} names it.",
                          hint="Correct the path, or remove it to use the usual places.")
    return path


def _read(path: Path) -> tuple[Config | None, list[ConfigProblem]]:
    """Return the configuration, or None and all problems."""
    path = path.absolute()
    problems: list[ConfigProblem] = []
    main = read_document(path, problems)
    if main is None:
        return None, problems
    check_tables(main, (*SECTIONS, "console"), problems)
    values = read_values(main, ("vault",), VAULT_KEYS, problems)
    documents = [main]
    for document in _included(main, values.get("configuration_files_directory"), problems):
        check_tables(document, ("servers", "hosts"), problems)
        documents.append(document)
    origins = _origins(("vault",), values)
    servers = _sections(ServerConfig, "servers", documents, values, origins, problems)
    hosts = _sections(HostConfig, "hosts", documents, values, origins, problems)
    keys = read_keys(main, problems)
    origins.update(_origins(("console", "keys"), keys))
    if problems:
        problems.sort(key=lambda problem: (problem.path != path, problem.path, problem.line))
        return None, problems
    vault = VaultConfig(**{key: value for key, value in _plain(values).items() if key in settings_of(VaultConfig)})
    files = tuple(document.path for document in documents)
    return Config(path, files, vault, servers, hosts, MappingProxyType(origins), _plain(keys)), problems


def _included(main: Document, directory: Value | None, problems: list[ConfigProblem]) -> Iterator[Document]:
    if directory is None or directory.value is None:
        return
    try:
        names = sorted(name for name in os.listdir(directory.value) if name.endswith(".toml") and name[0] != ".")
    except OSError as error:
        problems.append(main.problem(("vault", "configuration_files_directory"),
                                     f"could not read {directory.value}: {error.strerror}",
                                     "Create the directory, correct the path, or remove the line."))
        return
    for name in names:
        if document := read_document(directory.value / name, problems):
            yield document


def _sections(section: type[_Section], table: str, documents: Sequence[Document], vault: Mapping[str, Value],
              origins: dict[str, str], problems: list[ConfigProblem]) -> Mapping[str, _Section]:
    """Read all [table.NAME] sections of all files, in their order in the files."""
    known = settings_of(section)
    inherited = {key: value for key, value in vault.items() if key in known and known[key].inherits}
    found: dict[str, _Section] = {}
    first: dict[str, str] = {}
    for document in documents:
        for name in table_at(document, (table,), problems) or ():
            keys = (table, name)
            if name in first:
                problems.append(document.problem(keys, f"already configured at {first[name]}", "Remove one of them."))
                continue
            first[name] = document.origin(keys)
            before = len(problems)
            values = inherited | read_values(document, keys, known, problems)
            try:
                check_name(name, table.removesuffix("s"))
                if len(problems) == before:  # otherwise the refused key may be the missing one
                    found[name] = section(name=name, **_plain(values))
                    origins.update(_origins(keys, values))
            except ValueError as error:
                problems.append(document.problem(keys, str(error)))
    return MappingProxyType(found)


def _plain(values: Mapping[str, Value]) -> dict[str, Any]:
    return {key: value.value for key, value in values.items()}


def _origins(keys: Keys, values: Mapping[str, Value]) -> dict[str, str]:
    return {".".join((*keys, key)): value.origin for key, value in values.items()}


def _unknown(what: str, name: str, known: Mapping[str, Any], path: Path) -> NotFound:
    hint = nearest(name, known) or f"Add a table [{what}s.NAME] to {path}."
    return NotFound(f'{what} "{name}" not found', hint=hint)
