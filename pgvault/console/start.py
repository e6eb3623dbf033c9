"""Opening the console: what has to be settled before Textual is imported, and what is said when it was left."""

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
"""A second, at most. A key's answer waits for the next frame, so 10 would be felt; only what changed is sent anyway."""


class Closed(NamedTuple):
    """How the console was left."""

    exit_code: int
    farewell: tuple[str, ...]
    """Lines for the person: what goes on without it."""
    keeps_sandbox: bool
    """The demonstration's is not to be removed."""


def open_console(config: Config, options: Options) -> Closed:
    """Run it until it is left. UsageError where there is no terminal that can show it; raises what it died of."""
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
    """Return whether there is a terminal that can show it."""
    try:
        refuse_unfit_terminal(environ)
    except UsageError:
        return False
    return True


def refuse_unfit_terminal(environ: Mapping[str, str]) -> None:
    hint = "The same is done by the verbs: pgvault --help lists them, pgvault status SERVER says how a server stands."
    if not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("the console needs a terminal", hint=hint)
    if environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        raise UsageError(f"the console cannot be shown on a terminal of type {environ.get('TERM') or 'unknown'!r}",
                         hint=hint)


def prepare(environ: MutableMapping[str, str], options: Options) -> None:
    """Textual reads these when it is imported: no animation, few frames, unless they were asked for.

    A size that a shell has exported would stand above the terminal's own, which changes.
    """
    for name in ("COLUMNS", "LINES"):
        environ.pop(name, None)
    if not options.animations:
        environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        environ.setdefault("TEXTUAL_FPS", _FRAMES)
        environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def check_keymap(config: Config) -> None:
    """ConfigError for the first of the keys that cannot be given so."""
    if problems := key_problems(config):
        raise first_of(problems)


def key_problems(config: Config) -> list[ConfigProblem]:
    """Return what is wrong in [console.keys], which only the console can know."""
    from pgvault.console.keys import problems

    found = []
    for each in problems(config.keys):
        key = f"console.keys.{each.id}"
        path, _, line = config.origins.get(key, f"{config.path}:0").rpartition(":")
        found.append(ConfigProblem(Path(path), int(line), key, each.message, each.hint))
    return found
