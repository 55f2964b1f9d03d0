"""What is answered at points is written down beside the window, one write after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_ifkd.annotations.points import write_points

from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_ifkd.annotations.points import Point


class AnswerWriter:
    """Write tables of points in a thread, each after the last: no answer is lost if a count ends, nor written over by an older table."""

    rested = Signal()  # all is written, or could not be

    def __init__(self) -> None:
        self._waiting: dict[Path, tuple[list[Point], Callable[[], object] | None]] = {}
        self._writing = False

    @property
    def idle(self) -> bool:
        """Whether all is written."""
        return not self._writing and not self._waiting

    def write(self, table: Path, points: Sequence[Point], then: Callable[[], object] | None = None) -> None:
        """Write a table, as soon as those before it are; an error is told to the user.

        Parameters
        ----------
        table : of a run
        points : all of the count, answered or not
        then : called once they are written; not if they could not be
        """
        _, waiting = self._waiting.get(table, (None, None))
        self._waiting[table] = list(points), then or waiting
        self._write()

    def _write(self) -> None:
        if self._writing or not self._waiting:
            return
        table = next(iter(self._waiting))
        points, then = self._waiting.pop(table)
        self._writing = True

        def written(_: object) -> None:
            self._writing = False
            if then is not None:
                then()
            self._go_on()

        def failed(error: Exception) -> None:
            self._writing = False
            say_error(error, "Review")
            self._go_on()

        in_thread(lambda: write_points(table, points), written, failed)  # not of a dock, which may go meanwhile

    def _go_on(self) -> None:
        self._write()
        if self.idle:
            self.rested.emit()
