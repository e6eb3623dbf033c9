"""The lines of a form: a choice among a few values, and a typed text. Enter in either goes on to the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, ScrollableContainer
from textual.events import Click
from textual.message import Message
from textual.widgets import Input

from pgvault.console.fields import LABEL
from pgvault.console.widgets.lineview import Line, LineView, padded
from pgvault.console.widgets.pane import placeholder
from pgvault.model.text import Painted, visible


class Form(ScrollableContainer, can_focus=False):
    """Some entries; Tab, and the arrows, go from one to the next."""

    DEFAULT_CSS = """
    Form { height: 1fr; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", show=False, id="form-previous"),
        Binding("down", "next", show=False, id="form-next"),
    ]

    def action_previous(self) -> None:
        self.screen.focus_previous()

    def action_next(self) -> None:
        self.screen.focus_next()


class Choice(LineView, can_focus=True):
    """One of a few values; left and right, or space, change it."""

    DEFAULT_CSS = """
    Choice { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,space", "turn(1)", show=False, id="choice-next"),
        Binding("left,h", "turn(-1)", show=False, id="choice-previous"),
    ]

    @dataclass
    class Changed(Message):
        choice: Choice
        key: str

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(self, label: str, *, id: str) -> None:
        super().__init__(id=id)
        self._label = label
        self._options: tuple[tuple[str, str], ...] = ()
        self.key = ""
        """The key of the chosen value."""

    def offer(self, options: Sequence[tuple[str, str]], key: str) -> None:
        """Offer the values, each with its key, and the chosen one."""
        self._options, self.key = tuple(options), key
        self.changed()

    def line(self, y: int) -> Line:
        text = dict(self._options).get(self.key, "-")
        here = self.glyphs.cursor if self.has_focus else " "
        label = padded(f"{here}{self._label}", LABEL, self.glyphs.ellipsis)
        if len(self._options) < 2:
            return [label, f" {text}"]
        index = [key for key, _ in self._options].index(self.key) if self.key in dict(self._options) else 0
        count = Painted(f"   {index + 1} of {len(self._options)}", "dim")
        return [label, Painted("<", "accent"), text, Painted(">", "accent"), count]

    def background(self, y: int) -> str:
        return "cursor" if self.has_focus else ""

    def action_turn(self, by: int) -> None:
        keys = [key for key, _ in self._options]
        if len(keys) > 1:
            self.key = keys[(keys.index(self.key) + by) % len(keys) if self.key in keys else 0]
            self.changed()
            self.post_message(self.Changed(self, self.key))

    def on_focus(self) -> None:
        self.changed()

    def on_blur(self) -> None:
        self.changed()

    def on_click(self, event: Click) -> None:
        if self.has_focus:
            self.action_turn(1)


class Label(LineView):
    DEFAULT_CSS = f"""
    Label {{ height: 1; width: {LABEL}; }}
    """


class Typed(Horizontal):
    """A text with its name before it."""

    DEFAULT_CSS = """
    Typed { height: 1; }
    """

    def __init__(self, label: str, *, id: str, hint: str = "") -> None:
        super().__init__(id=f"{id}-line")
        self._label = Label([[f" {visible(label)}"]])
        self.input = Input(placeholder=placeholder(hint), id=id, select_on_focus=False, compact=True)
        self.input.cursor_blink = False

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.input

    @property
    def value(self) -> str:
        return self.input.value

    def put(self, text: str, *, label: str = "", hint: str = "") -> None:
        """Show this text and, where given, another name and example."""
        if label:
            self._label.set_lines([[f" {label}"]])
        if hint:
            self.input.placeholder = placeholder(hint)
        if self.input.value != text:
            self.input.value = text
            self.input.cursor_position = len(text)
