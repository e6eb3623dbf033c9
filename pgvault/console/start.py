"""Opening the console: what has to be settled before Textual is imported, and what is said when it was left."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, NamedTuple

from pgvault.model.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pgvault.config.load import Config
    from pgvault.console.options import Options

_FRAMES = "10"
"""A second, at most: keys are not slowed by it, and a running job sends a third of what 60 would."""


class Closed(NamedTuple):
    """How the console was left."""

    exit_code: int
    farewell: tuple[str, ...]
    """Lines for the person: what goes on without it."""


def open_console(config: Config, options: Options) -> Closed:
    """Run it until it is left. UsageError where there is no terminal that can show it; raises what it died of."""
    refuse_unfit_terminal(os.environ)
    prepare(os.environ, options)
    check_keymap(config)
    from pgvault.console.app import ConsoleApp
    from pgvault.console.world import World

    app = ConsoleApp(World(config, config_argument=options.config), options)
    app.run(mouse=options.mouse)
    if app.crash:
        raise app.crash
    return Closed(app.return_code or 0, tuple(app.farewell))


def fits_terminal(environ: Mapping[str, str]) -> bool:
    """Whether there is a terminal that can show it."""
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
    """Textual reads these when it is imported: no animation, few frames, unless they were asked for."""
    if not options.animations:
        environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        environ.setdefault("TEXTUAL_FPS", _FRAMES)
        environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def check_keymap(config: Config) -> None:
    """ConfigError for a key that is given to an action that there is not."""
    from pgvault.console.keys import unknown_ids

    for wrong, hint in unknown_ids(config.keys):
        where = config.origins.get(f"console.keys.{wrong}", str(config.path))
        raise ConfigError(f"{where}: console.keys.{wrong}: the console has no such action", hint=hint)
