"""The plans of acts on a restored server, as their verbs report them, line by line for the confirmation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgvault.console.commands import Document
from pgvault.console.fields import Field
from pgvault.model.text import size

_SHOWN = 4
"""How many of the entries that are left out are shown; the dialog has to fit the smallest screen."""


def bring_back_fields(plan: Document) -> Iterator[Field]:
    kinds = [each["kind"] for each in plan["relations"] if each["kind"] != "sequence"]
    counts = ", ".join(f"{kinds.count(kind)} {kind}{'s' * (kinds.count(kind) > 1)}" for kind in dict.fromkeys(kinds))
    names = ", ".join([*(f"schema {name}" for name in plan["schemas"]), *plan["tables"]])
    yield Field("brings", f"{names}: {counts or 'no table'}, {size(plan['bytes'])}", "bold")
    yield Field("into", f"{plan['database']} of {plan['server']}, " + (
        f"schema {plan['beside']}, beside what is there" if plan["beside"] else "as it was"), "bold")
    if plan["why"]:
        yield Field("", f"{plan['why']}.")
    yield Field("safe", "one transaction, counted on both sides before it is committed; nothing is overwritten", "good")
    for number, each in enumerate(plan["left"][:_SHOWN]):
        yield Field("" if number else "left out", each, "warn")
    if len(plan["left"]) > _SHOWN:
        yield Field("", f"and {len(plan['left']) - _SHOWN} more: the command with --dry-run lists them", "warn")
    yield from _warnings(plan)


def throw_away_fields(plan: Document) -> Iterator[Field]:
    first, *spaces = plan["removes"]
    yield Field("REMOVES", f"{plan['host'] or 'this machine'}:{first} ({size(plan['bytes'])})", "bad")
    for each in spaces:
        yield Field("", f"tablespace {each}", "bad")
    yield Field("first", "its server is stopped" if plan["runs"] else "its server does not run")
    yield from _warnings(plan)


def _warnings(plan: Document) -> Iterator[Field]:
    for each in plan["preconditions"]:
        if each["outcome"] == "warning":
            yield Field("mind", f"{each['name']}: {each['detail']}. {each['fix']}", "warn")
