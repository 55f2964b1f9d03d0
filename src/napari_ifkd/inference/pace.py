"""How fast work goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque

from napari_ifkd.events import Progress


class Pace:
    """Makes :class:`Progress` events from a count, at most one every `every_s` seconds.

    Parameters
    ----------
    stage, total, unit : as in the event
    every_s : seconds between events
    """

    def __init__(self, stage: str, total: int, unit: str = "tiles", every_s: float = 0.2) -> None:
        self.stage, self.total, self.unit, self.every_s = stage, total, unit, every_s
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=64)  # some seconds: a recent rate, yet a calm one

    def at(self, done: int) -> Progress | None:
        """Return an event if one is due; the last one always is."""
        now = time.monotonic()
        if done < self.total and now - self._marks[-1][0] < self.every_s:
            return None
        since, before = self._marks[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        self._marks.append((now, done))
        left = (self.total - done) / rate if rate > 0 else None
        return Progress(self.stage, done, self.total, self.unit, rate or None, left)
