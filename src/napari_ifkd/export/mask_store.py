"""The mask computed once, kept aside while every format is written from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import zarr

from napari_ifkd.annotations import rasterize
from napari_ifkd.annotations.masks import centres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
CHUNK = 512
_COARSEST = 1024  # px


class MaskStore:
    """A mask and its coarse levels in a folder.

    Parameters
    ----------
    folder : an empty one, for whoever made it to remove
    shape : of the mask, px
    dtype : of its labels, unsigned
    """

    def __init__(self, folder: Path, shape: tuple[int, int], dtype: Any = np.uint8) -> None:
        self.shape, self._dtype = shape, np.dtype(dtype)
        self._group = zarr.open_group(folder, mode="w", zarr_format=3)
        self.levels: list[zarr.Array[Any]] = []
        self.levels.append(self._level(shape))

    def fill(self, bands: Iterable[NDArray[np.unsignedinteger]]) -> Iterator[NDArray[np.unsignedinteger]]:
        """Take the mask in, and hand on its bands ``(512, W)``, the last one of what is left, as they are written."""
        y = 0
        for band in bands:
            if band.any():
                self.levels[0][y : y + len(band)] = band
            y += len(band)
            yield band

    def resampled(self, folder: Path, shape: tuple[int, int], check: Callable[[int, int], None]) -> MaskStore:
        """Return the finest level on another grid of the same extent, by the px at the centres of its own.

        Parameters
        ----------
        folder : an empty one
        shape : of that grid, px
        check : called with the rows done and in all; raises to stop
        """
        other = MaskStore(folder, shape, self.levels[0].dtype)
        step_y, step_x = (own / new for own, new in zip(self.shape, shape, strict=True))
        columns = centres(0, shape[1], step_x)
        for y in range(0, shape[0], CHUNK):
            check(y, shape[0])
            rows = centres(y, min(CHUNK, shape[0] - y), step_y)
            band = np.asarray(self.levels[0][rows[0] : rows[-1] + 1])[np.ix_(rows - rows[0], columns)]
            if band.any():
                other.levels[0][y : y + len(rows)] = band
        return other

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
        while max(self.levels[-1].shape) > _COARSEST:  # none is built twice
            fine = self.levels[-1]
            coarse = self._level((math.ceil(fine.shape[0] / 2), math.ceil(fine.shape[1] / 2)))
            for y in range(0, coarse.shape[0], CHUNK):
                band = np.asarray(fine[2 * y : 2 * (y + CHUNK)])[::2, ::2]
                if band.any():
                    coarse[y : y + CHUNK] = band
            self.levels.append(coarse)

    def _level(self, shape: tuple[int, ...]) -> zarr.Array[Any]:
        return self._group.create_array(str(len(self.levels)), shape=shape, chunks=(CHUNK, CHUNK), dtype=self._dtype)
