"""Which pixels of a map count: tissue, inside the region, outside the exclusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations.raster import rasterize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.slides import Tissue


@dataclass(frozen=True)
class Coverage:
    """Tissue and regions of one slide, on the map's grid.

    Parameters
    ----------
    shape : ``(H, W)`` of the map, px
    scale_yx : level-0 px per px of the map
    tissue : leave out everything else; None for no such limit
    region : as (x, y) in level-0 px; leave out everything else; None for no such limit
    exclusion : as (x, y) in level-0 px; leave this out
    """

    shape: tuple[int, int]
    scale_yx: tuple[float, float]
    tissue: Tissue | None = None
    region: BaseGeometry | None = None
    exclusion: BaseGeometry | None = None

    def rows(self, y0: int, count: int) -> NDArray[np.bool_] | None:
        """Return which pixels of rows y0... count, ``(count, W)``; None if all do."""
        if self.tissue is None and self.region is None and self.exclusion is None:
            return None
        size = (count, self.shape[1])
        keep = np.ones(size, bool)
        if self.tissue is not None:
            rows = self._tissue_index(0, y0, count)
            keep &= self.tissue.mask[rows][:, self._tissue_index(1, 0, self.shape[1])]
        if self.region is not None:
            keep &= rasterize(self.region, size, self.scale_yx, (y0, 0))
        if self.exclusion is not None:
            keep &= ~rasterize(self.exclusion, size, self.scale_yx, (y0, 0))
        return keep

    def tissue_mm2(self) -> float | None:
        """Return the area of the tissue, mm², without what is excluded; None where there is no such limit, or no resolution."""
        if self.tissue is None or self.exclusion is None:
            return None if self.tissue is None else self.tissue.area_mm2
        return self.tissue.subtract(rasterize(self.exclusion, self.tissue.mask.shape, self.tissue.scale_yx)).area_mm2

    def _tissue_index(self, axis: int, start: int, count: int) -> NDArray[np.int64]:
        """Return the row (axis 0) or column (1) of the tissue mask at the centres of px start... of the map."""
        assert self.tissue is not None
        centres = (np.arange(start, start + count) + 0.5) * self.scale_yx[axis] / self.tissue.scale_yx[axis]
        return np.clip(centres.astype(np.int64), 0, self.tissue.mask.shape[axis] - 1)
