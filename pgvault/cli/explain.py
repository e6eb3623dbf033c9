"""The verb `explain`: the meaning of an error code, its usual causes, and the next steps."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pgvault.cli.command import Command
from pgvault.cli.context import Context
from pgvault.model.errors import NotFound, of_code
from pgvault.model.explanations import EXPLANATIONS
from pgvault.model.text import Part

HELP = """Explain an error code: its meaning, its usual causes, and the next steps.

Every error carries a code: in JSON, in the console and in a job's journal. Without CODE, all codes are listed.

Example:
  pgvault explain wal-missing
"""
_COLUMNS = 96
"""Text is folded at this width, or at that of a narrower terminal."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", nargs="?", help="such as refused (default: list all codes)")


def run(args: argparse.Namespace, context: Context) -> int:
    if args.code is None:
        return _list(context)
    if args.code not in EXPLANATIONS:
        from pgvault.config.problems import nearest

        raise NotFound(f"there is no error code {args.code!r}", hint=nearest(args.code, EXPLANATIONS))
    if context.json:
        context.out.json(_document(args.code))
    else:
        _print(args.code, context)
    return 0


def _list(context: Context) -> int:
    if context.json:
        context.out.json({"codes": [_document(code) for code in EXPLANATIONS]})
        return 0
    rows: list[list[Part]] = [[code, str(of_code(code).exit_code), each.meaning.partition(". ")[0].rstrip(".")]
                              for code, each in EXPLANATIONS.items()]
    context.out.table(["Code", "Exit", "Meaning"], rows, right={1})
    return 0


def _document(code: str) -> dict[str, object]:
    meaning, causes, steps = EXPLANATIONS[code]
    return {"code": code, "exit_code": of_code(code).exit_code, "meaning": meaning, "causes": causes,
            "next_steps": steps}


def _print(code: str, context: Context) -> None:
    meaning, causes, steps = EXPLANATIONS[code]
    columns = min(context.out.columns, _COLUMNS)
    context.out.line(context.out.paint(code, "bold"), f"  (exit code {of_code(code).exit_code})")
    for line in _folded(meaning, columns, "  ", "  "):
        context.out.line(line)
    for title, texts in (("Usual causes", causes), ("Next steps", steps)):
        context.out.line()
        context.out.line(f"{title}:")
        for number, text in enumerate(texts, 1):
            lead = f"  {number}. " if texts is steps else "  - "
            for line in _folded(text, columns, lead, " " * len(lead)):
                context.out.line(line)


def _folded(text: str, columns: int, first: str, others: str) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, columns, initial_indent=first, subsequent_indent=others)


COMMANDS = {"explain": Command(HELP, arguments, run)}
