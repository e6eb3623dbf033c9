"""Opens the console: what has to be settled before Textual is imported, and the last lines for the person."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvault.config.problems import ConfigProblem, first_of
from pgvault.io import patience
from pgvault.model.errors import UsageError

if TYPE_CHECKING:
    from pgvault.config.load import Config
    from pgvault.console.options import Options

_FRAMES = "30"
"""The most frames per second. A key's answer waits for the next frame, so that 10 would be noticed; only changes are
sent anyway.
"""


class Closed(NamedTuple):
    """The outcome of a console that was left."""

    exit_code: int
    farewell: tuple[str, ...]
    """Lines for the person: what continues without the console."""
    keeps_sandbox: bool
    """True if the demonstration's sandbox is not to be removed."""


def open_console(config: Config, options: Options) -> Closed:
    """Run the console until it is left. Raises UsageError without a terminal that can show it, and the error that ended
    it.
    """
    refuse_unfit_terminal(os.environ)
    prepare(os.environ, options)
    check_keymap(config)
    from pgvault.console.app import ConsoleApp
    from pgvault.console.queries import Queries

    app = ConsoleApp(Queries(config, config_argument=options.config), options)
    try:
        patience.run(app.run_async(mouse=options.mouse))
    finally:
        app.stop_reading_keys()
        gc.freeze()  # the process ends: searching all of the screens for garbage would take a quarter of the quitting
    if app.crash:
        raise app.crash
    return Closed(app.return_code or 0, tuple(app.farewell), bool(app.keeps_sandbox))


def fits_terminal(environ: Mapping[str, str]) -> bool:
    """Return whether there is a terminal that can show the console."""
    try:
        refuse_unfit_terminal(environ)
    except UsageError:
        return False
    return True


def refuse_unfit_terminal(environ: Mapping[str, str]) -> None:
    hint = "The same is done by the verbs: pgvault --help lists them, pgvault status SERVER shows a server's status."
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("the console needs a terminal", hint=hint)
    if environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        raise UsageError(f"the console cannot be shown on a terminal of type {environ.get('TERM') or 'unknown'!r}",
                         hint=hint)


def prepare(environ: MutableMapping[str, str], options: Options) -> None:
    """Set what Textual reads when it is imported: no animation and few frames, unless they were asked for.

    A size exported by a shell would take precedence over the terminal's own, which changes.
    """
    for name in ("COLUMNS", "LINES"):
        environ.pop(name, None)
    if not options.animations:
        environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        environ.setdefault("TEXTUAL_FPS", _FRAMES)
        environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def check_keymap(config: Config) -> None:
    """Raise ConfigError for the first key that cannot be assigned so."""
    if problems := key_problems(config):
        raise first_of(problems)


def key_problems(config: Config) -> list[ConfigProblem]:
    """Return the problems in [console.keys], which only the console can detect."""
    from pgvault.console.keys import problems

    found = []
    for each in problems(config.keys):
        key = f"console.keys.{each.id}"
        path, _, line = config.origins.get(key, f"{config.path}:0").rpartition(":")
        found.append(ConfigProblem(Path(path), int(line), key, each.message, each.hint))
    return found
