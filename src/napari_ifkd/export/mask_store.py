"""The mask computed once, kept aside while every format is written from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import zarr

from napari_ifkd.annotations import rasterize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.inference import ProbabilityMap

CHUNK = 512
_WIDE = 8 * CHUNK  # columns smoothed at a time
_COARSEST = 1024  # px


class MaskStore:
    """A mask and its coarse levels in a folder.

    Parameters
    ----------
    folder : an empty one, for whoever made it to remove
    shape : of the mask, px
    """

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._group = zarr.open_group(folder, mode="w", zarr_format=3)
        self.levels: list[zarr.Array[Any]] = []
        self.levels.append(self._level(shape))

    def fill(
        self, source: ProbabilityMap, threshold: float, sigma_px: float, check: Callable[[int, int], None]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.uint8]]]:
        """Compute the mask from a map, and yield its bands ``(<= 512, W)`` as mask and probability times 255.

        Parameters
        ----------
        source, threshold, sigma_px : as in :meth:`ProbabilityMap.mask`
        check : called with the rows done and in all; raises to stop
        """
        height, width = self.shape
        for y in range(0, height, CHUNK):
            check(y, height)
            rows = min(CHUNK, height - y)
            values = source.read(y, 0, rows, width)
            mask = np.zeros((rows, width), bool)
            for x in range(0, width, _WIDE):
                piece = slice(x, min(x + _WIDE, width))
                if values[:, piece].any():  # smoothing never reaches what was not looked at
                    probability = source.smoothed(y, x, rows, piece.stop - x, sigma_px)
                    mask[:, piece] = (probability >= threshold) & (probability > 0)
            if mask.any():
                self.levels[0][y : y + rows] = mask.astype(np.uint8)
            yield mask, values

    def erase(self, polygons: Sequence[shapely.Polygon]) -> None:
        """Remove objects, given by their outlines in px of the mask."""
        if not polygons:
            return
        tree = shapely.STRtree(polygons)
        for y in range(0, self.shape[0], CHUNK):
            rows = min(CHUNK, self.shape[0] - y)
            found = tree.query(shapely.box(0, y, self.shape[1], y + rows))
            if len(found):
                gone = rasterize(shapely.multipolygons([polygons[i] for i in found]), (rows, self.shape[1]), origin=(y, 0))
                self.levels[0][y : y + rows] = np.asarray(self.levels[0][y : y + rows]) * ~gone

    def build_levels(self) -> None:
        """Build the coarse levels by taking every second px, as labels ask for."""
        while max(self.levels[-1].shape) > _COARSEST:
            fine = self.levels[-1]
            coarse = self._level((math.ceil(fine.shape[0] / 2), math.ceil(fine.shape[1] / 2)))
            for y in range(0, coarse.shape[0], CHUNK):
                band = np.asarray(fine[2 * y : 2 * (y + CHUNK)])[::2, ::2]
                if band.any():
                    coarse[y : y + CHUNK] = band
            self.levels.append(coarse)

    def _level(self, shape: tuple[int, ...]) -> zarr.Array[Any]:
        return self._group.create_array(str(len(self.levels)), shape=shape, chunks=(CHUNK, CHUNK), dtype="uint8")
