"""Step 3: where the restore goes, and what the server does then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from textual import getters
from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Input

from pgvault.console.background import run_in_background
from pgvault.console.fields import Field, failed, gap
from pgvault.console.recovery.answer import Answer, Space
from pgvault.console.recovery.draft import Draft, Then, flaw_of_path, flaw_of_port
from pgvault.console.recovery.session import Session
from pgvault.console.recovery.steps import Step
from pgvault.console.widgets.pane import Pane
from pgvault.console.widgets.reading import Reading
from pgvault.console.widgets.strip import Strip
from pgvault.console.wizard.entry import Choice, Form, Typed
from pgvault.console.wizard.stage import Stage, Wizard, lines_of_strip
from pgvault.model.event import Failure
from pgvault.model.target import EndOfWal

_THEN = {Then.PROMOTE: "opens for use", Then.PAUSE: "pauses there, read-only: look, then promote it",
         Then.SHUTDOWN: "shuts down there", Then.STANDBY: "follows the original server, as a standby"}
_START = (("yes", "yes, and prove that it arrived"), ("no", "no, only restore its files"))
_UNREAD = (("no", "refuse"), ("yes", "replay it"))
_OVERWRITE = (("no", "refuse"), ("yes", "rename what is there out of the way"))
_ROOM_FOR_COMMAND = 34
"""The least lines of the step with room for the command that the choices come to."""


class WhereStep(Stage):
    step = Step.WHERE
    DEFAULT_CSS = """
    WhereStep #form-pane { height: auto; min-height: 7; max-height: 60%; }
    WhereStep #form-pane Form { height: auto; max-height: 100%; }
    WhereStep Strip { dock: bottom; }
    """
    form = getters.query_one(Form)
    host = getters.query_one("#host", Choice)
    directory = getters.query_one("#directory-line", Typed)
    port = getters.query_one("#port-line", Typed)
    then = getters.query_one("#then", Choice)
    start = getters.query_one("#start", Choice)
    overwrite = getters.query_one("#overwrite", Choice)
    unread = getters.query_one("#unread", Choice)
    means = getters.query_one("#means", Reading)
    strip = getters.query_one(Strip)

    def __init__(self, session: Session, wizard: Wizard) -> None:
        super().__init__(session, wizard)
        self._spaces: tuple[Space, ...] | None = None
        """The tablespaces that need a place; None while they are not known."""
        self._unread: tuple[str, ...] = ()
        """The number of segments that pgvault could not read."""
        self._problem: Failure | None = None
        """Why the tablespaces are not known."""
        self._showing = False
        self._go_on_when_known = False
        """True if Enter was pressed before the tablespaces were known."""

    @property
    def explanation(self) -> Reading:
        return self.means

    def compose(self) -> ComposeResult:
        with Pane("where to", id="form-pane"), Form():
            yield Choice("host", id="host")
            yield Typed("directory", id="directory", hint="/the/new/data/directory")
            yield Choice("at the point", id="then")
            yield Choice("start it", id="start")
            yield Choice("if not empty", id="overwrite")
            yield Typed("port", id="port", hint="the host's own, or the one in the restored configuration")
            yield Choice("unread WAL", id="unread")
        yield Pane("what that means", Reading(id="means"), id="means-pane")
        yield Strip("the point that is restored")

    # Showing the draft

    def come_up(self) -> None:
        draft = self.session.draft
        if draft.host is None:
            hosts = self.session.hosts
            draft = self._at_host(draft, hosts[0] if hosts else "")
            self.session.change(draft)
        self.means.can_focus = False
        self._show(draft)
        self.strip.show_point(draft.server, self.session.place, self.session.found.newest_first)
        self.host.focus()
        run_in_background(self, "backup", self._look_at_backup)

    def on_resize(self, event: Resize) -> None:
        self.strip.give_room(lines_of_strip(self.size.height))
        self.call_after_refresh(self._explain)

    def _show(self, draft: Draft) -> None:
        self._showing = True
        try:
            self.host.offer([*((name, self.session.describe_host(name)) for name in self.session.hosts),
                             ("", "this machine")], draft.host or "")
            self.directory.put(draft.directory)
            self.port.put(draft.port)
            ends = draft.point is None or isinstance(draft.point.target, EndOfWal)
            follows = draft.then is Then.STANDBY  # the first step asked for it, and it has no other meaning
            fitting = [each for each in Then if (each is Then.STANDBY) is follows and not (each.needs_target and ends)]
            self.then.offer([(each.name, _THEN[each]) for each in fitting], draft.then.name)
            self.start.offer(_START, "yes" if draft.start else "no")
            self.overwrite.offer(_OVERWRITE, "yes" if draft.overwrite else "no")
            self._show_unread()
        finally:
            self._showing = False
        self._explain()

    async def _look_at_backup(self) -> None:
        """Look up which tablespaces need a place at the point: those of the backup and of the WAL after it."""
        answer = await self.session.ask(self.session.draft)
        self._problem = answer if isinstance(answer, Failure) else None
        if isinstance(answer, Answer):
            self._unread = answer.unread
            if not self._unread:
                self.session.change(replace(self.session.draft, allow_unread=False))
            self._show_unread()
            await self._offer_spaces(answer.spaces)
        self._explain()
        if self.display and not self.flaw():
            self.session.plan_ahead()
            if self._go_on_when_known:
                self.go_on()
        self._go_on_when_known = False

    def _show_unread(self) -> None:
        self.unread.display = bool(self._unread)
        self.unread.offer(_UNREAD, "yes" if self.session.draft.allow_unread else "no")

    async def _offer_spaces(self, spaces: tuple[Space, ...]) -> None:
        """Show one line for each tablespace; a place that was typed before stays."""
        draft = self.session.draft
        given = dict(draft.tablespaces)
        self._spaces = spaces
        for line in self.query(".space"):
            await line.remove()
        for number, space in enumerate(spaces):
            line = Typed(space.name, id=f"space-{number}", hint=f"a place for it; it was in {space.original}")
            line.add_class("space")
            await self.form.mount(line)
            line.put(given.get(space.name, ""))
        self.session.change(replace(draft, tablespaces=tuple(
            (space.name, given.get(space.name, "")) for space in spaces)))

    # Entries

    def on_choice_changed(self, event: Choice.Changed) -> None:
        self._go_on_when_known = False
        draft = self.session.draft
        match event.choice.id:
            case "host":
                draft = self._at_host(draft, event.key)
            case "then":
                draft = replace(draft, then=Then[event.key])
            case "start":
                draft = replace(draft, start=event.key == "yes")
            case "unread":
                draft = replace(draft, allow_unread=event.key == "yes")
            case "overwrite":
                draft = replace(draft, overwrite=event.key == "yes")
        self.session.change(draft)
        self._show(draft)

    def _at_host(self, draft: Draft, host: str) -> Draft:
        """Return the draft with the host's usual directory, unless another was typed."""
        before = self.session.usual_directory(draft.host) if draft.host is not None else ""
        keeps = draft.directory not in ("", before)
        return replace(draft, host=host,
                       directory=draft.directory if keeps else self.session.usual_directory(host))

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._showing:
            return
        draft, name = self.session.draft, event.input.id or ""
        if name == "directory":
            draft = replace(draft, directory=event.value.strip())
        elif name == "port":
            draft = replace(draft, port=event.value.strip())
        elif self._spaces is not None and name.startswith("space-"):
            number = int(name.removeprefix("space-"))
            places = list(draft.tablespaces)
            if number < len(places):
                places[number] = (places[number][0], event.value.strip())
            draft = replace(draft, tablespaces=tuple(places))
        if draft != self.session.draft:
            self._go_on_when_known = False
            self.session.change(draft)
            self._explain()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.go_on()

    # Going on

    def go_on(self) -> None:
        """Go on. Enter before the tablespaces are known is not lost: it counts when they are, and need no place."""
        self._go_on_when_known = self._is_looking
        if flaw := self.flaw():
            self.console.tell(flaw, "warning")
        else:
            self.wizard.go(Step.REVIEW)

    @property
    def _is_looking(self) -> bool:
        return self._spaces is None and self._problem is None

    def flaw(self) -> str:
        """Return why the step cannot go on, as one line; empty if it can."""
        return next((flaw for _, flaw in self._flaws()), "")

    def _flaws(self) -> Iterator[tuple[str, str]]:
        """Yield each flaw with the name of its line."""
        draft = self.session.draft
        found = [("directory", flaw_of_path(draft.directory)), ("port", flaw_of_port(draft.port)),
                 ("not yet", "the tablespaces are still being looked up" if self._is_looking else ""),
                 *(("place", f"tablespace {name}: {flaw}") for name, place in draft.tablespaces
                   if (flaw := flaw_of_path(place)))]
        return ((name, flaw) for name, flaw in found if flaw)

    def _explain(self) -> None:
        self.means.show(self._means(self.session.draft))

    def _means(self, draft: Draft) -> Iterator[Field]:
        if self._problem:
            yield from failed(self._problem)
        yield Field("goes to", draft.destination, "bold")
        for name, flaw in self._flaws():
            yield Field(name, flaw, "warn")
        start = "is started and asked whether it arrived, then" if draft.start else "is not started; started by you,"
        yield Field("the server", f"{start} it {_THEN[draft.then]}")
        for space in self._spaces or ():
            if space.is_new:
                yield Field("tablespace", f"{space.name} was created after the backup began, in {space.original}")
        if self._unread:
            yield Field("unread WAL", f"{self._unread[0]}: whether it creates a tablespace is not known; replayed, it "
                                      "would do that at the original path, whatever is there by now",
                        "bad" if draft.allow_unread else "warn")
        if draft.overwrite:
            yield Field("overwrites", "what is in the directory is renamed, its newest WAL saved into the vault, and "
                                      "kept until you remove it", "bad")
        yield Field("not offered", _not_offered(draft), "dim")
        yield gap()
        yield Field("", "left and right change a value, up and down go to another line", "dim", 1)
        if self.size.height >= _ROOM_FOR_COMMAND:  # of the step: what stands beside and below comes later
            yield gap()
            yield Field("command", self.console.queries.commands.shown(draft.words()), "accent")

    def words(self) -> list[str] | None:
        return self.session.draft.words()


def _not_offered(draft: Draft) -> str:
    """Return why some of a server's actions at the point are not among the choices."""
    if draft.then is Then.STANDBY:
        return "open, pause, shut down: a standby follows the original; choose otherwise in step 1"
    standby = "follow as a standby: chosen in step 1"
    if draft.point is None or isinstance(draft.point.target, EndOfWal):
        return f"pause, shut down: PostgreSQL does neither at the end of the WAL; {standby}"
    return standby
