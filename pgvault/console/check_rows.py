"""The checks of one server as the rows of a list: pure, from the findings or from the reason why there are none.

What is wrong comes first, with its cause and fix in full. Where no answer came, the reason comes before the earlier
findings, which show their age. All checks that are well are one line that opens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from pgvault.console.checks import Checked, NoAnswer
from pgvault.console.fields import failed, paragraphs
from pgvault.console.glyphs import Glyphs
from pgvault.console.widgets.lineview import cut
from pgvault.console.widgets.rows import Column
from pgvault.model.check import Finding, Outcome
from pgvault.model.text import Painted, Part, age, ago, visible, width

_OUTCOMES = {Outcome.OK: ("good", "good", "OK"), Outcome.WARNING: ("warning", "warn", "WARN"),
             Outcome.FAILED: ("failed", "bad", "FAILED"), Outcome.SKIPPED: ("skipped", "dim", "not run")}
_NO_ANSWER = "no answer"
_LEAD, _GAP, _OUTCOME, _NAME = 1, 2, 9, 12
"""Columns: the list's cursor, the gap between two columns, and the least width of the first two."""
_NAME_AT_MOST = 28
"""The greatest width of the name, unless a third of the line is more."""
_FOLDED = 2
"""The number of checks that are well from which on they are folded into one line."""
WELL = "well"
"""The key of the line into which they are folded."""


class CheckRow(NamedTuple):
    """One line of the list."""

    key: str
    cells: Sequence[Part]
    """Outcome, name and detail; or a label and a text that takes the columns of name and detail."""
    text: str
    """The whole finding, which Enter and `y` show, and which the filter searches."""
    title: str


class CheckTable(NamedTuple):
    columns: tuple[Column, ...]
    rows: tuple[CheckRow, ...]
    every: tuple[CheckRow, ...] = ()
    """The rows with nothing folded away, for the filter."""

    @property
    def foremost(self) -> int:
        """Return the number of lines of the first entry, which has to be seen whole: why no answer came, or the worst
        finding.
        """
        return sum(row.title == self.rows[0].title for row in self.rows)

    @property
    def urgent(self) -> int:
        """Return the number of lines up to the one that counts what is well: all that needs attention."""
        return next((place for place, row in enumerate(self.rows, 1) if row.key == WELL), len(self.rows))


def outcome_style(outcome: Outcome) -> tuple[str, str]:
    """Return the outcome as a word, and its style."""
    _, style, word = _OUTCOMES[outcome]
    return word, style


def check_table(found: Checked | None, missing: NoAnswer | None, now: datetime, columns: int, glyphs: Glyphs, *,
                opened: bool = False) -> CheckTable:
    """Return the rows for a list of that many columns; `opened` shows each check that is well, below the line that
    counts them.
    """
    findings = worst_first(found.findings) if found else []
    stale = age(found.at, now) if found and missing else ""
    outcomes = [_outcome(each, glyphs, stale) for each in findings]
    first = max([_OUTCOME, *(width(str(each)) for each in outcomes)])
    if missing:
        first = max(first, width(_NO_ANSWER) + 2)
    second = min(max(_NAME_AT_MOST, columns // 3), max([_NAME, *(width(visible(each.name)) for each in findings)]))
    rest = columns - _LEAD - first - _GAP
    well = [each for each in findings if each.outcome is Outcome.OK]
    folds = len(well) >= _FOLDED
    rows = list(_unanswered(missing, now, rest, glyphs)) if missing else []
    every = list(rows)
    for finding, outcome in zip(findings, outcomes, strict=True):
        lines = list(_found(finding, outcome, rest, rest - second - _GAP))
        if folds and finding is well[0]:
            rows.append(_counted(well, outcome, rest - second - _GAP, glyphs, opened=opened))
        every += lines
        rows += lines if opened or not folds or finding.outcome is not Outcome.OK else ()
    return CheckTable((Column("outcome", first), Column("check", second), Column("detail", 20, flexible=True)),
                      tuple(rows), tuple(every))


def first_failure(findings: Sequence[Finding]) -> Finding | None:
    """Return the cause of the first failure."""
    return next((each for each in worst_first(findings) if each.outcome in (Outcome.FAILED, Outcome.WARNING)), None)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort the findings: what is wrong, then what that blocks, then what is well, then what was not asked for."""
    return sorted(findings, key=_rank)


def finding_text(finding: Finding) -> str:
    """Return the whole finding, to be read and copied."""
    named = (("", finding.detail), ("cause: ", finding.cause), ("fix: ", finding.fix))
    return "\n".join([f"{finding.name}: {_OUTCOMES[finding.outcome][2]}", *(f"{n}{t}" for n, t in named if t)])


def _outcome(finding: Finding, glyphs: Glyphs, stale: str) -> Painted:
    glyph, style, word = _OUTCOMES[finding.outcome]
    text = f"{getattr(glyphs, glyph)} {word}"
    return Painted(f"{text} {stale}", "dim") if stale else Painted(text, style)


def _counted(well: Sequence[Finding], outcome: Painted, columns: int, glyphs: Glyphs, *, opened: bool) -> CheckRow:
    """Count all that is well, on one line."""
    title = f"{len(well)} checks"
    hint = "enter folds them again" if opened else f"enter lists them: {', '.join(each.name for each in well)}"
    return CheckRow(WELL, (outcome, title, Painted(cut(hint, columns, glyphs.ellipsis), "dim")), title, title)


def _unanswered(missing: NoAnswer, now: datetime, columns: int, glyphs: Glyphs) -> Iterator[CheckRow]:
    """Yield what failed, why, what to do, and the error code."""
    fields = tuple(failed(missing.failure))
    text = "\n".join(f"{field.name}: {field.text}" for field in fields)
    for number, field in enumerate(fields):
        label = Painted(f"{glyphs.unknown} {_NO_ANSWER}", "warn") if not number else Painted(f"  {field.name}", "dim")
        yield from _spanned(f"no answer/{field.name}", label, field.text, field.style, columns, text,
                            f"no answer {ago(missing.at, now)}")


def _found(finding: Finding, outcome: Painted, columns: int, detail_columns: int) -> Iterator[CheckRow]:
    under = "dim" if finding.outcome is Outcome.SKIPPED else ""
    text = finding_text(finding)
    for number, piece in enumerate(paragraphs(finding.detail, detail_columns)):
        cells = ("", "", Painted(piece, under)) if number else (outcome, Painted(finding.name, under),
                                                                Painted(piece, under))
        yield CheckRow(f"{finding.name}/{number or ''}", cells, text, finding.name)
    if finding.outcome in (Outcome.FAILED, Outcome.WARNING):
        for label, value, style in (("cause", finding.cause, ""), ("fix", finding.fix, "bold")):
            yield from _spanned(f"{finding.name}/{label}", Painted(f"  {label}", "dim"), value, style, columns, text,
                                finding.name)


def _spanned(key: str, label: Painted, value: str, style: str, columns: int, text: str,
             title: str) -> Iterator[CheckRow]:
    for number, piece in enumerate(paragraphs(value, columns) if value else ()):
        yield CheckRow(f"{key}/{number or ''}", ("" if number else label, Painted(piece, style)), text, title)


def _rank(finding: Finding) -> int:
    if finding.outcome is Outcome.SKIPPED:
        return 2 if finding.cause else 4
    return {Outcome.FAILED: 0, Outcome.WARNING: 1, Outcome.OK: 3}[finding.outcome]
