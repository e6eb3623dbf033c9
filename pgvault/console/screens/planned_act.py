"""An act of the console that begins with its verb's plan, which is shown and, once it is confirmed, carried out exactly
by a job of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.widget import Widget

from pgvault.console.background import run_in_background
from pgvault.console.commands import Answer, Document
from pgvault.console.fields import Field
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.console.screens.dialog import Dialog
from pgvault.console.screens.text_box import FailureBox
from pgvault.console.widgets.reading import ShortReading
from pgvault.model.event import Failure

if TYPE_CHECKING:
    from pgvault.console.base import BaseConsole

_NO_JOB = Failure("the command named no job", "", "See whether one runs: pgvault job list", "failed", 1)


@dataclass(frozen=True, slots=True)
class PlannedAct:
    words: tuple[str, ...]
    """The verb with its arguments; `--dry-run` gives its plan."""
    title: str
    asking: str
    """What is waited for while the plan is made."""
    fields_of: Callable[[Document], Iterator[Field]]
    typed: Callable[[Document], Typed | None] = lambda _: None
    """The text to be typed to confirm it; None for none."""
    nothing_to_do: Callable[[Document], str] = lambda _: ""
    """Why there is nothing to confirm; empty if there is something."""
    confirms: str = "--yes"
    """The option that confirms an act which needs no typed text; empty if the verb has none."""


class Awaiting(Dialog[Answer]):
    """Names what is awaited while a verb runs. Dismissed with the verb's answer; leaving it earlier ends the verb."""

    keys = (("esc", "do not wait"),)

    def __init__(self, title: str, text: str, words: Sequence[str]) -> None:
        super().__init__()
        self.title_text, self._text, self._words = title, text, words
        self._answer: Answer | None = None

    def body(self) -> Iterable[Widget]:
        yield ShortReading([Field("", self._text, "", 0)])

    def on_mount(self) -> None:
        run_in_background(self, "ask", self._ask)

    async def _ask(self) -> None:
        self._answer = await self.console.queries.commands.ask(*self._words)
        self.on_screen_resume()

    def on_screen_resume(self) -> None:
        """Pass the answer on, but not while another dialog is on top: that would be closed in the place of this one."""
        if self._answer is not None and self.app.screen is self:
            answer, self._answer = self._answer, None
            self.dismiss(answer)


def plan_acts(app: BaseConsole, acts: Sequence[PlannedAct]) -> None:
    """Ask for the first act's plan, carry out exactly that once it is confirmed, and go on with the next act."""
    first, *rest = acts

    def planned(answer: Answer | None) -> None:
        if answer is not None:
            _confirm(app, first, answer, lambda: plan_acts(app, rest) if rest else None)

    app.push_screen(Awaiting(first.title, first.asking, [*first.words, "--dry-run"]), planned)


def _confirm(app: BaseConsole, act: PlannedAct, answer: Answer, go_on: Callable[[], None]) -> None:
    plan = answer.document
    failed = [each for each in plan.get("preconditions", ()) if each["outcome"] == "failed"]
    if not plan or failed:
        app.push_screen(FailureBox(f"cannot {act.title}", _refusal(answer, failed)))
        return
    if idle := act.nothing_to_do(plan):
        app.tell(idle)
        return
    words, typed = shlex.split(plan["command"])[1:], act.typed(plan)
    confirms = [act.confirms] if act.confirms and not typed and act.confirms not in words else []

    def confirmed(yes: bool | None) -> None:
        if yes:
            run_in_background(app, "start", start_job, app, [*words, *confirms, "--detach"], act.title,
                              exclusive=False)
        go_on()

    fields = [*act.fields_of(plan), Field("command", app.queries.commands.shown(words), "accent")]
    app.push_screen(Confirm(act.title, fields, act=str(plan["act"]), typed=typed), confirmed)


def _refusal(answer: Answer, failed: Sequence[Document]) -> Failure:
    if failed:
        return Failure(f"the condition \"{failed[0]['name']}\" does not hold", failed[0]["detail"], failed[0]["fix"],
                       "refused", 5)
    return answer.failure or Failure("there is no plan", "The command gave none.", "", "failed", 1)


async def start_job(app: BaseConsole, words: Sequence[str], title: str) -> None:
    """Start a verb as a job of its own; its end is announced wherever one is then."""
    app.starting.append(title)
    app.tell(f"starting: {title}")
    try:
        answer = await app.queries.commands.ask(*words)
    finally:
        app.starting.remove(title)
    job = answer.document.get("job")
    if answer.failure or not job:
        app.push_screen(FailureBox(f"not begun: {title}", answer.failure or _NO_JOB))
        return
    app.announced[job] = title
    await app.read_jobs()
