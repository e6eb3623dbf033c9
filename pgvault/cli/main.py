"""The command line: reads the options before the verb, calls the verb's module, and reports every error once.

Exit codes are those of the error classes (see pgvault.model.errors), with one exception: PostgreSQL runs get-wal as its
restore_command and takes 1 to 125 for "end of WAL", so any error there, even a misspelt option, exits 200.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, TextIO

from pgvault import __version__
from pgvault.cli.command import GLOBAL_DEFAULTS, GLOBAL_WITH_VALUE, Command, Parser
from pgvault.cli.context import Context, Format, may_color
from pgvault.cli.failure import report_failure
from pgvault.cli.output import Output
from pgvault.cli.verbs import VERBS, in_doubt, listing, nearest, resolve
from pgvault.model.errors import InDoubt, UsageError

if TYPE_CHECKING:
    from pgvault.jobs.hold import Hold

USAGE = "pgvault [--config FILE] [--format text|json] [--color auto|always|never] [--log-level LEVEL] [VERB ...]"
HELP = """A recovery console for PostgreSQL: back up clusters, archive their WAL, restore any instant, prove it.
{verbs}

Without a verb the console opens.

Options, before the verb or after it:
  --config FILE              else $PGVAULT_CONFIG, ~/.config/pgvault/pgvault.toml, /etc/pgvault/pgvault.toml
  --format text|json         the output; JSON is documented and stable
  --color auto|always|never  auto: on a terminal, unless NO_COLOR is set
  --log-level LEVEL          debug, info, warning or error; debug also shows the source of an internal error
  --version                  print the version and exit

Example:
  pgvault
  pgvault check main-db
  pgvault backup main-db
  pgvault VERB --help
"""
CONSOLE = "console"
"""The verb of a command line without one."""
_ASKING = frozenset({"-h", "--help", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    context = _context(_guessed(words), None)
    try:
        try:
            hold, words = _as_job(words)
            context = _context(_guessed(words), hold)
            verb, options, rest = _split(words)
            command, args = _read(verb, options, rest)
            context = _context(args, hold)
            code = command.run(args, context)
        except SystemExit as done:  # --help and --version
            code = done.code if isinstance(done.code, int) else 0
        context.out.flush()
    except BaseException as error:
        code = report_failure(error, context, words)
        if code and in_doubt(words):
            code = InDoubt.exit_code
    context.err.flush()
    return code


def _as_job(words: list[str]) -> tuple[Hold | None, list[str]]:
    """Return the job as which this process was started, if any, and the rest of its command line."""
    if words[:1] != ["--as-job"]:
        return None, words
    from pgvault.jobs.hold import inherited

    return inherited("".join(words[1:2])), words[2:]


def _split(words: list[str]) -> tuple[str, list[str], list[str]]:
    """Return the verb, the words before it and those after it. Without a verb it is the console, unless help is
    requested."""
    skip = False
    for i, word in enumerate(words):
        if not skip and not word.startswith("-"):
            return word, words[:i], words[i + 1:]
        skip = not skip and word in GLOBAL_WITH_VALUE
    return ("", words, []) if _ASKING.intersection(words) else (CONSOLE, [], words)


def _read(word: str, options: list[str], rest: list[str]) -> tuple[Command, argparse.Namespace]:
    """Return the verb's command and its arguments. Only this verb's module is imported."""
    args = argparse.Namespace(**GLOBAL_DEFAULTS)
    if options:
        parser = Parser(prog="pgvault", usage=USAGE, description=HELP.format(verbs=listing()), add_help=False)
        parser.add_argument("--version", action="version", version=f"pgvault {__version__}", help=argparse.SUPPRESS)
        parser.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
        parser.parse_args(options, args)
    verb = resolve(word) or _unknown(word)
    command: Command = importlib.import_module(VERBS[verb].module).COMMANDS[verb]
    parser = Parser(prog=f"pgvault {verb}", description=command.help)
    command.arguments(parser)
    return command, parser.parse_args(rest, args)


def _unknown(word: str) -> NoReturn:
    meant = nearest(word)
    raise UsageError(f"verb {word!r} does not exist", hint=f"Did you mean {meant}?" if meant else "pgvault --help")


def _guessed(words: list[str]) -> argparse.Namespace:
    """Guess the global options of a command line that cannot be parsed, for reporting that."""
    as_json = "--format=json" in words or ("--format", "json") in pairwise(words)
    return argparse.Namespace(**{**GLOBAL_DEFAULTS, "format": "json" if as_json else "text"})


def _context(args: argparse.Namespace, hold: Hold | None) -> Context:
    out, err = _stream(sys.stdout), _stream(sys.stderr)
    return Context(
        config_path=args.config, format=Format(args.format), log_level=args.log_level, hold=hold,
        out=Output(out, color=may_color(out, args.color, os.environ)),
        err=Output(err, color=may_color(err, args.color, os.environ), forgiving=True))


def _stream(stream: TextIO | None) -> TextIO:
    """Return the stream, able to write any text; a null stream if the caller closed it."""
    if stream is None:
        return open(os.devnull, "w")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
