"""The common base of the steps' widgets: one is on the screen, and is notified when it comes up and when to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from textual.binding import Binding, BindingType
from textual.containers import Vertical

from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.room import HIGHEST_STRIP, STRIP

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole, Change
    from pgvault.console.screens.restored import Made
    from pgvault.console.widgets.reading import Reading

_ROOM_FOR_STRIP, _ROOM_FOR_HIGHEST = 30, 46
"""The least lines of a step with room for the timeline strip, and for the strip's higher bars."""


def lines_of_strip(room: int) -> int:
    """Return how many of a step's lines the timeline strip gets; 0 if there is no room for it."""
    return HIGHEST_STRIP if room >= _ROOM_FOR_HIGHEST else STRIP if room >= _ROOM_FOR_STRIP else 0


class Wizard(Protocol):
    """The requests of a step to the screen that shows it."""

    def go(self, step: Step) -> None:
        """Show this step; the draft is saved with it."""

    def started(self, job: str) -> None:
        """Follow the restore that runs as this job."""

    def finish(self) -> None:
        """Close the wizard: the proof was seen, and the draft is no longer needed."""

    def update_frame(self) -> None:
        """Draw the frame around the step anew: the available actions have changed."""


class Stage(Vertical):
    """One step. It draws the session's draft, and changes it through the session alone."""

    step: ClassVar[Step]
    retry_label: str = "try again"
    DEFAULT_CSS = """
    Stage { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page(-1)", show=False, id="stage-page-up"),
        Binding("pagedown", "page(1)", show=False, id="stage-page-down"),
    ]

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__()
        self.session, self.wizard = session, wizard

    @property
    def explanation(self) -> Reading | None:
        """Return the text that the page keys scroll, wherever the focus is."""
        return None

    def action_page(self, by: int) -> None:
        if self.explanation:
            self.explanation.action_page(by)

    @property
    def enter_label(self) -> str:
        """Return the effect of Enter, for the footer."""
        return "go on"

    @property
    def acts(self) -> frozenset[str]:
        """Return the wizard's own actions that work in the step, besides going on and back."""
        return frozenset()

    @property
    def console(self) -> BaseConsole:
        return cast("BaseConsole", self.app)

    def come_up(self) -> None:
        """Draw the draft, ask what has to be asked, and take the focus; called whenever the step is shown."""

    def step_down(self) -> None:
        """End what was asked for this step alone; called when another step is shown."""

    def go_on(self) -> None:
        """Handle Enter: go to the next step, or report what is missing."""

    def back(self) -> bool:
        """Go back within the step, or to another than the step before; return False if it does neither."""
        return False

    @property
    def is_done(self) -> bool:
        """Return whether all was seen, so that leaving the wizard discards the draft."""
        return False

    def retry(self) -> None:
        """Try again what failed."""

    def other_backup(self) -> None:
        """Offer the other backups."""

    def cancel(self) -> None:
        """Ask whether the job is to be cancelled."""

    def made(self) -> Made | None:
        """Return the server that the restore made; None before the proof."""
        return None

    def why_not(self, action: str) -> str:
        """Return why an action cannot be done now; empty if it can."""
        return ""

    def words(self) -> list[str] | None:
        """Return the words after `pgvault` that do the same; None before the answers suffice for it."""
        return None

    def copyable(self) -> str:
        """Return what `y` copies; empty for the path to this view."""
        return ""

    def world_changed(self, change: Change) -> None:
        """See `View.world_changed`."""
