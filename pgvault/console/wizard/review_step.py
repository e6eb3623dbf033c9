"""Step 4: the plan, exactly as it will be carried out, before anything is written; and the word that starts it."""

from __future__ import annotations

from datetime import timedelta

from textual import getters
from textual.app import ComposeResult
from textual.events import Resize

from pgvault.console.background import run_in_background
from pgvault.console.fields import Field, failed
from pgvault.console.recovery.planned import Planned, here, plan_fields
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.room import HIGHEST_STRIP
from pgvault.console.screens.confirm import Confirm, Typed
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading, ShortReading
from pgvault.console.widgets.strip import Strip
from pgvault.console.wizard.stage import Stage, Wizard
from pgvault.model.errors import Refused
from pgvault.model.event import Failure
from pgvault.model.text import Painted, elapsed

_REDRAW_SECONDS = 1.0
_FIRST_SECOND = timedelta(seconds=1)
_ROOM_FOR_STRIP = 50
"""The least lines of the step with room for the timeline strip."""


class ReviewStep(Stage):
    step = Step.REVIEW
    retry_label = "plan again"
    plan_text = getters.query_one("#plan", Reading)
    frame = getters.query_one("#plan-pane", Pane)
    strip = getters.query_one(Strip)
    verdict = getters.query_one("#verdict", ShortReading)

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__(session, wizard)
        self._plan: Planned | None = None
        self._failure: Failure | None = None
        self._starting = False
        self._waits_since = session.queries.now()
        """The beginning of the last wait for a plan, or for a start."""

    @property
    def acts(self) -> frozenset[str]:
        return frozenset({"retry"})

    @property
    def enter_label(self) -> str:
        return "restore" if self._plan and not self._plan.overwrites else "overwrite" if self._plan else "go on"

    def compose(self) -> ComposeResult:
        yield Pane("the plan", Reading(id="plan"), id="plan-pane")
        yield Strip("the point that is restored")
        yield ShortReading(id="verdict")

    def on_mount(self) -> None:
        self.set_interval(_REDRAW_SECONDS, self._tell_waiting)

    def _tell_waiting(self) -> None:
        if self.display and (self._starting or (self._plan is None and self._failure is None)):
            self.verdict.show([Field("", *self._verdict(), 1)])

    # Planning

    def come_up(self) -> None:
        self.plan_text.focus()
        self.plan_text.go_to(0)
        self.strip.show_point(self.session.draft.server, self.session.place, self.session.found.newest_first)
        self._plan_anew()

    def on_resize(self, event: Resize) -> None:
        """Show the timeline strip only if it takes no room from the plan."""
        self.strip.give_room(HIGHEST_STRIP if self.size.height >= _ROOM_FOR_STRIP else 0)

    def step_down(self) -> None:
        self.workers.cancel_group(self, "plan")

    def _plan_anew(self) -> None:
        self._plan, self._failure, self._waits_since = None, None, self.console.queries.now()
        place = self.session.draft.destination
        self.plan_text.show([Field("", f"the vault and {place} are being looked at; nothing is written", "", 1)])
        self._say()
        run_in_background(self, "plan", self._make_plan)

    async def _make_plan(self) -> None:
        answer = await self.session.plan()
        if answer.documents:
            self._plan = Planned(answer.document)
            queries = self.console.queries
            self.plan_text.show(plan_fields(self._plan, self.session.draft, zone=self.session.zone, now=queries.now(),
                                            command=queries.commands.shown(self._plan.command)))
        else:
            self._show_failure(answer.failure)
        self._say()

    def _show_failure(self, failure: Failure | None, *lead: Field) -> None:
        self._failure = failure or Failure("there is no plan", "The command gave none.", "", "failed", 1)
        place = here(f"{self._failure.detail} {self._failure.hint}")
        self.plan_text.show([*lead, *failed(self._failure, retry="t"), *([Field("", place, "bold")] if place else [])])

    def _say(self) -> None:
        self.verdict.show([Field("", *self._verdict(), 1)])
        self.wizard.update_frame()

    def _verdict(self) -> Painted:
        """Yield what Enter does, or why nothing, in full, since it decides."""
        plan = self._plan
        if self._failure:
            return Painted("nothing was changed", "bad")
        if plan is None:
            return Painted(f"planning{self._waited}", "dim")
        if self._starting:
            return Painted(f"starting{self._waited}; before it writes, the job looks at the destination once more",
                           "accent")
        if plan.failed:
            return Painted("this plan cannot run: see the first lines; esc goes back, t plans again", "bad")
        if self.console.options.read_only:
            return Painted("READ-ONLY: this console plans and restores nothing; c shows the command", "warn")
        if plan.overwrites:
            return Painted("Enter asks for the directory's name, and then overwrites it", "bad")
        return Painted(f"Enter: {plan.act}", "good")

    @property
    def _waited(self) -> str:
        """Return for how long, from the first second on."""
        now = self.console.queries.now()
        return f" for {elapsed(self._waits_since, now)}" if now - self._waits_since >= _FIRST_SECOND else ""

    # Starting

    def why_not(self, action: str) -> str:
        if action == "go-on":
            return self._why_not_run()
        if action in ("back", "leave") and self._starting:
            return "the restore is being started; once it runs, esc leaves it running and X cancels it"
        return self._why_not_plan() if action == "retry" else ""

    def _why_not_plan(self) -> str:
        if self._starting or (self._plan is None and self._failure is None):
            return "the plan is being made"
        if self._plan and not self._plan.failed:
            return "the plan holds; when it starts, it is compared once more with what is there"
        return ""

    def _why_not_run(self) -> str:
        if self.console.options.read_only:
            return "this console was started with --read-only: it plans, and restores nothing"
        if self._failure:
            return f"there is no plan to carry out: {self._failure.message}"
        if self._plan is None or self._starting:
            return "the plan is being made" if self._plan is None else "the restore is being started"
        if self._plan.failed:
            return f"the condition \"{self._plan.failed[0]['name']}\" does not hold: {self._plan.failed[0]['detail']}"
        return ""

    def go_on(self) -> None:
        plan = self._plan
        if plan is None or self._why_not_run():
            return
        if plan.overwrites:
            fields = [Field("", f"This overwrites {plan.place}:", "bad", 0),
                      Field("", plan.overwrites, "bad" if plan.doubt else "bold", 0),
                      *([Field("", plan.doubt, "bold", 0)] if plan.doubt else [])]
            typed = Typed(plan.directory)
            self.console.push_screen(Confirm("overwrite", fields, act=plan.act, typed=typed), self._confirmed)
        else:
            self._confirmed(True)

    def _confirmed(self, yes: bool | None) -> None:
        if yes and (plan := self._plan):
            self._starting, self._waits_since = True, self.console.queries.now()
            self._say()
            run_in_background(self, "start", self._start, plan)

    async def _start(self, plan: Planned) -> None:
        """Start exactly the plan's command; if conditions have changed since, it stops there and reports what changed.
        """
        title = f"a restore to {plan.place}"
        self.console.starting.append(title)
        try:
            answer = await self.console.queries.commands.ask(*plan.command, "--yes", "--detach")
        finally:
            self._starting = False
            self.console.starting.remove(title)
        job = answer.document.get("job")
        if job:
            self.wizard.started(str(job))
            return
        self._plan = None
        has_changed = answer.failure is not None and answer.failure.code == Refused.code
        self._show_failure(answer.failure, Field("refused", "conditions have changed since the plan was made; "
                                                 "nothing was changed", "warn") if has_changed else
                           Field("not begun", "the restore was not begun; nothing was changed", "warn"))
        self._say()

    def retry(self) -> None:
        self._plan_anew()

    def words(self) -> list[str] | None:
        return self._plan.command if self._plan else self.session.draft.words()
