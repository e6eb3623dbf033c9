"""Every private name of Textual that the console uses, and why; no other module uses one.

Textual may change them in any release: tests/console/test_textual_private.py compares them with the installed release.

Most serve to do no more than a change needs. A link may be slow: Textual's own update of a part of the screen begins at
the left edge of the widget, whatever the part. And the first frame has to be early: Textual parses every sheet again
whenever it sets the theme, even with the same colours.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App
from textual.css.styles import RenderStyles
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.screen import Screen


class SparingUpdate(ChopsUpdate):
    """Textual's update, limited to the columns that are asked for."""

    def render_segments(self, console: Console) -> str:
        sequences: list[str] = []
        for y, first, behind in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=True):
                if strip is not None and x < behind and end > first:
                    begin = max(x, first)
                    sequences += (Control.move_to(begin, y).segment.text,
                                  strip.crop(begin - x, min(end, behind) - x).render(console))
        return "".join(sequences)


class SparingCompositor(Compositor):
    def render_partial_update(self) -> ChopsUpdate | None:
        update = super().render_partial_update()
        return update and SparingUpdate(update.chops, update.spans, update.chop_ends)


class ComponentStyles(dict[str, RenderStyles]):
    """The styles of a widget's component classes, each computed when it is first asked for: most never are."""

    def __init__(self, sheet: Stylesheet, node: DOMNode) -> None:
        super().__init__()
        self._sheet, self._node, self._names = sheet, node, node._get_component_classes()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __missing__(self, name: str) -> RenderStyles:
        component = DOMNode(classes=name)
        component._attach(self._node)
        self._sheet.apply(component)
        self[name] = component.styles
        return component.styles


class SparingStylesheet(Stylesheet):
    """A stylesheet that is parsed once, unless its colours change, and computes no style that nobody uses."""

    def set_variables(self, variables: dict[str, str]) -> None:
        if variables != self._variables:
            super().set_variables(variables)
            self._require_parse = True

    def reparse(self) -> None:
        if self._require_parse:
            self.parse()

    def _process_component_classes(self, node: DOMNode) -> None:
        if not node._get_component_classes():
            return
        before = node._component_styles
        now = node._component_styles = ComponentStyles(self, node)
        if any(now[name] != styles for name, styles in before.items()):
            node.refresh()


def compose_sparingly(screen: Screen[Any]) -> None:
    """Give a newly made screen the sparing compositor."""
    screen._compositor = SparingCompositor()


def classes_of_size(screen: Screen[Any], length: int, breakpoints: list[tuple[int, str]]) -> list[str]:
    """Return the classes that a screen of this width or height has by the breakpoints."""
    return list(screen._get_breakpoint_classes(length, breakpoints))


def parent_of(pump: MessagePump) -> MessagePump | None:
    """Return the node whose queue comes after this one's; None for the application."""
    return pump._parent


class TerminalFile:
    """A terminal; what is written to it is dropped once its other end is closed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class TerminalDriver(LinuxDriver):
    """Textual's driver, adapted to a terminal that goes away: whatever happens to it, the console ends in order.

    Textual writes from a thread that dies of the first write to a closed terminal, and then waits for ever for room in
    that thread's queue. A closed terminal also brings SIGCONT, which Textual takes for the return from a suspension: it
    would begin anew, with a second thread for the keys.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file: Any = TerminalFile(cast("IO[str]", sys.__stderr__))

    def _sigcont_application(self, *_: object) -> None:
        if self._must_signal_resume:  # it was suspended
            super()._sigcont_application()


class PrivateApp(App[None]):
    """An app that reports the error it died of without a traceback, and ends with its terminal."""

    crash: Exception | None = None
    """The error that ended the app; None if it ended as it should."""

    def _handle_exception(self, error: Exception) -> None:
        self.crash = self.crash or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Close without Textual's traceback, which shows the values of all variables, secrets among them."""
        self._close_messages_no_wait()

    def stop_reading_keys(self) -> None:
        """Stop the thread that reads keys: if the terminal goes away before Textual has tidied up, it would read for
        ever.
        """
        if event := getattr(self._driver, "exit_event", None):
            event.set()

    def forget_message(self, message: str) -> None:
        """Forget toasts with these words, without drawing: that is done with the next one."""
        for same in [each for each in self._notifications if each.message == message]:
            self._unnotify(same, refresh=False)
