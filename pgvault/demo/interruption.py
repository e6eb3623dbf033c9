"""Lets the demonstration be stopped at any moment, and then clean up undisturbed.

The first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt in the main thread. Later signals, and all after `hold()`,
do nothing, so that a removal is completed.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    def __init__(self) -> None:
        self._held = self._came = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # ignored already, as under nohup
            self._before[number] = signal.signal(number, self._received)
        return self

    def resume(self) -> None:
        """Handle signals again, after other code did, such as the console."""
        for number in self._before:
            signal.signal(number, self._received)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def hold(self) -> None:
        """Ignore signals from now on."""
        self._held = True

    def check(self) -> None:
        """Raise the interrupt again if it was lost: Python drops an exception that is raised while an object is
        destroyed."""
        if self._came:
            raise KeyboardInterrupt

    def _received(self, number: int, frame: FrameType | None) -> None:
        if not self._held:
            self._held = self._came = True
            raise KeyboardInterrupt
