"""Copies a text to the clipboard, and reports in words how far it came.

A terminal does not answer OSC 52, so only the handing over can be reported. tmux by default drops OSC 52 from the
programs in it, so it gets the text by its own command, which does answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

AT_MOST = 64 * 1024
"""The most bytes that are handed to the terminal: some take no more."""
_PATIENCE = 2.0
"""How long tmux may take to answer, in seconds."""
_BY_HAND = "select it here"


class Copied(NamedTuple):
    message: str
    """Where the text is now, or why it is not there."""
    arrived: bool
    """False if the text is known not to have arrived."""


async def copy(text: str, terminal: Callable[[str], None], environ: Mapping[str, str]) -> Copied:
    """Copy a text, and return how far it came; `terminal` sends it by OSC 52."""
    octets = text.encode("utf-8", "backslashreplace")  # names that are no UTF-8 come as surrogates
    if environ.get("TMUX"):
        return await _to_tmux(octets)
    if environ.get("STY"):
        return Copied(f"GNU screen passes nothing to a clipboard: {_BY_HAND}", False)
    if len(octets) > AT_MOST:
        return Copied(f"too long for the terminal's clipboard ({len(octets):,} bytes): {_BY_HAND}", False)
    terminal(octets.decode())
    if environ.get("TERM", "").startswith(("tmux", "screen")):
        return Copied(f"handed to the terminal, where tmux takes it only with set-clipboard on: else {_BY_HAND}", True)
    return Copied(f"handed to the terminal's clipboard; where it takes none, {_BY_HAND}", True)


async def _to_tmux(octets: bytes) -> Copied:
    """Copy to tmux's buffer. With -w the terminal around tmux gets the text, too; tmux before 3.2 does not know that
    option.
    """
    problem = ""
    for options in (["-w"], []):
        if not (problem := await _load(octets, options)):
            return Copied("in tmux's buffer: prefix ] pastes it", True)
    return Copied(f"tmux did not take it ({problem}): {_BY_HAND}", False)


async def _load(octets: bytes, options: list[str]) -> str:
    """Return why tmux did not take it, in a few words; empty if it did."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec("tmux", "load-buffer", *options, "-", stdin=pipe,
                                                       stdout=asyncio.subprocess.DEVNULL, stderr=pipe)
    except OSError as error:
        return error.strerror or "it could not be run"
    try:
        async with asyncio.timeout(_PATIENCE):
            _, output = await process.communicate(octets)
    except TimeoutError:
        return "it does not answer"
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return "" if process.returncode == 0 else output.decode("utf-8", "replace").strip() or "it failed"
