"""The line that is reported for a key is the line it stands on."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvault.config.lines import key_lines

NAMES = st.text(st.sampled_from('abXY01-_ .=#[]{}"\'\\\né'), min_size=1, max_size=8)
SCALARS = st.sampled_from([
    "1", "-2.5e3", "true", "1979-05-27 07:32:00", "07:32:00", "0xFF", "inf", '""', "''", '"a # b = [c]"', r"'C:\x\'",
    r'"quote \" and \\"', '"""\nkey = 1\n[table]\n"""', "'''\n# no\n'''", '"""a""""', '"""a"""""', "'''b'''''",
    '"""\\\n  folded \\""" """', "'''''''"[:6],
])
COMMENTS = st.sampled_from(["", " # [no] = {table} \"'", "\n", "\n\n  # key = 1\n"])


def quoted(name: str) -> str:
    bare = name.isascii() and all(c.isalnum() or c in "-_" for c in name)
    return name if bare else json.dumps(name, ensure_ascii=False)


@st.composite
def values(draw, depth=2):
    """A TOML value as text, and the keys inside it with the line they stand on, counted from the value's first."""
    form = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
    if form == "scalar":
        return draw(SCALARS), {}
    if form == "array":
        parts = [draw(values(depth=0))[0] + draw(st.sampled_from([", ", ",\n # c, ] \n", ",\n"]))
                 for _ in range(draw(st.integers(0, 3)))]
        return "[" + draw(st.sampled_from(["", "\n", " # ]\n"])) + "".join(parts) + "]", {}
    text, lines = "{", {}
    for number, name in enumerate(draw(st.lists(NAMES, max_size=3, unique=True))):
        text += (", " if number else " ") + quoted(name) + " = "
        inner, found = draw(values(depth=depth - 1))
        line = text.count("\n")
        lines[(name,)] = line
        lines |= {(name, *keys): line + at for keys, at in found.items()}
        text += inner
    return text + " }", lines


@st.composite
def documents(draw):
    """A document, and the line of each of its keys."""
    text, expected = draw(COMMENTS) + "\n", {}
    for table in draw(st.lists(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=4, unique=True)):
        if any(other[: len(table)] == table or table[: len(other)] == other for other in expected):
            continue
        for depth in range(1, len(table) + 1):
            expected.setdefault(table[:depth], text.count("\n") + 1)
        text += draw(st.sampled_from(["[", "  [ "])) + " . ".join(quoted(part) for part in table) + "]" + draw(COMMENTS)
        text += "\n"
        for name in draw(st.lists(NAMES, max_size=4, unique=True)):
            expected[(*table, name)] = text.count("\n") + 1
            text += draw(st.sampled_from(["", "\t"])) + quoted(name) + " = "
            value, inner = draw(values())
            line = text.count("\n") + 1
            expected |= {(*table, name, *keys): line + at for keys, at in inner.items()}
            text += value + draw(COMMENTS) + "\n"
    return text, expected


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(documents())
def test_every_key_of_any_document_is_found_on_its_line(document):
    text, expected = document
    tomllib.loads(text)
    assert key_lines(text) == expected


def test_dotted_keys_arrays_of_tables_and_windows_line_ends():
    text = 'a.b."c.d" = 1\r\n[[list]]\r\nx = """\r\n"""\r\n[[list]]\r\nx = 2\r\ny = 3\r\n'
    lines = key_lines(text)
    assert lines[("a", "b", "c.d")] == lines[("a",)] == 1
    assert (lines[("list",)], lines[("list", "x")], lines[("list", "y")]) == (2, 3, 7)
    assert key_lines("") == {}
