"""Step 2: the point. Choosing an accident means the point just before it; any other point is named, and checked at
once.

A point that cannot be reached cannot be chosen: the nearest ones that can follow the reason, one Enter away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from textual import getters
from textual.app import ComposeResult
from textual.events import Resize

from pgvault.console.background import run_in_background
from pgvault.console.fields import Field, failed
from pgvault.console.recovery.answer import Answer, Near, place_of
from pgvault.console.recovery.draft import Draft, Point, What
from pgvault.console.recovery.pointed import asked, nearest, point_fields
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.recovery.typed import Kind
from pgvault.console.room import HIGHEST_STRIP
from pgvault.console.widgets.listing import Listing
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.rows import Column, ItemRows
from pgvault.console.widgets.strip import Strip
from pgvault.console.wizard.accident_finder import AccidentFinder
from pgvault.console.wizard.backup_choice import BackupChoice
from pgvault.console.wizard.kinds import Kinds
from pgvault.console.wizard.stage import Stage, Wizard, lines_of_strip
from pgvault.model.event import Failure

_PAUSE_SECONDS = 0.2
"""The seconds before the point under a moving cursor is looked up."""
_LEAST_POINT = 10
"""The least lines for the facts of the point, with their border."""
_BEGIN_WITH = {What.DEPLOY: Kind.TIME}


class PointStep(Stage):
    step = Step.POINT
    DEFAULT_CSS = """
    PointStep #point { height: 1fr; max-height: 14; }
    PointStep.-high #point { max-height: 100%; }
    PointStep #nearest { height: auto; max-height: 4; display: none; }
    """
    finder = getters.query_one(AccidentFinder)
    kinds = getters.query_one(Kinds)
    strip = getters.query_one(Strip)
    facts = getters.query_one("#facts", Reading)
    near = getters.query_one("#nearest", Listing)
    frame = getters.query_one("#point", Pane)

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__(session, wizard)
        self._candidate: Draft | None = None
        """The draft with the point under the cursor, or as it is typed; None while there is none."""
        self._answer: Answer | Failure | None = None
        self._take = False
        """True to go on as soon as the candidate is known to be reachable."""
        self._what: What | None = None
        self._is_sure = False
        """True if a typed point was asked for though nothing has been found yet."""

    @property
    def explanation(self) -> Reading:
        return self.facts

    def compose(self) -> ComposeResult:
        yield AccidentFinder()
        yield Kinds(self.session)
        yield Strip("where that is")
        with Pane("the point", id="point"):
            yield Reading(id="facts")
            yield Listing([Column("", 40, flexible=True)], headed=False, id="nearest", pages=False)

    @property
    def acts(self) -> frozenset[str]:
        return frozenset({"other-backup", "retry"})

    @property
    def enter_label(self) -> str:
        if self.near.has_focus:
            return "take it"
        if self._is_typed and self.kinds.asks_for_text:
            return "type it"
        if self._is_typed and self.kinds.is_abbreviated:
            return "show it whole"
        return "to the nearest" if self._offers_nearest else "go on"

    @property
    def _offers_nearest(self) -> bool:
        return isinstance(self._answer, Answer) and not self._answer.reachable and bool(self._answer.nearest)

    # Entering and leaving

    def come_up(self) -> None:
        draft, self._answer = self.session.draft, None  # WAL may have arrived meanwhile
        self.strip.read(draft.server)
        if draft.what is not self._what or self._candidate is None:
            self._what = draft.what
            is_typed = not (draft.what and draft.what.kinds) or draft.what is What.DEPLOY or draft.point is not None
            self._show_kinds(is_typed, draft)
        if self._is_typed:
            self._aim(self.kinds.read())
        else:
            self._find()

    def step_down(self) -> None:
        self._take = False
        self.finder.stop()
        self.session.found.learn(self.finder.found)

    def on_resize(self, event: Resize) -> None:
        """Show the timeline strip if there is room for all three."""
        room, strip = self.size.height, lines_of_strip(self.size.height)
        self.set_class(strip == HIGHEST_STRIP, "-high")
        self.strip.give_room(strip)
        self.finder.fit(room - _LEAST_POINT - strip)

    def on_accident_finder_found(self, event: AccidentFinder.Found) -> None:
        """Update the text below the list for the list's new rows."""
        self.strip.mark(self.finder.accidents)
        if not self._is_typed and self.finder.chosen is None:
            self._under_cursor()

    @property
    def _is_typed(self) -> bool:
        return self.has_class("-typed")

    def _show_kinds(self, is_typed: bool, draft: Draft) -> None:
        self.set_class(is_typed, "-typed")
        self.kinds.display, self.finder.display = is_typed, not is_typed
        if is_typed:
            kind = _BEGIN_WITH.get(draft.what, Kind.LATEST) if draft.what else Kind.LATEST
            self.kinds.show_point(draft.point, kind, partial=bool(draft.what and draft.what.takes_unfinished))
            self.kinds.take_focus()
        else:
            self.finder.listing.focus()

    def _find(self) -> None:
        draft = self.session.draft
        self.finder.search(draft.server, draft.what.kinds if draft.what else (), self.session.found)
        if self.session.aimed_at:
            self.finder.listing.go_to_key(self.session.aimed_at)
        self._under_cursor()

    def back(self) -> bool:
        """Go back from typed points to the accidents."""
        what = self.session.draft.what
        if self._is_typed and what and what.kinds and what is not What.DEPLOY:
            self._show_kinds(False, self.session.draft)
            self._find()
            return True
        return False

    # The candidate

    def on_listing_moved(self, event: Listing.Moved) -> None:
        if event.listing is self.finder.listing and self.finder.display:
            self._under_cursor()

    def on_kinds_aimed(self, event: Kinds.Aimed) -> None:
        if self._is_typed:
            self._aim(event)

    def on_accident_finder_failed(self, event: AccidentFinder.Failed) -> None:
        if not self._is_typed:
            self._under_cursor()

    def _under_cursor(self) -> None:
        if accident := self.finder.chosen:
            self._ask(self.session.draft.at(accident.point, expect=accident.expect), take=False)
            return
        self._forget()
        if self.finder.failure:
            self.facts.show([*failed(self.finder.failure, retry="t"),
                             Field("", "Enter lets you name another point: a time, a restore point, the latest")])
        else:
            choose = "; the accident to undo is chosen with Enter" if self.finder.accidents else ""
            self.facts.show([Field("", f"{self.finder.status}{choose}", "", 1),
                             Field("", "On the last line, Enter lets you name any other point", "dim", 1)])

    def _aim(self, aimed: Kinds.Aimed) -> None:
        if aimed.point is None:
            self._forget()
            self.facts.show([Field("", aimed.problem, "bad" if aimed.take else "", 1)])
            return
        draft, point = self.session.draft, aimed.point
        if draft.point and _same_place(draft.point, point):  # the chosen point, with all that is known of it
            self._ask(draft, take=aimed.take)
        else:
            self._ask(draft.at(point), take=aimed.take)

    # Looking the point up

    def _forget(self) -> None:
        self.workers.cancel_group(self, "choices")
        self._candidate, self._answer, self._take = None, None, False
        self._show_nearest(())
        self.wizard.update_frame()

    def _ask(self, candidate: Draft, *, take: bool) -> None:
        if self._candidate and candidate.question() == self._candidate.question() and self._answer:
            self._candidate, self._take = candidate, take
            self._answered()
            return
        moves = self._candidate is not None  # the first one is asked about at once
        self._candidate, self._answer, self._take = candidate, None, take
        self._show_nearest(())
        point = candidate.point
        self.facts.show([*(asked(point, self.session.zone) if point else ()),
                         Field("", "is being looked up in the archived WAL", "dim")])
        run_in_background(self, "choices", self._look_up, candidate, moves and not take)

    async def _look_up(self, candidate: Draft, pauses: bool) -> None:
        if pauses:
            await asyncio.sleep(_PAUSE_SECONDS)
        self._answer = await self.session.ask(candidate)
        self._answered()

    def _answered(self) -> None:
        answer, candidate = self._answer, self._candidate
        assert candidate
        if isinstance(answer, Failure):
            self.facts.show(failed(answer, retry="t"))
        elif answer:
            self.facts.show(point_fields(candidate, answer, self.session.zone))
            self.strip.point_at(*place_of(candidate.point, answer))
            self._show_nearest(answer.nearest)
            if self._take and answer.reachable:
                self._accept()
            elif self._take and answer.nearest:
                self.near.focus()
        self._take = False
        self.wizard.update_frame()

    def _show_nearest(self, places: Iterable[Near]) -> None:
        rows = list(enumerate(places))
        self.set_class(bool(rows), "-refused")
        self.near.display = bool(rows)
        self.near.show(ItemRows(rows, lambda row: [nearest(row[1])], lambda row: str(row[0])))
        self.frame.retitle("the point: Enter on one of the nearest takes it" if rows else "the point")

    # Taking the point

    def on_listing_opened(self, event: Listing.Opened) -> None:
        event.stop()
        if event.listing is self.near and isinstance(self._answer, Answer):
            self._take_near(self._answer.nearest[int(event.key)])
        else:
            self.go_on()

    def _take_near(self, near: Near) -> None:
        backup = near.backup if near.backup != "auto" else self.session.draft.backup
        draft = self.session.draft
        self.session.change(draft.at(near.point, backup=backup, expect=draft.expect))
        self._show_kinds(True, self.session.draft)
        self._ask(self.session.draft, take=True)

    def go_on(self) -> None:
        if not self._is_typed and self.finder.chosen is None:
            if self.finder.may_find and not self._is_sure:
                self._is_sure = True
                self.console.tell("the WAL is still being searched; Enter again names another point", "warning")
                return
            self._show_kinds(True, replace(self.session.draft, point=None))
            self._aim(self.kinds.read())
        elif self._candidate is None:
            self.console.tell("no point is chosen yet", "warning")
        elif self._answer is None:
            self._take = True
        elif isinstance(self._answer, Answer) and self._answer.reachable:
            self._accept()
        elif self._offers_nearest:
            self.near.focus()
        else:
            self.console.tell(self.why_not("go-on"), "warning")

    def _accept(self) -> None:
        if self._candidate and isinstance(self._answer, Answer):
            self.session.take(self._candidate, self._answer)
            self.wizard.go(Step.WHERE)

    # Other actions

    def why_not(self, action: str) -> str:
        if action == "go-on" and isinstance(self._answer, Answer) and not self._answer.reachable \
                and not self._offers_nearest:
            return "this point cannot be reached; the reason is shown"
        if action == "other-backup" and not isinstance(self._answer, Answer):
            return "no point is known yet that a backup could fit"
        if action == "retry" and not isinstance(self._answer, Failure) and not self.finder.failure:
            return "nothing failed here"
        return ""

    def other_backup(self) -> None:
        answer = self._answer
        if isinstance(answer, Answer) and self._candidate:
            self.console.push_screen(BackupChoice(answer, self._candidate.backup), self._use_backup)

    def _use_backup(self, backup: str | None) -> None:
        if backup is not None and self._candidate:
            self.session.change(replace(self.session.draft, backup=backup))
            self._ask(replace(self._candidate, backup=backup), take=False)

    def retry(self) -> None:
        if self.finder.failure and not self._is_typed:
            self._find()
        elif candidate := self._candidate:
            self._candidate = None
            self._ask(candidate, take=False)

    def words(self) -> list[str]:
        """Return the words that look up the point; without one, those that search for accidents."""
        if self._candidate:
            return self._candidate.question()
        return replace(self.session.draft, point=None).question() if self._is_typed else self.finder.found.words


def _same_place(one: Point, other: Point) -> bool:
    return one.target == other.target and one.partial == other.partial and (
        other.timeline is None or one.timeline == other.timeline)
