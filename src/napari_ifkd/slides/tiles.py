"""A regular grid of tiles at a working resolution, over tissue and an optional region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from .picture import Picture
    from .slide import Slide
    from .tissue import Tissue


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles of a slide.

    Attributes
    ----------
    working_shape : (height, width) of the whole slide, working px
    size_px : side of a tile, working px
    stride_px : from a tile to the next, working px
    mpp : um per working px
    scale_yx : level-0 px per working px
    origins : int64, ``(N, 2)``: top-left corners (y, x), working px, row by row; tiles at the right and lower border may reach beyond
        the slide, where it reads as its own reflection
    """

    working_shape: tuple[int, int]
    size_px: int
    stride_px: int
    mpp: float
    scale_yx: tuple[float, float]
    origins: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.origins)

    def rows(self) -> Iterator[npt.NDArray[np.int64]]:
        """Iterate over the rows of the grid that hold tiles: their origins ``(n, 2)``, of one y and rising x."""
        if len(self.origins):
            yield from np.split(self.origins, np.flatnonzero(np.diff(self.origins[:, 0])) + 1)

    def boxes_level0(self) -> npt.NDArray[np.float64]:
        """Return the tiles as (y, x, height, width) in level-0 px, ``(N, 4)``."""
        scale = np.asarray(self.scale_yx)
        return np.hstack([self.origins * scale, np.broadcast_to(self.size_px * scale, (len(self.origins), 2))])


def tile_grid(
    slide_or_shape: Slide | Picture | tuple[int, int],
    mpp: float,
    size_px: int,
    overlap: float = 0.0,
    tissue: Tissue | None = None,
    min_tissue: float = 0.5,
    region: Any = None,
    exclusion: Any = None,
) -> TileGrid:
    """Lay tiles over a slide and keep those that matter.

    Parameters
    ----------
    slide_or_shape : Slide or Picture, or the (height, width) of a working grid, whose level 0 it then is itself
    mpp : working resolution, um/px
    size_px : side of a tile, working px
    overlap : share of a tile's side that it has in common with the next one, below 1
    tissue : keep tiles on tissue; None keeps all
    min_tissue : least share of a tile (of its part inside the slide) that is tissue and not excluded; 0 keeps every tile with any
    region : shapely geometry, level-0 px as (x, y): keep tiles that overlap it
    exclusion : shapely geometry, level-0 px as (x, y): its area does not count, as if it were glass

    Raises
    ------
    SlideError
        If the slide has no resolution.
    ValueError
        If size or overlap make no grid.
    """
    if size_px < 1 or not 0 <= overlap < 1:
        raise ValueError(f"no grid of {size_px}-px tiles that overlap by {overlap:g}")
    if isinstance(slide_or_shape, tuple):
        shape, scale = slide_or_shape, (1.0, 1.0)
    else:
        shape, scale = slide_or_shape.working_shape(mpp), slide_or_shape.working_scale(mpp)
    stride = max(1, round(size_px * (1 - overlap)))
    starts = [np.arange(max(1, -(-(side - size_px) // stride) + 1), dtype=np.int64) * stride for side in shape]
    origins = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    share = np.ones(len(origins))
    if tissue is not None:
        share = tissue.shares(origins * np.asarray(scale), (size_px * scale[0], size_px * scale[1]))
        origins, share = _kept(share > 0, origins, share)
    low = origins * np.asarray(scale)
    high = np.minimum(low + size_px * np.asarray(scale), np.asarray(shape) * scale)
    boxes = shapely.box(low[:, 1], low[:, 0], high[:, 1], high[:, 0])
    if region is not None:
        origins, share, boxes = _kept(_covered(boxes, region) > 0, origins, share, boxes)
    if exclusion is not None:
        # Where the excluded part lies on the tissue of a tile is not asked: at worst all of it does.
        share = share - _covered(boxes, exclusion)
    counts = share > 1e-9 if min_tissue <= 0 or tissue is None else share >= min(min_tissue, 1.0) - 1e-9
    return TileGrid(shape, size_px, stride, mpp, scale, origins[counts])


def _kept(keep: npt.NDArray[np.bool_], *arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    return tuple(array[keep] for array in arrays)


def _covered(boxes: npt.NDArray[Any], geometry: Any) -> npt.NDArray[np.float64]:
    """Return the share of each box that a geometry covers, ``(N,)``."""
    share = np.zeros(len(boxes))
    if geometry.is_empty or len(boxes) == 0:
        return share
    if not geometry.is_valid:
        geometry = shapely.make_valid(geometry)
    # Part by part through an index: intersecting every tile with a thousand lesions at once would take minutes.
    parts = shapely.get_parts(geometry)
    parts = parts[shapely.area(parts) > 0]
    tile, part = shapely.STRtree(parts).query(boxes, predicate="intersects") if len(parts) else (np.zeros(0, int), np.zeros(0, int))
    areas = shapely.area(shapely.intersection(boxes[tile], parts[part]))
    np.add.at(share, tile, areas)
    return np.clip(share / shapely.area(boxes), 0, 1)
