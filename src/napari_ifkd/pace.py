"""How far a stage is, how fast, and how long it still takes; told a few times a second."""

from __future__ import annotations

import sys
import time
from collections import deque

from .events import Progress

_left_out_s = 0.0


def leave_out(seconds: float) -> None:
    """Leave out the seconds just gone by, in which this process waited for its user: no stage took them."""
    global _left_out_s
    _left_out_s += seconds


def now() -> float:
    """Return the seconds of a clock that stands still while a run waits for its user."""
    return time.monotonic() - _left_out_s


class Pace:
    """Make :class:`~napari_ifkd.events.Progress` events from a count, about four a second at most.

    Parameters
    ----------
    stage : such as "training"
    total : units in the stage
    unit : what is counted
    done : units that were complete before (after a resume); they do not count for the rate
    every_s : seconds between events
    """

    def __init__(self, stage: str, total: int, unit: str = "tiles", done: int = 0, every_s: float = 0.25) -> None:
        self.stage, self.total, self.unit, self.done, self.every_s = stage, total, unit, done, every_s
        self._told: float | None = None  # the first call tells at once
        self._marks: deque[tuple[float, int]] = deque([(now(), done)], maxlen=64)  # some seconds: a recent rate, yet a calm one

    def add(self, count: int) -> Progress | None:
        """Count `count` more units; return an event where one is due."""
        return self.at(self.done + count)

    def at(self, done: int) -> Progress | None:
        """Set the count; return an event where one is due (always on the last unit)."""
        self.done = done
        at = now()
        if done < self.total and self._told is not None and at - self._told < self.every_s:
            return None
        self._told = at
        since, before = self._marks[0]
        seconds, here = at - since, done - before
        self._marks.append((at, done))
        rate = here / seconds if here > 0 and seconds > 0.05 else None
        left = (self.total - done) / rate if rate else None
        return Progress(self.stage, done, self.total, self.unit, rate, left, device_mb=_device_mb())


def _device_mb() -> float | None:
    """Return the most GPU memory, MiB, that this process took so far; None where it took none."""
    torch = sys.modules.get("torch")  # a stage that needs no torch must not load it
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(max(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))) / 2**20
