"""Overlapping tiles into finished rows, holding one band of the map at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def blend_window(size_px: int, overlap_px: int) -> NDArray[np.float32]:
    """Return the weight of a tile along one axis: 1 inside, a raised cosine falling over the overlap.

    Two neighbours' weights sum to 1 in their overlap; no weight is 0, so a tile without a neighbour still counts to its border.

    Parameters
    ----------
    size_px : side of the tile
    overlap_px : px shared with each neighbour

    Returns
    -------
    ``(size_px,)`` float32
    """
    window = np.ones(size_px, np.float32)
    ramp = min(overlap_px, size_px)
    if ramp > 0:
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
        window[:ramp] *= rise
        window[-ramp:] *= rise[::-1]
    return window


class BandBlender:
    """Weighted mean of tiles that arrive from top to bottom.

    Parameters
    ----------
    shape : ``(H, W)`` of the map, px
    size_px : side of a tile
    overlap_px : px a tile shares with its neighbour

    Attributes
    ----------
    top : first row of the band, px of the map
    sums, weights : ``(size_px, W)`` float32, of the tiles in the band
    """

    def __init__(self, shape: tuple[int, int], size_px: int, overlap_px: int) -> None:
        self.shape, self.size_px = shape, size_px
        window = blend_window(size_px, overlap_px)
        self._window = np.outer(window, window)
        self.sums = np.zeros((size_px, shape[1]), np.float32)
        self.weights = np.zeros((size_px, shape[1]), np.float32)
        self.top = 0

    def add(self, y: int, x: int, probability: NDArray[np.float32]) -> None:
        """Add a tile at the band's top row.

        Parameters
        ----------
        y, x : px of the map; `y` must be the band's top (see :meth:`finish`)
        probability : ``(size_px, size_px)``; what lies beyond the map is dropped
        """
        if y != self.top:
            raise ValueError(f"tile at row {y}, but the band begins at {self.top}")
        height, width = min(self.size_px, self.shape[0] - y), min(self.size_px, self.shape[1] - x)
        weight = self._window[:height, :width]
        self.sums[:height, x : x + width] += probability[:height, :width] * weight
        self.weights[:height, x : x + width] += weight

    def finish(self, until: int) -> Iterator[NDArray[np.uint8]]:
        """Move the band's top down to row `until` and yield what lies above, in pieces of ``(<= size_px, W)`` uint8.

        Every pixel a tile covered is at least 1: 0 is kept for what was not looked at.
        """
        while self.top < until:
            rows = min(self.size_px, until - self.top)
            weight = self.weights[:rows]
            seen = weight > 0
            values = np.divide(self.sums[:rows], weight, out=np.zeros_like(weight), where=seen)
            yield np.where(seen, np.clip(np.rint(values * 255), 1, 255), 0).astype(np.uint8)
            for band in (self.sums, self.weights):
                band[: self.size_px - rows] = band[rows:].copy()
                band[self.size_px - rows :] = 0
            self.top += rows
