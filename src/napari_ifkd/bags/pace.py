"""How far a stage is, how fast, and how long it still takes; told a few times a second."""

from __future__ import annotations

import time

from napari_ifkd.events import Progress

_INTERVAL_S = 0.25


class Pace:
    """Make :class:`~napari_ifkd.events.Progress` events, at most about four a second.

    Parameters
    ----------
    stage : such as "training"
    total : units in the stage
    unit : what is counted
    done : units that were complete before (after a resume); they do not count for the rate
    """

    def __init__(self, stage: str, total: int, unit: str = "tiles", done: int = 0) -> None:
        self.stage, self.total, self.unit, self.done = stage, total, unit, done
        self._before = done
        self._start = time.monotonic()
        self._told = 0.0  # the first call tells at once

    def add(self, count: int) -> Progress | None:
        """Count ``count`` more units; return an event where one is due (always on the last unit)."""
        self.done += count
        now = time.monotonic()
        if now - self._told < _INTERVAL_S and self.done < self.total:
            return None
        self._told = now
        seconds, here = now - self._start, self.done - self._before
        rate = here / seconds if here and seconds > 0.05 else None
        left = (self.total - self.done) / rate if rate else None
        return Progress(self.stage, self.done, self.total, self.unit, rate, left)
