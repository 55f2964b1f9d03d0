"""Asking a run to stop or to wait: files in its folder, SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_ifkd import pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

_LOOK_S = 0.2


def never() -> bool:
    """Never ask to stop."""
    return False


def _untold(begins: bool) -> None:
    pass


class StopFile:
    """A callable that says whether the stop file is there, looking at the disk five times a second at most.

    While the pause file is there, the call does not return, unless the run is to stop.

    Parameters
    ----------
    path : the stop file
    also : another reason to stop
    pause : the pause file
    tell : called with True when a pause begins, with False when it is over and the run goes on
    """

    def __init__(
        self, path: Path, also: Callable[[], bool] = never, pause: Path | None = None, tell: Callable[[bool], None] = _untold
    ) -> None:
        self.path, self.also, self.pause, self.tell = path, also, pause, tell
        self._looked, self._found = float("-inf"), False

    def __call__(self) -> bool:
        """Return whether the run should stop; once asked, it stays asked."""
        if time.monotonic() - self._looked > _LOOK_S:
            if not self._asked() and self._paused():
                self._wait()
            self._looked = time.monotonic()
        return self._found or self.also()

    def _asked(self) -> bool:
        self._found = self._found or self.path.exists()
        return self._found or self.also()

    def _paused(self) -> bool:
        return self.pause is not None and self.pause.exists()

    def _wait(self) -> None:
        since = time.monotonic()
        self.tell(True)
        while self._paused():
            if self._asked():
                return
            time.sleep(_LOOK_S)
        pace.leave_out(time.monotonic() - since)
        self.tell(False)


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
