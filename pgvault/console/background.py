"""Runs work in the background, so that every key answers meanwhile, and reports unexpected failures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.dom import DOMNode

if TYPE_CHECKING:
    from pgvault.console.toasts import Toasts

Work = Callable[..., Coroutine[Any, Any, None]]


def run_in_background(node: DOMNode, group: str, work: Work, *given: object, exclusive: bool = True) -> None:
    """Run `work` in the background for as long as the node exists; with `exclusive` it replaces what the node still
    runs in the same group.

    It takes a function and not a coroutine: work that is replaced before it began never makes a coroutine that nothing
    awaits.
    """
    node.run_worker(cast("Any", partial(_reporting_failures, node, group, work, *given)), group=group,
                    exclusive=exclusive, exit_on_error=False)


def is_busy(node: DOMNode, group: str) -> bool:
    """Return whether the node still does something in this group."""
    return any(each.node is node and each.group == group and not each.is_finished for each in node.app.workers)


async def _reporting_failures(node: DOMNode, group: str, work: Work, *given: object) -> None:
    """Run the work. The caller draws the errors that it knows; all others must not fail in silence."""
    try:
        await work(*given)
    except Exception as error:
        cast("Toasts", node.app).tell(f"{type(error).__name__}: {error}", "error",
                                      title=f"internal error ({group})")
        raise
