"""Doing something beside the screens, so that every key answers meanwhile; what nobody expected there is told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.dom import DOMNode

if TYPE_CHECKING:
    from pgvault.console.toasts import Toasts

Work = Callable[..., Coroutine[Any, Any, None]]


def run_in_background(node: DOMNode, group: str, work: Work, *given: object, exclusive: bool = True) -> None:
    """Do this beside the screens for as long as the node is there; with `exclusive` in place of what the node still
    does in the same group.

    A function and no coroutine: one that is replaced before it began is then not made, and nobody misses it.
    """
    node.run_worker(cast("Any", partial(_reporting_failures, node, group, work, *given)), group=group,
                    exclusive=exclusive, exit_on_error=False)


async def _reporting_failures(node: DOMNode, group: str, work: Work, *given: object) -> None:
    """Known errors are drawn by whoever asked; others must not fail in silence."""
    try:
        await work(*given)
    except Exception as error:
        cast("Toasts", node.app).tell(f"{type(error).__name__}: {error}", "error",
                                      title=f"internal error ({group})")
        raise
