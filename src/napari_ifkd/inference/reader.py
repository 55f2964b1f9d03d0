"""Tiles read ahead of the model, in large blocks, on a thread of their own."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from napari_ifkd.slides import Slide

Block = tuple[int, list[int], NDArray[np.uint8]]
"""Row y, the columns x of its tiles (px of the working grid), and their common pixels ``(size, x_last + size - x_first, 3)``."""

_SPAN_PX = 4096  # one read: large enough to amortise decoding, small enough to hold a few ahead
_AHEAD = 4


class TileReader:
    """Context manager that yields tiles in order while a thread decodes the next ones.

    Parameters
    ----------
    slide : where to read; the thread alone reads it meanwhile
    origins : ``(N, 2)`` int, y and x of each tile, px of the working grid, row by row
    size_px : side of a tile
    mpp : working resolution, um/px
    """

    def __init__(self, slide: Slide, origins: NDArray[np.integer], size_px: int, mpp: float) -> None:
        self._slide, self._size, self._mpp = slide, size_px, mpp
        self._spans = list(spans(origins, size_px))
        self._queue: queue.Queue[Block | BaseException | None] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tile-reader", daemon=True)

    def __enter__(self) -> TileReader:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop reading; waits for the read under way."""
        self._stop.set()
        self._thread.join()

    def tiles(self, wait_s: float = 0.1) -> Iterator[tuple[int, int, NDArray[np.uint8]] | None]:
        """Yield ``(y, x, (size, size, 3) uint8)`` tile by tile, or None when none was ready in time (a chance to stop).

        Raises
        ------
        SlideError
            Whatever reading raised.
        """
        while True:
            try:
                item = self._queue.get(timeout=wait_s)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            y, columns, block = item
            for x in columns:
                yield y, x, block[:, x - columns[0] : x - columns[0] + self._size]

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            for y, columns in self._spans:
                width = columns[-1] - columns[0] + self._size
                block = self._slide.read_working(y, columns[0], self._size, width, self._mpp)
                if not self._put((y, columns, block)):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for tiles
            last = error
        self._put(last)

    def _put(self, item: Block | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def spans(origins: NDArray[np.integer], size_px: int, span_px: int = _SPAN_PX) -> Iterator[tuple[int, list[int]]]:
    """Group tiles of a row that touch into reads of at most `span_px` (or one tile) across.

    Parameters
    ----------
    origins : ``(N, 2)`` int, y and x, row by row
    size_px : side of a tile

    Yields
    ------
    y, and the ascending x of the tiles to read together
    """
    row: int | None = None
    group: list[int] = []
    for y, x in np.asarray(origins).tolist():
        if group and (y != row or x > group[-1] + size_px or x + size_px - group[0] > span_px):
            yield int(row or 0), group
            group = []
        row = y
        group.append(x)
    if group:
        yield int(row or 0), group
