"""Every key of the console, once: bindings, footer, help, palette and docs/guide/console.md are made from this table.

Lower case looks or plans, upper case destroys (except `G`, the end of a list). Users may give an action other keys in
the configuration, by its id: `[console.keys]` with `check = "C"`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pgvault.config.problems import nearest

EVERYWHERE = "everywhere"
VIEWS = ("overview", "backups", "wal", "jobs", "logs")
"""The views that digits open, in their order."""


class Action(NamedTuple):
    """Something that a key does."""

    id: str
    keys: tuple[str, ...]
    """The keys by Textual's names; the first one is shown."""
    label: str
    """The label in the footer: a word or two that name the effect."""
    meaning: str
    """The meaning, in help and palette: the effect, as a sentence without a full stop."""
    where: tuple[str, ...] = (EVERYWHERE,)
    """The views and dialogs in which it works."""
    mutates: bool = False
    """True if it changes something, possibly by a job; it is absent with --read-only."""
    in_footer: bool = True
    destroys: bool = False

    @property
    def method(self) -> str:
        """The method that carries it out, of the view or, for what works everywhere, of the console."""
        return f"do_{self.id.replace('-', '_')}"


def _view(number: int, name: str, meaning: str) -> Action:
    return Action(f"view-{name}", (str(number),), name, meaning, in_footer=False)


_SERVERS = ("overview", "backups", "wal")
_LISTS = ("overview", "backups", "wal", "jobs", "logs", "backup", "job", "command-log")

ACTIONS: tuple[Action, ...] = (
    Action("go-on", ("enter",), "go on", "Go on to the next step of the recovery", ("recovery",)),
    Action("other-backup", ("B",), "other backup", "Recover from another backup; each says why it fits or not",
           ("recovery",)),
    Action("retry", ("t",), "try again", "Try again what failed", ("recovery",)),
    Action("bring-back", ("b",), "bring back", "Bring tables or a schema back from the restored server; its plan first",
           ("recovery", "job"), mutates=True),
    Action("look", ("s",), "look", "Look at the restored server: psql at this terminal, and back again",
           ("recovery", "job"), mutates=True),
    Action("open-copy", ("o",), "open it", "Open a restored server for use that is paused at its target",
           ("recovery", "job"), mutates=True),
    Action("throw-away", ("D",), "throw away", "Stop the restored server and remove its files",
           ("recovery", "job"), mutates=True, destroys=True),
    Action("lift", ("u",), "let it act",
           "Open a restored server, and remove the settings that its restore added to keep it from acting outside",
           ("recovery", "job"), mutates=True),
    Action("open", ("enter",), "open", "Open what is under the cursor",
           ("overview", "backups", "backup", "wal", "jobs", "job", "logs", "command-log")),
    Action("back", ("escape",), "back", "Go one level back; never quits", in_footer=False),
    Action("restore", ("r",), "restore", "Recover: plan a restore from here, step by step",
           (*_SERVERS, "backup")),
    Action("accidents", ("e",), "accidents", "Search the WAL for drops, truncates and mass deletes", ("wal",)),
    Action("zoom-in", ("plus", "equals_sign"), "zoom", "Show less time, in more detail", ("wal",)),
    Action("zoom-out", ("minus",), "zoom out", "Show more time", ("wal",), in_footer=False),
    Action("zoom-all", ("0",), "all", "Show the whole archive", ("wal",), in_footer=False),
    Action("next-mark", ("n",), "next mark", "Go to the next backup, restore point, gap or accident", ("wal",)),
    Action("previous-mark", ("N",), "previous mark", "Go to the mark before", ("wal",), in_footer=False),
    Action("backup", ("b",), "back up", "Back up the selected server now; its plan is shown first", _SERVERS,
           mutates=True),
    Action("keep", ("m",), "keep", "Keep the backup whatever the retention policy says; kept already, release it",
           ("backups",), mutates=True, in_footer=False),
    Action("expire", ("e",), "expire", "Delete what the retention policy no longer needs; its plan is shown first",
           ("backups",), mutates=True, in_footer=False),
    Action("delete", ("D",), "delete", "Delete the backup; its plan is shown first", ("backups",), mutates=True,
           in_footer=False, destroys=True),
    Action("check", ("x",), "check", "Check the selected server: everything that backups and archiving need",
           _SERVERS),
    Action("check-all", ("a",), "check all", "Check all servers", ("overview",), in_footer=False),
    Action("cancel", ("X",), "cancel", "Cancel the selected job; it undoes what it began",
           ("jobs", "job", "recovery"),
           mutates=True, destroys=True),
    Action("follow", ("f",), "follow", "Follow what is written at the end", ("jobs", "job", "logs")),
    Action("export", ("w",), "export", "Write the lines that are shown to a file", ("logs",)),
    Action("filter", ("slash",), "filter", "Filter the list; ! in front inverts", _LISTS),
    Action("next-server", ("right_square_bracket",), "next server", "Select the next server", ("backups", "wal"),
           in_footer=False),
    Action("previous-server", ("left_square_bracket",), "previous server", "Select the server before",
           ("backups", "wal"), in_footer=False),
    Action("command", ("c",), "command", "Show the command line that does the same"),
    Action("copy", ("y",), "copy", "Copy what is under the cursor", in_footer=False),
    Action("copy-path", ("ctrl+y",), "copy path", "Copy where this is: server, view and what is selected",
           in_footer=False),
    _view(1, "overview", "All servers: are they protected, how far back, what runs"),
    _view(2, "backups", "The backups of the selected server"),
    _view(3, "wal", "The WAL timeline of the selected server"),
    _view(4, "jobs", "What runs, what ran, and how it ended"),
    _view(5, "logs", "The log file"),
    Action("command-log", ("at",), "commands", "Every command that was run from here", in_footer=False),
    Action("palette", ("ctrl+p",), "palette", "Find any action, server, backup or job by its name", in_footer=False),
    Action("pause", ("p",), "pause", "Stop and resume refreshing", in_footer=False),
    Action("screenshot", ("ctrl+s",), "save screen", "Save the screen as SVG and as text", in_footer=False),
    Action("next-pane", ("tab",), "next pane", "Go to the next pane", in_footer=False),
    Action("previous-pane", ("shift+tab",), "previous pane", "Go to the pane before", in_footer=False),
    Action("leave", ("q",), "quit", "Close what is open; from a view, leave the console. Jobs go on"),
    Action("quit", ("ctrl+q",), "quit", "Leave the console from anywhere; jobs go on", in_footer=False),
    Action("suspend", ("ctrl+z",), "suspend", "Suspend; fg brings the console back", in_footer=False),
    Action("help", ("question_mark",), "help", "The keys of this view, by name"),
)


class Move(NamedTuple):
    """Keys that move within the focused widget; they are the same everywhere and cannot be given to an action."""

    keys: str
    """The keys as they are shown."""
    label: str
    meaning: str
    names: tuple[str, ...]
    """The keys by Textual's names."""


MOVES = (
    Move("arrows hjkl", "move", "Move the cursor; left and right where there is something at the side",
         ("up", "down", "left", "right", "h", "j", "k", "l")),
    Move("pgup pgdn", "page", "Move by a page; space goes down, too", ("pageup", "pagedown", "space")),
    Move("g G", "ends", "Go to the first and to the last one; home and end do the same", ("g", "G", "home", "end")),
)
BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}

_SHOWN = {"slash": "/", "question_mark": "?", "plus": "+", "minus": "-", "equals_sign": "=", "at": "@",
          "left_square_bracket": "[", "right_square_bracket": "]", "escape": "esc"}
_NAMES = {sign: name for name, sign in _SHOWN.items()}


def shown(key: str) -> str:
    """Return a key as people write it: `?` for `question_mark`, `ctrl+p` unchanged."""
    return _SHOWN.get(key, key)


def actions_of(view: str, *, read_only: bool) -> Iterator[Action]:
    """Return the actions of a view or dialog, in the order of the footer."""
    for action in ACTIONS:
        if (view in action.where or EVERYWHERE in action.where) and not (read_only and action.mutates):
            yield action


def require_methods(doer: type, actions: Iterable[Action], *others: type) -> None:
    """Raise TypeError for an action that neither this class nor one of the others has a method for.

    This is checked when the class is made, so that a forgotten method is noticed before its key is pressed.
    """
    for action in actions:
        if not any(callable(getattr(each, action.method, None)) for each in (doer, *others)):
            raise TypeError(f"{doer.__name__} has no {action.method}, which the action \"{action.id}\" needs")


def keys_of(action: Action, keymap: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys that the user gave an action, or its own."""
    given = keymap.get(action.id)
    if given is None:
        return action.keys
    return tuple(_NAMES.get(key, key) for each in given.split(",") if (key := each.strip()))


def in_textual(keymap: Mapping[str, str]) -> dict[str, str]:
    """Return the user's keys as Textual names them."""
    return {each: ",".join(keys_of(BY_ID[each], keymap)) for each in keymap if each in BY_ID}


class KeyProblem(NamedTuple):
    """What is wrong with a key that the user gave to an action."""

    id: str
    message: str
    hint: str = ""


def problems(keymap: Mapping[str, str]) -> list[KeyProblem]:
    """Yield the problems: an id that names no action, a key that moves the cursor, a key with two meanings in one view.
    """
    wrong = [KeyProblem(each, "the console has no such action", nearest(each, BY_ID))
             for each in keymap if each not in BY_ID]
    moving = {name: move for move in MOVES for name in move.names}
    for action_id in keymap:
        if action := BY_ID.get(action_id):
            wrong += [KeyProblem(action_id, f'"{shown(key)}" moves in lists', "Choose another key.")
                      for key in keys_of(action, keymap) if key in moving]
            wrong += [KeyProblem(action_id, f'"{shown(key)}" is also the key of {other.id} ({view})',
                                 f"Choose another key, or give another one to {other.id}.")
                      for key, other, view in _also(action, keymap)]
    return wrong


def _also(action: Action, keymap: Mapping[str, str]) -> Iterator[tuple[str, Action, str]]:
    """Yield the keys of an action that also mean another one, with a view in which both work; each pair is reported for
    the later of the two.
    """
    given = list(keymap)
    for other in ACTIONS:
        if other is action or (other.id in given and given.index(other.id) > given.index(action.id)):
            continue
        if places := _together(action, other):
            for key in sorted(set(keys_of(action, keymap)) & set(keys_of(other, keymap))):
                yield key, other, places[0]


def _together(one: Action, other: Action) -> tuple[str, ...]:
    """Return a view or dialog in which both work."""
    if EVERYWHERE in one.where:
        return other.where
    return one.where if EVERYWHERE in other.where else tuple(place for place in one.where if place in other.where)


def reference() -> str:
    """Return the table for people: how each action is named in the configuration, its keys, and what it does."""
    lines = [f"{action.id} = \"{','.join(map(shown, action.keys))}\"" for action in ACTIONS]
    column = max(map(len, lines)) + 2
    return "[console.keys]\n" + "\n".join(
        f"{line:<{column}}# {action.meaning}" for line, action in zip(lines, ACTIONS, strict=True))
