"""The colours: one calm theme, one of high contrast, and the terminal's own colours where it has few or wants none."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

CALM = Theme(
    name="pgvault", primary="#7fb4ca", secondary="#658594", accent="#e6c384", warning="#e6c384", error="#e46876",
    success="#98bb6c", foreground="#dcd7ba", background="#16181d", surface="#16181d", panel="#22262e", dark=True,
    variables={
        "border": "#7fb4ca", "border-blurred": "#3b4252", "block-cursor-background": "#2d4f67",
        "block-cursor-foreground": "#f2ecd8", "block-cursor-text-style": "none", "text-muted": "#8a919c",
        "input-selection-background": "#2d4f67"})
CONTRAST = Theme(
    name="pgvault-contrast", primary="#ffffff", secondary="#ffffff", accent="#ffff00", warning="#ffff00",
    error="#ff6060", success="#60ff60", foreground="#ffffff", background="#000000", surface="#000000", panel="#303030",
    dark=True,
    variables={
        "border": "#ffffff", "border-blurred": "#808080", "block-cursor-background": "#ffffff",
        "block-cursor-foreground": "#000000", "text-muted": "#c0c0c0"})
THEMES = (CALM, CONTRAST)


def theme_for(environ: Mapping[str, str]) -> str:
    """Return the theme: the terminal's own sixteen colours if it has no more, or if NO_COLOR asks for none."""
    if wish := environ.get("PGVAULT_THEME"):
        return wish
    rich = environ.get("COLORTERM", "") in ("truecolor", "24bit") or "256color" in environ.get("TERM", "")
    return "ansi-dark" if environ.get("NO_COLOR") or not rich else CALM.name
