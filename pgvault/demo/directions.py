"""What a person who holds the sandbox may do with it: the commands, ready to be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pgvault.demo.sandbox import PRIMARY, STANDBY, Sandbox
from pgvault.demo.story import Loss, restore_words


def directions(sandbox: Sandbox, loss: Loss) -> Iterator[str]:
    """Lines of text; every command works in a shell that has read the sandbox's environment."""
    def line(*words: str) -> str:
        return f"  {shlex.join(words)}"

    yield f"The sandbox runs in {sandbox.directory}. In another terminal, first:"
    yield f"  . {shlex.quote(str(sandbox.environment_file))}"
    yield ""
    yield f"mytesttable2 is gone from the primary. Bring it back on {STANDBY}:"
    yield line("pgvault", *restore_words(loss))
    yield "then look at the restored server, and at the live primary:"
    yield line(*sandbox.restored.psql("-c", r"\dt"))
    yield line(*sandbox.primary.psql("-c", r"\dt"))
    yield ""
    yield "More to try:"
    for verb in ("check", "status", "wal", "list-backups", "backup"):
        yield line("pgvault", verb, PRIMARY)
    yield line("pgvault", "show-backup", PRIMARY, "latest")
    yield line("pgvault", "job", "list")
    yield ""
    yield f"The configuration is {sandbox.config}."


def notice(loss: Loss) -> str:
    """What the visitor of the console came for, in one line of a small terminal."""
    return f"mytesttable2 was dropped just after {loss.moment[11:19]}Z. Press r to bring it back."
