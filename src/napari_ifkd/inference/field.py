"""A field of a slide predicted at once, for a quick look: the same tiles, blended the same way, as in a map of the whole slide."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_ifkd.errors import Cancelled, SlideError
from napari_ifkd.models import pick_device
from napari_ifkd.slides import find_tissue, tile_grid

from .blend import BandBlender
from .coverage import Coverage
from .field_part import FieldPart
from .predict import working_tile
from .predictor import Predictor
from .reader import TileReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, ModelCard
    from napari_ifkd.slides import Slide, TileGrid

AT_ONCE_PX = 1_000_000
"""Working px that are predicted in one go; a larger field comes coarse first."""
MOST_PX = 16_000_000
"""Working px up to which a field is refined."""


class FieldPredictor:
    """Predicts fields of one slide with one network.

    Parameters
    ----------
    slide : with a resolution
    model, card : the network
    config : ``inference``, ``device`` and ``precision`` are used
    """

    def __init__(self, slide: Slide, model: MILModel, card: ModelCard, config: Config) -> None:
        slide.require_mpp()
        self.slide, self.card, self.config = slide, card, config
        tissue = find_tissue(slide) if config.inference.tissue_only else None
        self.tissue = tissue if tissue is not None and tissue.found else None
        self.predictor = Predictor(model, pick_device(config.device), config.precision)

    def parts(
        self,
        box: tuple[float, float, float, float],
        exclusion: BaseGeometry | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[FieldPart]:
        """Predict a field: whole where it is small, else coarse as a whole, then in bands from the top.

        Parameters
        ----------
        box : left, top, right, bottom, level-0 px; what lies beyond the slide is left out
        exclusion : (x, y) in level-0 px; not looked at
        should_stop : asked for every batch

        Raises
        ------
        SlideError
            If the field lies beside the slide or its tissue, or the slide cannot be read.
        Cancelled
            If ``should_stop`` says so.
        """
        height, width = self.slide.shape_level0
        left, top, right, bottom = max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])
        if left >= right or top >= bottom:
            raise SlideError(self.slide.name, "the field lies beside it", "Move back to the slide")
        scale = self.slide.working_scale(self.card.mpp)
        area = (bottom - top) / scale[0] * (right - left) / scale[1]
        whole = shapely.box(left, top, right, bottom)
        coarse = max(1, ceil(sqrt(area / AT_ONCE_PX)))
        bands = max(1, ceil(area / AT_ONCE_PX)) if area <= MOST_PX else 0
        found = False
        if coarse > 1:
            part = self._part(whole, self.card.mpp * coarse, True, exclusion, should_stop)
            found = part is not None
            if part is not None:
                yield replace(part, to_come=bands)
        edges = np.linspace(top, bottom, bands + 1)
        for done, (upper, lower) in enumerate(pairwise(edges), start=1):
            part = self._part(shapely.box(left, upper, right, lower), self.card.mpp, False, exclusion, should_stop)
            found |= part is not None
            if part is not None:
                yield replace(part, to_come=bands - done)
        if not found:
            raise SlideError(self.slide.name, "no tissue is in the field", "Move to tissue")

    def _part(
        self, box: BaseGeometry, mpp: float, coarse: bool, exclusion: BaseGeometry | None, should_stop: Callable[[], bool]
    ) -> FieldPart | None:
        """Predict a box at a resolution; None where no tissue is in it."""
        size, settings = working_tile(self.card), self.config.inference
        grid = tile_grid(self.slide, mpp, size, settings.overlap * self.card.tile_px / size, self.tissue, 0.0, box)
        if not len(grid):
            return None
        top, left = grid.origins.min(axis=0).tolist()
        bottom, right = np.minimum(grid.origins.max(axis=0) + size, grid.working_shape).tolist()
        values = self._predicted(grid, (top, left, bottom, right), should_stop)
        coverage = Coverage(grid.working_shape, grid.scale_yx, self.tissue, box, exclusion)
        keep = coverage.rows(top, bottom - top)
        if keep is not None:
            values *= keep[:, left:right]
        cut, origin = _cut(values, box, grid, (top, left))
        return FieldPart(cut, origin, grid.scale_yx, coarse) if cut.any() else None

    def _predicted(self, grid: TileGrid, place: tuple[int, int, int, int], should_stop: Callable[[], bool]) -> NDArray[np.uint8]:
        top, left, bottom, right = place
        size = grid.size_px
        together = max(1, self.config.inference.batch * self.card.tile_px**2 // size**2)
        blender = BandBlender((bottom - top, right - left), size, size - grid.stride_px)
        rows: list[NDArray[np.uint8]] = []
        with TileReader(self.slide, grid.origins, size, grid.mpp) as reader:
            batch: list[tuple[int, int, NDArray[np.uint8]]] = []
            done = 0
            for tile in reader.tiles():
                if should_stop():
                    raise Cancelled
                if tile is None:
                    continue
                batch.append(tile)
                done += 1
                if len(batch) < together and done < len(grid):
                    continue
                answers = self.predictor(np.stack([pixels for _, _, pixels in batch]))
                for (y, x, _), answer in zip(batch, answers, strict=True):
                    if y - top > blender.top:
                        rows += blender.finish(y - top)
                    blender.add(y - top, x - left, answer)
                batch = []
        rows += blender.finish(bottom - top)
        return np.vstack(rows)


def _cut(
    values: NDArray[np.uint8], box: BaseGeometry, grid: TileGrid, corner: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Cut the tiles' area down to the box; return it, and its corner on the working grid."""
    left, top, right, bottom = box.bounds
    scale_y, scale_x = grid.scale_yx
    y0, x0 = max(corner[0], int(top / scale_y)), max(corner[1], int(left / scale_x))
    y1, x1 = ceil(bottom / scale_y) - corner[0], ceil(right / scale_x) - corner[1]
    return np.ascontiguousarray(values[y0 - corner[0] : y1, x0 - corner[1] : x1]), (y0, x0)
