"""The command line: reads the options that come before the verb, calls the verb's module, tells every error once.

Exit codes are those of the error classes (see pgvault.model.errors), with one exception: PostgreSQL runs get-wal as
its restore_command and takes 1 to 125 for "end of WAL", so any error there, be it a misspelt option, exits 200.
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
from pgvault.cli.output import Output
from pgvault.cli.verbs import VERBS, in_doubt, listing, nearest, resolve
from pgvault.model.errors import Cancelled, InDoubt, PgvaultError, UsageError

if TYPE_CHECKING:
    from pgvault.jobs.hold import Hold

USAGE = "pgvault [--config FILE] [--format text|json] [--color auto|always|never] [--log-level LEVEL] [VERB ...]"
HELP = """A recovery console for PostgreSQL: back up clusters, archive their WAL, restore any instant, prove it.
{verbs}

Without a verb the console opens.

Options, before the verb or after it:
  --config FILE              else $PGVAULT_CONFIG, ~/.config/pgvault/pgvault.toml, /etc/pgvault/pgvault.toml
  --format text|json         what is printed; JSON is documented and stable
  --color auto|always|never  auto: on a terminal, unless NO_COLOR is set
  --log-level LEVEL          debug, info, warning or error; debug also shows where an internal error came from
  --version                  print the version and exit

Example:
  pgvault
  pgvault check main-db
  pgvault backup main-db
  pgvault VERB --help
"""
CONSOLE = "console"
"""The verb of a command line that has none."""
_ASKING = frozenset({"-h", "--help", "--version"})
_BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell reports for every other program whose reader has gone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    context = _context(_guessed(words), None)
    try:
        try:
            held, words = _as_job(words)
            context = _context(_guessed(words), held)
            verb, options, rest = _split(words)
            command, args = _read(verb, options, rest)
            context = _context(args, held)
            code = command.run(args, context)
        except SystemExit as done:  # --help and --version
            code = done.code if isinstance(done.code, int) else 0
        context.out.flush()
    except BaseException as error:
        code = _tell(error, context, words)
        if code and in_doubt(words):
            code = InDoubt.exit_code
    context.err.flush()
    return code


def _as_job(words: list[str]) -> tuple[Hold | None, list[str]]:
    """The job as which this process was started, if it was, and the rest of its command line."""
    if words[:1] != ["--as-job"]:
        return None, words
    from pgvault.jobs.hold import inherited

    return inherited("".join(words[1:2])), words[2:]


def _split(words: list[str]) -> tuple[str, list[str], list[str]]:
    """The verb, what comes before it and what comes after it; without one it is the console, unless help is asked."""
    skip = False
    for i, word in enumerate(words):
        if not skip and not word.startswith("-"):
            return word, words[:i], words[i + 1:]
        skip = not skip and word in GLOBAL_WITH_VALUE
    return ("", words, []) if _ASKING.intersection(words) else (CONSOLE, [], words)


def _read(word: str, options: list[str], rest: list[str]) -> tuple[Command, argparse.Namespace]:
    """The verb's command and its arguments; its module is imported here and no other one."""
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
    raise UsageError(f"there is no verb {word!r}", hint=f"Did you mean {meant}?" if meant else "pgvault --help")


def _guessed(words: list[str]) -> argparse.Namespace:
    """The options as far as they can be told before the line is understood, for telling that it is not."""
    as_json = "--format=json" in words or ("--format", "json") in pairwise(words)
    return argparse.Namespace(**{**GLOBAL_DEFAULTS, "format": "json" if as_json else "text"})


def _context(args: argparse.Namespace, held: Hold | None) -> Context:
    out, err = _stream(sys.stdout), _stream(sys.stderr)
    return Context(
        config_path=args.config, format=Format(args.format), log_level=args.log_level, hold=held,
        out=Output(out, color=may_color(out, args.color, os.environ)),
        err=Output(err, color=may_color(err, args.color, os.environ), forgiving=True))


def _stream(stream: TextIO | None) -> TextIO:
    """The stream, able to write any text; nowhere when the caller closed it."""
    if stream is None:
        return open(os.devnull, "w")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _tell(error: BaseException, context: Context, words: list[str]) -> int:
    """Say what went wrong on standard error and in the log; return the exit code."""
    from pgvault.jobs.telling import told_error

    error = told_error(error, "complete the command") if not isinstance(error, BrokenPipeError) else error
    if isinstance(error, BrokenPipeError):
        context.out.forget()
        return _BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt):
        error = Cancelled("cancelled")
    internal = not isinstance(error, PgvaultError)
    told = error if isinstance(error, PgvaultError) else _internal(error, context)
    code = "internal" if internal else told.code
    _print(told, context, code)
    if context.hold:
        from pgvault.jobs.detach import fail_before_begin

        fail_before_begin(context.hold, told, code)
    if context.has_config:
        _log(told, error if internal else None, context, words)
    if internal and context.debug:
        from traceback import format_exception

        context.err.lines("".join(format_exception(error)))
    return told.exit_code


def _internal(error: BaseException, context: Context) -> PgvaultError:
    log = context.config.vault.log_file if context.has_config else None
    hint = f"The details are in {log}." if log else "Run it again with --log-level debug for the details."
    return PgvaultError("internal error", detail=f"{type(error).__name__}: {error}", hint=hint)


def _print(told: PgvaultError, context: Context, code: str) -> None:
    from pgvault.model.secrets import masked

    message, detail, hint = map(masked, (told.message, told.detail, told.hint))
    if context.json:
        context.err.json({"error": {"code": code, "message": message, "detail": detail, "hint": hint,
                                    "exit_code": told.exit_code}})
        return
    for name, text, style in (("pgvault", message, "bad"), ("detail", detail, "bold"), ("hint", hint, "bold")):
        for i, line in enumerate(text.splitlines()):
            lead = context.err.paint(f"{name}: ", style) if i == 0 else " " * (len(name) + 2)
            context.err.line(lead, line)


def _log(told: PgvaultError, cause: BaseException | None, context: Context, words: list[str]) -> None:
    import shlex

    from pgvault.cli.log import open_log

    open_log(context).error("pgvault %s: %s %s", shlex.join(words), told.message, told.detail, exc_info=cause)
