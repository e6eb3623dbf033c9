"""The verb `config`: problems in the configuration, and the settings in effect with the place where each was set."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.cli.output import Output
from pgvault.config.load import Config, find, find_problems
from pgvault.config.schema import SECTIONS, HostConfig, ServerConfig, Setting, VaultConfig, reference, settings_of
from pgvault.console import keys
from pgvault.console.start import key_problems
from pgvault.model.errors import ConfigError
from pgvault.model.text import width

HELP = """Check or show the configuration.

check   list every problem with its file and line; exits 2 if there are any
show    print every setting in effect and where it was set, as text that can be pasted into the file; with SERVER only
          that server's
help    list every setting with its default and its meaning, and every key of the console

Example:
  pgvault config check
  pgvault config show main-db
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|show|help")
    actions.add_parser("check", help="list every problem with its file and line")
    show = actions.add_parser("show", help="print every setting and where it was set")
    show.add_argument("server", metavar="SERVER", nargs="?", help="only this server")
    actions.add_parser("help", help="list every setting, its default and its meaning")


def run(args: argparse.Namespace, context: Context) -> int:
    if args.action == "check":
        return _check(context)
    if args.action == "help":
        return _help(context)
    return _show(context, args.server)


def _check(context: Context) -> int:
    path = find(context.config_path, os.environ).absolute()
    problems = find_problems(path) or key_problems(context.config)
    if context.json:
        context.out.json({"path": path, "ok": not problems, "problems": [
            {"path": each.path, "line": each.line or None, "key": each.key or None, "message": each.message,
             "hint": each.hint or None} for each in problems]})
    else:
        for each in problems:
            context.out.line(context.out.paint(each.where, "bad"),
                             *(f": {part}" for part in (each.key, each.message) if part))
            if each.hint:
                context.out.line("    ", context.out.paint(each.hint, "dim"))
        if not problems:
            context.out.line(f"{path}: ", context.out.paint("ok", "good"))
    return ConfigError.exit_code if problems else 0


def _help(context: Context) -> int:
    if context.json:
        context.out.json({"settings": [
            {"table": table, "key": setting.key, "meaning": setting.meaning, "required": setting.required,
             "default": setting.default or None, "inherits": setting.inherits}
            for table, section in SECTIONS.items() for setting in settings_of(section).values()],
            "keys": [{"action": action.id, "keys": action.keys, "meaning": action.meaning, "where": action.where}
                     for action in keys.ACTIONS]})
    else:
        context.out.lines(f"{reference()}\n\n{keys.reference()}")
    return 0


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting in effect."""

    key: str
    value: str | int | bool | None
    """The value as TOML has it; None if it is not set."""
    origin: str
    """`file:line`, or `default`."""
    in_words: str
    """The default in words, if its value does not explain the behaviour."""
    may_be_none: bool
    """Whether an unset value can be written as "none"."""


def _show(context: Context, name: str | None) -> int:
    config = context.config
    chosen = {name: config.server(name)} if name else config.servers
    tables: dict[str, Mapping[str, VaultConfig | ServerConfig | HostConfig]] = {"servers": chosen}
    if name is None:
        tables = {"vault": {"": config.vault}, "servers": chosen, "hosts": config.hosts}
    if context.json:
        _show_document(context.out, config, tables)
    else:
        for table, sections in tables.items():
            for each, section in sections.items():
                _print_section(context.out, table, each, list(_shown(config, table, each, section)))
    return 0


def _shown(config: Config, table: str, name: str, section: VaultConfig | ServerConfig | HostConfig) -> Iterator[Shown]:
    for key, setting in settings_of(type(section)).items():
        origin = config.origin(".".join(part for part in (table, name, key) if part))
        value = getattr(section, key)
        written = None if value is None else setting.kind.write(value)
        yield Shown(key, written, origin, _in_words(setting, written) if origin == "default" else "",
                    setting.kind.may_be_none)


def _in_words(setting: Setting, value: str | int | bool | None) -> str:
    shown = "none" if value is None else str(value).lower()
    return "" if setting.default == shown else setting.default


def _print_section(out: Output, table: str, name: str, settings: list[Shown]) -> None:
    import tomli_w

    header = f"{table}.{name if _BARE.fullmatch(name) else tomli_w.dumps({name: 0})[:-5]}" if name else table
    out.line(out.paint(f"[{header}]", "bold"))
    lines = [f"# {each.key} =" if each.value is None and not each.may_be_none else
             tomli_w.dumps({each.key: "none" if each.value is None else each.value}).rstrip("\n") for each in settings]
    column = min(max(map(width, lines)), 60)
    for line, each in zip(lines, settings, strict=True):
        origin = f"{each.origin}: {each.in_words}" if each.in_words else each.origin
        out.line(line, " " * (column - width(line)), "  ", out.paint(f"# {origin}", "dim"))
    out.line()


def _show_document(out: Output, config: Config,
                   tables: Mapping[str, Mapping[str, VaultConfig | ServerConfig | HostConfig]]) -> None:
    document: dict[str, object] = {"path": config.path, "files": config.files}
    for table, sections in tables.items():
        by_name = {name: {each.key: {"value": each.value, "origin": each.origin}
                          for each in _shown(config, table, name, section)} for name, section in sections.items()}
        document[table] = by_name.get("", by_name)
    out.json(document)


COMMANDS = {"config": Command(HELP, arguments, run)}
