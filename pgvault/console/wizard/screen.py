"""The recovery wizard's screen: shows one step at a time, and takes the keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import getters
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widget import Widget

from pgvault.console.base import Change
from pgvault.console.keys import Action
from pgvault.console.recovery.draft import Draft
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step, before, path, shown
from pgvault.console.screens.restored import ON_RESTORED, Made, WithRestored
from pgvault.console.screens.view import bindings
from pgvault.console.widgets.bars import Bar
from pgvault.console.wizard.point_step import PointStep
from pgvault.console.wizard.proof_step import ProofStep
from pgvault.console.wizard.review_step import ReviewStep
from pgvault.console.wizard.run_step import RunStep
from pgvault.console.wizard.stage import Stage
from pgvault.console.wizard.what_step import WhatStep
from pgvault.console.wizard.where_step import WhereStep

_STAGES: dict[Step, type[Stage]] = {
    each.step: each for each in (WhatStep, PointStep, WhereStep, ReviewStep, RunStep, ProofStep)}
_OWN = frozenset({"other-backup", "retry", "cancel"}) | ON_RESTORED
"""The actions that only some steps have."""


class RecoveryScreen(WithRestored):
    view = "recovery"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("recovery")]
    DEFAULT_CSS = """
    RecoveryScreen #stages { height: 1fr; }
    RecoveryScreen.-wide WhatStep {
        & #beside { layout: horizontal; }
        & #asked { width: 48; height: 1fr; }
        & #meaning { height: 1fr; }
        & AccidentFinder { width: 1fr; height: 1fr; }
    }
    RecoveryScreen.-wide WhereStep {
        layout: horizontal;
        & #form-pane, & #means-pane { width: 1fr; height: 1fr; max-height: 100%; }
    }
    """
    path_bar = getters.query_one("#steps", Bar)
    stages = getters.query_one("#stages", Vertical)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.mode = ""
        """The console's view over which the wizard is open."""
        self._made: dict[Step, Stage] = {}
        self._ready: set[Stage] = set()
        """The stages that have come up and can be asked."""

    @property
    def draft(self) -> Draft:
        return self.session.draft

    def body(self) -> Iterable[Widget]:
        yield Bar(id="steps")
        yield Vertical(id="stages")

    def on_mount(self) -> None:
        super().on_mount()
        self.mode = self.app.current_mode
        self.app.recoveries[self.draft.server] = self
        steps = path(read_only=self.app.options.read_only)
        self.call_after_refresh(self.go, self.draft.step if self.draft.step in steps else Step.REVIEW)

    def on_unmount(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        """Release the draft, which can be resumed from now on."""
        if self.app.recoveries.get(self.draft.server) is self:
            del self.app.recoveries[self.draft.server]
        self.session.let_go()

    # From step to step

    @property
    def stage(self) -> Stage | None:
        """Return the stage of this step, once it has come up."""
        stage = self._made.get(self.draft.step)
        return stage if stage in self._ready else None

    def go(self, step: Step) -> None:
        """Show this step; the draft is saved with it."""
        if (left := self.stage) is not None and left.step is not step:
            left.step_down()
            left.display = False
            self.app.clear_notifications()
        self.session.change(replace(self.draft, step=step))
        if step not in self._made:
            self._made[step] = _STAGES[step](self.session, self)
        self.call_later(self._come_up, self._made[step])

    async def _come_up(self, stage: Stage) -> None:
        """Show the step, unless another one was selected meanwhile."""
        if stage.step is not self.draft.step:
            return
        if stage.parent is None:
            await self.stages.mount(stage)
            self._ready.add(stage)
        stage.display = True
        stage.come_up()
        self.update_frame()

    def started(self, job: str) -> None:
        self.session.change(replace(self.draft, job=job))
        self.go(Step.RUN)

    def finish(self) -> None:
        """Remove the draft once the proof was seen."""
        self.session.remove()
        self._close()

    def _close(self) -> None:
        self._let_go()
        self.dismiss()

    async def begin_anew(self, draft: Draft) -> None:
        """Discard the answers, and begin where this draft does."""
        self._ready.clear()
        made, self._made = self._made, {}
        for stage in made.values():
            await stage.remove()
        self.session.change(draft)
        self.go(draft.step)

    # The frame

    def crumbs(self) -> list[str]:
        return [self.draft.server, "recover" if self.session.is_saved else "recover, not saved", self.draft.step.title]

    def update_frame(self) -> None:
        super().update_frame()
        if self.is_attached and self.query("#steps"):
            options = self.app.options
            self.path_bar.set(shown(self.draft.step, read_only=options.read_only, arrow=self.app.glyphs.arrow,
                                    columns=self.size.width))

    def actions(self) -> Iterable[Action]:
        stage = self.stage
        for action in super().actions():
            if action.id in _OWN and (stage is None or action.id not in stage.acts):
                continue
            if action.id == "go-on" and stage:
                action = action._replace(label=stage.enter_label, in_footer=stage.step is not Step.RUN)
            elif action.id == "retry":
                action = action._replace(in_footer=not self.why_not("retry"),
                                         label=stage.retry_label if stage else action.label)
            elif action.id == "back":
                action = action._replace(in_footer=True, label=self._back_label())
            elif action.id == "copy" and stage and stage.copyable():
                action = action._replace(in_footer=True, label="copy commands")
            yield action

    def _back_label(self) -> str:
        return "leave it running" if self.draft.step is Step.RUN else "back"

    def why_not(self, action: str) -> str:
        return self.stage.why_not(action) if self.stage else ""

    def command_words(self) -> list[str] | None:
        return self.stage.words() if self.stage else None

    def copyable(self) -> str:
        return (self.stage.copyable() if self.stage else "") or super().copyable()

    def world_changed(self, change: Change) -> None:
        if self.stage and self.stage.is_attached:
            self.stage.world_changed(change)

    # Actions

    def do_go_on(self) -> None:
        if self.stage:
            self.stage.go_on()

    def do_back(self) -> None:
        """Go one step back; from the first step, and while the restore runs, leave the wizard, never the console."""
        stage = self.stage
        if (pane := self.focused_list()) and pane.clear_filter():
            return
        if stage and stage.back():
            return
        if (step := before(self.draft.step)) is not None:
            self.go(step)
        else:
            self.do_leave()

    def do_leave(self) -> None:
        """Leave the wizard; the answers are kept."""
        stage, draft = self.stage, self.draft
        if stage and stage.is_done:
            self.finish()
            return
        if draft.step is Step.RUN:
            self.app.tell(f"job {draft.job} continues: pgvault job watch {draft.job}")
        elif (draft.what or draft.point) and self.session.is_kept:
            self.app.tell("your answers are kept: r resumes this recovery")
        self._close()

    def do_retry(self) -> None:
        if self.stage:
            self.stage.retry()

    def made(self) -> Made | None:
        return self.stage.made() if self.stage else None

    def do_other_backup(self) -> None:
        if self.stage:
            self.stage.other_backup()

    def do_cancel(self) -> None:
        if self.stage:
            self.stage.cancel()
