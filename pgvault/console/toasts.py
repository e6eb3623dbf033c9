"""Short notices that stay until the next key, and never appear twice at the same time."""

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
    """An app with short notices; console.tcss sets their place."""

    glyphs: Glyphs

    def tell(self, text: str, severity: str = "information", *, title: str = "") -> None:
        """Show a line that disappears by itself."""
        self.notify(self.glyphs.text(visible(masked(text))), title=self.glyphs.text(visible(title)),
                    severity=cast("Any", severity), markup=False)

    def action_help_quit(self) -> None:
        """Answer ctrl+c; Textual's own answer names no key of this console."""
        self.tell("ctrl+c ends nothing here: q or ctrl+q leaves the console, X cancels a job, y copies")

    def on_notify(self, event: Notify) -> None:
        """Act before Textual's own handler: of notices with the same words only the last one is kept."""
        self.forget_message(event.notification.message)

    async def on_event(self, event: Event) -> None:
        """Clear the notices at a key: its presser has read them, or wants to see what is below."""
        if isinstance(event, Key) and not event.is_forwarded:
            self.clear_notifications()
        await super().on_event(event)
