"""The base of every screen: the head, the breadcrumb, the keys, and how a key is carried out.

A key's act is `do_<id>` of the screen or, for what works everywhere, of the app. Before it is done `why_not` is asked;
if it returns a reason, the person gets that line instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

from textual import getters
from textual.app import ComposeResult
from textual.binding import Binding
from textual.events import DescendantFocus, Resize, ScreenResume
from textual.widget import Widget
from textual.widgets import Input

from pgvault.console.base import BaseView, Change
from pgvault.console.head import head_parts, tabs
from pgvault.console.keys import BY_ID, Action, actions_of, keys_of, shown
from pgvault.console.textual_private import classes_of_size, compose_sparingly
from pgvault.console.widgets.bars import Bar, Key, KeyBar
from pgvault.console.widgets.lineview import cut
from pgvault.console.widgets.pane import FilterInput, ListPane
from pgvault.console.widgets.too_small import COLUMNS, LINES, TooSmall, lacking
from pgvault.model.text import Painted, Part, visible, width

_BLIND = ("leave", "quit", "suspend")
"""The actions that work where the terminal is too small to show anything else."""


def bindings(view: str) -> list[Binding]:
    """Return the bindings of a view or dialog; those that change something are refused with --read-only."""
    return [Binding(",".join(action.keys), f"do('{action.id}')", action.label, show=False, id=action.id)
            for action in actions_of(view, read_only=False)]


class View(BaseView):
    """A screen. Subclasses set `view`, BINDINGS = bindings(view), and give `body` and `crumbs`."""

    head = getters.query_one("#head", Bar)
    path = getters.query_one("#path", Bar)
    keybar = getters.query_one(KeyBar)

    def __init__(self) -> None:
        super().__init__()
        compose_sparingly(self)
        self._was_shown = False

    def compose(self) -> ComposeResult:
        self._take_classes_of_size()
        yield Bar(id="head")
        yield Bar(id="path")
        yield from self.body()
        yield KeyBar(id="keys")
        yield TooSmall()

    def body(self) -> Iterable[Widget]:
        """Yield the screen's panes."""
        return ()

    def command_words(self) -> list[str] | None:
        """Return the words after `pgvault` that do, or show, the same as the selection; None if there are none."""
        return None

    def command_line(self) -> str | None:
        words = self.command_words()
        return None if words is None else self.app.queries.commands.shown(words)

    def show_item(self, key: str) -> None:
        if pane := self.focused_list():
            pane.listing.go_to_key(key)

    # The frame

    def on_mount(self) -> None:
        self.call_after_refresh(self.update_frame)

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self.update_frame)

    def on_screen_resume(self, event: ScreenResume) -> None:
        event.refresh_styles = self._was_shown  # a new screen has its styles
        self._was_shown = True
        self.update_frame()
        self.world_changed(Change.SHOWN)

    def update_frame(self) -> None:
        """Draw head, breadcrumb and keys as they are now; only what changed is sent."""
        if not self.is_attached or not self.query("#head"):
            return
        self._apply_size()
        self.head.set(*head_parts(self.app))
        self.path.set([" ", *self._path_parts()], list(self._right_parts()))
        self.query_one(TooSmall).changed()
        self._show_keys()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        self.update_frame()

    def _show_keys(self) -> None:
        """Show the keys; letters are not among them while text is typed."""
        if isinstance(self.focused, FilterInput):
            self.keybar.set_keys(FilterInput.keys)
        else:
            keys = (self._key(action) for action in self.actions() if action.in_footer)
            self.keybar.set_keys(key for key in keys if not (self._is_typing and len(key.key) == 1))

    @property
    def _is_typing(self) -> bool:
        return isinstance(self.focused, Input)

    def _right_parts(self) -> Iterator[Part]:
        """Return the views as tabs in the room that is left, preceded by a note if a larger terminal would show more.
        """
        paused = "refreshing is paused (p) " if self.app.paused else ""
        if paused:
            yield Painted(paused, "warn")
        left = _columns(self._path_parts()) + 2
        small = lacking(self.app.size)
        if small and left + len(paused) + len(small) > self.size.width:
            small = "small "
        if small:
            yield Painted(small, "warn")
        yield from tabs(self.app.current_mode, self.size.width - left - len(paused) - len(small), self.app.keymap,
                        dim=self._is_typing)

    def _path_parts(self) -> list[Part]:
        """Return the path to this view; a server's name is followed by the word of its environment. On a line that is
        too short the longest name is shortened, so that its end is visible.
        """
        crumbs = self.crumbs()
        word = self.app.environment_of(crumbs[0]) if crumbs else ""
        over = _columns(_joined(crumbs, word)) + 2 - self.size.width
        if over > 0:
            longest = max(range(len(crumbs)), key=lambda index: width(visible(crumbs[index])))
            name = visible(crumbs[longest])
            crumbs[longest] = cut(name, max(1, width(name) - over), self.app.glyphs.ellipsis)
        return _joined(crumbs, word)

    def _take_classes_of_size(self) -> None:
        """Set the classes at once: Textual sets them with the first Resize, and then computes each widget's styles
        again.
        """
        for length, classes in zip(self.app.size, (self.app.HORIZONTAL_BREAKPOINTS, self.app.VERTICAL_BREAKPOINTS),
                                   strict=True):
            self.add_class(*classes_of_size(self, length, classes), update=False)

    def _apply_size(self) -> None:
        """Apply the size that is current: two in quick succession can reach a screen in the wrong order, and it would
        keep the rules of the older one: too small for a view, and yet showing it.
        """
        size = self.app.size
        if (self.has_class("-small"), self.has_class("-short")) != (size.width < COLUMNS, size.height < LINES):
            self.post_message(Resize(size, size))

    def actions(self) -> Iterable[Action]:
        """Return the actions that work here, in the order of the footer."""
        for action in actions_of(self.view, read_only=self.app.options.read_only):
            if action.id == "leave" and self._is_above_another:
                action = action._replace(label="close")
            elif action.id == "back":
                action = action._replace(in_footer=self.goes_back)
            yield action

    @property
    def goes_back(self) -> bool:
        """True if Esc does something here."""
        pane = self.focused_list()
        return self._is_above_another or (pane is not None and bool(pane.pattern))

    @property
    def _is_above_another(self) -> bool:
        return self in self.app.screen_stack[1:]

    def _key(self, action: Action) -> Key:
        keys = keys_of(action, self.app.keymap)
        return Key(shown(keys[0]) if keys else "", action.label, not self.why_not(action.id))

    # Keys and actions

    async def action_do(self, action_id: str) -> None:
        await self.do(action_id)

    async def do(self, action_id: str) -> None:
        """Carry out an action, or report why it cannot be done."""
        action = BY_ID[action_id]
        if self.query_one(TooSmall).display and action_id not in _BLIND:
            return
        if action.mutates and self.app.options.read_only:
            self.app.tell("this console was started with --read-only", "warning")
            return
        if reason := self.why_not(action_id):
            self.app.tell(reason, "warning")
            return
        act = getattr(self, action.method, None) or getattr(self.app, action.method)
        result = act()
        if inspect.isawaitable(result):
            await result
        self.update_frame()

    def focused_list(self) -> ListPane | None:
        """Return the list pane that has the focus, or the first one."""
        panes = [pane for pane in self.query(ListPane) if pane.display]
        return next((pane for pane in panes if pane.has_focus_within), panes[0] if panes else None)

    def do_open(self) -> None:
        if pane := self.focused_list():
            pane.listing.action_open()

    def do_filter(self) -> None:
        if pane := self.focused_list():
            pane.open_filter()

    def do_back(self) -> None:
        pane = self.focused_list()
        if (pane is None or not pane.clear_filter()) and len(self.app.screen_stack) > 1:
            self.dismiss()


def _joined(crumbs: list[str], word: str) -> list[Part]:
    if not word:
        return [" / ".join(crumbs)]
    return [f"{crumbs[0]} ", Painted(word, "accent"), "".join(f" / {each}" for each in crumbs[1:])]


def _columns(parts: Iterable[Part]) -> int:
    return sum(width(visible(str(part))) for part in parts)
