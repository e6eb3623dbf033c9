"""Every key of the console, once: bindings, footer, help, palette and the README's table come from here.

Lower case looks or plans, upper case destroys (`G`, the end of a list, excepted). Users may give an action other keys
in the configuration, by its id: `[console.keys]` with `check = "C"`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pgvault.config.problems import nearest

EVERYWHERE = "everywhere"
VIEWS = ("overview", "backups", "wal", "jobs", "logs")
"""The views that a digit opens, in their order."""


class Action(NamedTuple):
    """Something a key does."""

    id: str
    keys: tuple[str, ...]
    """As Textual names them; the first one is shown."""
    label: str
    """In the footer: a word or two that tell the effect."""
    meaning: str
    """In help and palette: what it does, as a sentence without a full stop."""
    where: tuple[str, ...] = (EVERYWHERE,)
    """The views and dialogs in which it works."""
    mutates: bool = False
    """It changes something, be it by a job: gone with --read-only."""
    in_footer: bool = True
    destroys: bool = False


def _view(number: int, name: str, meaning: str) -> Action:
    return Action(f"view-{name}", (str(number),), name, meaning, in_footer=False)


_SERVERS = ("overview", "backups", "wal")
_LISTS = ("overview", "backups", "wal", "jobs", "logs", "backup", "job", "command-log")

ACTIONS: tuple[Action, ...] = (
    Action("go-on", ("enter",), "go on", "Go on to the next step of the recovery", ("recovery",)),
    Action("other-backup", ("B",), "other backup", "Recover from another backup; each says why it fits or not",
           ("recovery",)),
    Action("retry", ("t",), "try again", "Try again what failed", ("recovery",)),
    Action("open", ("enter",), "open", "Open what is under the cursor",
           ("overview", "backups", "backup", "wal", "jobs", "job", "logs", "command-log")),
    Action("restore", ("r",), "restore", "Recover: plan a restore from here, step by step",
           (*_SERVERS, "backup")),
    Action("backup", ("b",), "back up", "Back up the selected server now; its plan is shown first", _SERVERS,
           mutates=True),
    Action("check", ("x",), "check", "Check the selected server: everything that backups and archiving need",
           _SERVERS),
    Action("check-all", ("a",), "check all", "Check all servers", ("overview",), in_footer=False),
    Action("cancel", ("X",), "cancel", "Cancel the selected job; it undoes what it began",
           ("jobs", "job", "recovery"),
           mutates=True, destroys=True),
    Action("zoom-in", ("plus", "equals_sign"), "zoom", "Show less time, in more detail", ("wal",)),
    Action("zoom-out", ("minus",), "zoom out", "Show more time", ("wal",), in_footer=False),
    Action("zoom-all", ("0",), "all", "Show the whole archive", ("wal",), in_footer=False),
    Action("next-mark", ("n",), "next mark", "Go to the next backup, restore point, gap or accident", ("wal",)),
    Action("previous-mark", ("N",), "previous mark", "Go to the mark before", ("wal",), in_footer=False),
    Action("accidents", ("e",), "accidents", "Search the WAL for drops, truncates and mass deletes", ("wal",)),
    Action("follow", ("f",), "follow", "Follow what is written at the end", ("jobs", "job", "logs")),
    Action("export", ("w",), "export", "Write the lines that are shown to a file", ("logs",)),
    Action("filter", ("slash",), "filter", "Filter the list; ! in front inverts", _LISTS),
    Action("next-server", ("right_square_bracket",), "next server", "Select the next server", ("backups", "wal"),
           in_footer=False),
    Action("previous-server", ("left_square_bracket",), "previous server", "Select the server before",
           ("backups", "wal"), in_footer=False),
    Action("command", ("c",), "command", "Show the command line that does the same"),
    Action("copy", ("y",), "copy", "Copy what is under the cursor", in_footer=False),
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
    Action("back", ("escape",), "back", "Go one level back; never quits", in_footer=False),
    Action("leave", ("q",), "quit", "Leave the console; jobs go on"),
    Action("quit", ("ctrl+q",), "quit", "Leave the console from anywhere; jobs go on", in_footer=False),
    Action("suspend", ("ctrl+z",), "suspend", "Suspend; fg brings the console back", in_footer=False),
    Action("help", ("question_mark",), "help", "The keys of this view, by name"),
)


class Move(NamedTuple):
    """Keys that move in what has the focus; they are the same everywhere and are not given to anything else."""

    keys: str
    """As they are shown."""
    label: str
    meaning: str
    names: tuple[str, ...]
    """As Textual names them."""


MOVES = (
    Move("arrows hjkl", "move", "Move the cursor; left and right where there is something at the side",
         ("up", "down", "left", "right", "h", "j", "k", "l")),
    Move("pgup pgdn", "page", "Move by a page; space goes down, too", ("pageup", "pagedown", "space")),
    Move("g G", "ends", "Go to the first and to the last one; home and end do the same", ("g", "G", "home", "end")),
)
BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}

_SHOWN = {"slash": "/", "question_mark": "?", "plus": "+", "minus": "-", "equals_sign": "=", "at": "@",
          "left_square_bracket": "[", "right_square_bracket": "]", "escape": "esc"}


def shown(key: str) -> str:
    """A key as people write it: `?` for `question_mark`, `ctrl+p` as it is."""
    return _SHOWN.get(key, key)


def actions_of(view: str, *, read_only: bool) -> Iterator[Action]:
    """What can be done in a view or dialog, in the order of the footer."""
    for action in ACTIONS:
        if (view in action.where or EVERYWHERE in action.where) and not (read_only and action.mutates):
            yield action


def keys_of(action: Action, keymap: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the user gave it, or its own."""
    given = keymap.get(action.id)
    return action.keys if given is None else tuple(key.strip() for key in given.split(",") if key.strip())


def unknown_ids(keymap: Mapping[str, str]) -> list[tuple[str, str]]:
    """The ids in a keymap that name no action, each with what was probably meant."""
    return [(wrong, nearest(wrong, BY_ID)) for wrong in keymap if wrong not in BY_ID]
