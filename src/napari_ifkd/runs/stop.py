"""Asking a run to stop: a ``stop`` file in its folder, SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType


def never() -> bool:
    """Never ask to stop."""
    return False


class StopFile:
    """A callable that says whether the stop file is there, looking at the disk five times a second at most.

    Parameters
    ----------
    path : the stop file
    also : another reason to stop
    """

    def __init__(self, path: Path, also: Callable[[], bool] = never) -> None:
        self.path, self.also = path, also
        self._looked, self._found = float("-inf"), False

    def __call__(self) -> bool:
        """Return whether the run should stop; once asked, it stays asked."""
        if self._found or self.also():
            return True
        now = time.monotonic()
        if now - self._looked > 0.2:
            self._looked, self._found = now, self.path.exists()
        return self._found


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag for ``should_stop``; a second one interrupts at once.

    Outside the main thread, where Python forbids handlers, the flag simply never rises.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
