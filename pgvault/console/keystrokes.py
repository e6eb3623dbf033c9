"""Handles keys in the order in which they were pressed, each where it was meant for.

Textual hands a key to whatever has the focus at that moment, while the keys before it are still passing through the
queues of the widgets: a letter overtakes a backspace, and what follows a key that opens something is typed into what
was open before. Here a key waits until the effect of the one before it is complete.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from textual.events import Event, Key
from textual.message_pump import MessagePump
from textual.screen import Screen

from pgvault.console.textual_private import parent_of
from pgvault.console.toasts import Toasts

_AT_MOST = 2.0
"""The longest wait, in seconds. What takes longer continues while the next keys are handled, such as a key that ends
the console.
"""
_ROUNDS = 2
"""The number of passes through the queues from the widget up: one for the key itself, one for the messages that it
caused.
"""


class Keystrokes(Toasts):
    """An app that handles one key after the other."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._keys: deque[Key] = deque()
        self._at_work: Key | None = None
        self._since = 0.0

    async def on_event(self, event: Event) -> None:
        if not isinstance(event, Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._keys.append(event)
        if not self.taking_key:
            await self._take_next()

    @property
    def taking_key(self) -> bool:
        """True while a key's effect is incomplete, for at most _AT_MOST."""
        return self._at_work is not None and time.monotonic() - self._since <= _AT_MOST

    async def _take_next(self) -> None:
        if not self._keys:
            self._at_work = None
            return
        key = self._at_work = self._keys.popleft()
        self._since = time.monotonic()
        screen = self.screen
        target = self.focused or screen
        await super().on_event(key)
        self._follow(key, screen, target, target, _ROUNDS)

    def _follow(self, key: Key, screen: Screen[object], target: MessagePump, here: MessagePump | None,
                rounds: int) -> None:
        """Queue behind the key and its messages in each queue that they pass, up to the app's."""
        if key is not self._at_work:  # it took too long, and is waited for no more
            return
        if here is None or here is self or \
                not here.call_later(self._follow, key, screen, target, parent_of(here), rounds):
            rest = rounds - 1
            self.call_later(*((self._follow, key, screen, target, target, rest) if rest else (self._done, key, screen)))

    async def _done(self, key: Key, screen: Screen[object]) -> None:
        """Let the next key through. If another screen came up, the key is for that one, once it is up and something in
        it has the focus.
        """
        if key is not self._at_work:
            return
        if self.screen is screen or not self.screen.call_after_refresh(self.call_later, self._done, key, self.screen):
            await self._take_next()
