"""The characters that are drawn: one set for terminals that know Unicode, one of plain ASCII.

All but the arrow are one column wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters in use. None of them carries a meaning alone: a word or a position always goes with it."""

    ascii_only: bool
    good: str
    warning: str
    failed: str
    unknown: str
    running: str
    skipped: str
    cursor: str
    """The mark of the line under the cursor."""
    separator: str
    arrow: str
    ellipsis: str
    filled: str
    empty: str
    """The rest of a progress bar."""
    wal: str
    """Archived WAL, on the timeline."""
    streaming: str
    """WAL that was received and is not archived yet, on the timeline."""
    gap: str
    backup: str
    restore_point: str
    accident: str
    window: str
    window_begin: str
    window_end: str
    branch: str
    """The place where a timeline leaves its parent."""
    place: str
    """The cursor's column on the timeline."""
    tick: str
    """The tick before a label of the axis, at the position that the label names."""
    density: str
    """The steps from few commits to many."""

    def text(self, text: str) -> str:
        """Return a text from outside in this set: characters that it lacks are spelled out."""
        if not self.ascii_only or text.isascii():
            return text
        return text.encode("ascii", "backslashreplace").decode("ascii")


UNICODE = Glyphs(
    ascii_only=False, good="✓", warning="!", failed="✗", unknown="?", running="»", skipped="-", cursor="▸",
    separator="·", arrow="→", ellipsis="…", filled="━", empty="╌", wal="━", streaming="╍", gap=" ", backup="◆",
    restore_point="⚑", accident="!", window="─", window_begin="├", window_end="┤", branch="╰", place="│", tick="╵",
    density="▁▂▃▄▅▆▇█")
ASCII = Glyphs(
    ascii_only=True, good="+", warning="!", failed="x", unknown="?", running=">", skipped="-", cursor=">",
    separator="-", arrow="->", ellipsis="~", filled="#", empty="-", wal="=", streaming="~", gap=" ", backup="B",
    restore_point="P", accident="!", window="-", window_begin="[", window_end="]", branch="`", place="|", tick="'",
    density=".:-=+*%@")


def fitting(environ: Mapping[str, str]) -> Glyphs:
    """Choose by the locale: ASCII if it is not UTF-8, or if the terminal is a kernel's console."""
    locale = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    return UNICODE if "utf" in locale.lower() and environ.get("TERM") != "linux" else ASCII
