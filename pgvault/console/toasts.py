"""What is said for a moment: a few words that stand until the next key, and never twice at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from textual.events import Event, Key
from textual.notifications import Notify

from pgvault.console.textual_private import PrivateApp
from pgvault.model.secrets import masked
from pgvault.model.text import visible

if TYPE_CHECKING:
    from pgvault.console.glyphs import Glyphs


class Toasts(PrivateApp):
    """An app that tells things in passing; where they stand is said in console.tcss."""

    glyphs: Glyphs

    def tell(self, text: str, severity: str = "information", *, title: str = "") -> None:
        """A line that goes away by itself."""
        self.notify(self.glyphs.text(visible(masked(text))), title=self.glyphs.text(visible(title)),
                    severity=cast("Any", severity), markup=False)

    def action_help_quit(self) -> None:
        """Answer ctrl+c; Textual's own answer names no key of this console."""
        self.tell("ctrl+c ends nothing here: q or ctrl+q leaves the console, X cancels a job, y copies")

    def on_notify(self, event: Notify) -> None:
        """Act before Textual's own handler: of the same words only the last ones are kept."""
        self.forget_message(event.notification.message)

    async def on_event(self, event: Event) -> None:
        """Whoever presses a key has read what stood there, or wants to see what is below it."""
        if isinstance(event, Key) and not event.is_forwarded:
            self.clear_notifications()
        await super().on_event(event)
