"""The shared base of views from which a restored server can be acted on."""

from __future__ import annotations

from pgvault.console.screens.restored import Made, act
from pgvault.console.screens.view import View

ON_RESTORED = frozenset({"bring-back", "look", "open-copy", "lift", "throw-away"})
"""The actions, as the keys name them."""


class WithRestored(View):
    def made(self) -> Made | None:
        """Return the restored server; None if there is none."""
        return None

    def do_bring_back(self) -> None:
        self._act("bring-back")

    def do_look(self) -> None:
        self._act("look")

    def do_open_copy(self) -> None:
        self._act("open-copy")

    def do_lift(self) -> None:
        self._act("lift")

    def do_throw_away(self) -> None:
        self._act("throw-away")

    def _act(self, action: str) -> None:
        if made := self.made():
            act(self.app, action, made)
