"""Bags from the tissue tiles of a slide, labelled by the teacher's image-level score or by the user's weak regions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import shapely

from napari_ifkd.errors import BagError
from napari_ifkd.pace import Pace
from napari_ifkd.slides import tile_grid

from .reading import read_bags, runs

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Regions
    from napari_ifkd.config import TileConfig
    from napari_ifkd.events import Progress
    from napari_ifkd.slides import Slide, TileGrid, Tissue

    from .bags import Bags

_TOP_SHARE = 0.3  # of a tile's pixels, whose mean is its score
_LOOKED_AT = 0.5  # least share of a tile that the map must cover for a score
_FEW = 8  # certain bags of a class below which undecided ones that lean its way are taken
_LEANING_SHARE = 0.25  # of the tiles, how many of those at most
TOUCH = 1e-3
"""Share of a tile that counts as touched."""


class TeacherMap(Protocol):
    """What is needed of a probability map of the slide."""

    scale_yx: tuple[float, float]

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a window: 0 where the teacher did not look, else its probability times 255."""
        ...


def slide_bags(
    slide: Slide,
    tissue: Tissue,
    probability_map: TeacherMap | None,
    tiles: TileConfig,
    seed: int,
    regions: Regions | None = None,
    exclusion: BaseGeometry | None = None,
) -> Generator[Progress, None, tuple[Bags, list[str]]]:
    """Cut the tissue of a slide into labelled tiles.

    Parameters
    ----------
    slide : where the pixels come from
    tissue : its tissue
    probability_map : the teacher's map of the same slide. The score of a tile is the mean of its highest 30 % of pixels: from
        ``tiles.positive_above`` the tile is a positive bag, up to ``tiles.negative_below`` a negative one, between the two it is left out.
        None: there is no teacher, and the regions alone tell
    tiles : TileConfig
    seed : fixes the draw where there are more than ``tiles.max_tiles``
    regions : the user's, level-0 px; they override the teacher: a tile mostly inside ``tumour`` is positive, one wholly inside ``normal``
        negative, and one that a tumour region touches is never negative
    exclusion : shapely geometry, level-0 px: tiles that touch it are left out

    Yields
    ------
    Progress, several times a second

    Returns
    -------
    bags : Bags
        At least one; maybe of a single class, which the notes then say.
    notes : list of str
        What the user should know about how the labels came about.

    Raises
    ------
    BagError
        If no tile is left to make a bag of.
    SlideError
        If the slide has no resolution.
    """
    grid, origins, boxes = _tissue_tiles(slide, tissue, tiles, exclusion)
    if not len(origins):
        cause = (
            f"holds no tile of {tiles.size_px} px at {tiles.mpp:g} um/px with {tiles.min_tissue:.0%} tissue outside the excluded regions"
        )
        raise BagError(slide.name, f"{cause} ({tissue.reason})", "Lower tiles.min_tissue or tiles.size_px, or exclude less")

    pace = Pace("scoring tiles", len(origins))
    scores = np.full(len(origins), np.nan)
    if probability_map is not None:
        for rows in runs(origins, tiles.size_px):
            scores[rows] = _scores(probability_map, grid, origins[rows], slide.shape_level0)
            if (event := pace.add(len(rows))) is not None:
                yield event
    labels, told, notes = _labels(scores, boxes, tiles, regions)
    chosen = draw_tiles(labels, tiles.max_tiles, np.random.default_rng([seed, 13]))
    if not len(chosen):
        told_by = "no region holds most of one" if probability_map is None else "the teacher looked at none of them"
        cause = f"none of its {len(origins)} tissue tiles can be labelled: {told_by}"
        remedy = "Draw larger regions" if probability_map is None else "Predict the whole slide, or mark tumour and normal regions"
        raise BagError(slide.name, cause, remedy)
    if len(chosen) < (labels >= 0).sum():
        notes.append(f"{len(chosen)} of {(labels >= 0).sum()} labelled tiles are drawn at random (tiles.max_tiles)")

    bags = yield from read_bags(slide, origins[chosen], labels[chosen], tiles)
    bags = replace(bags, told=told[chosen])
    if probability_map is not None:
        notes += _missing(bags)
    return bags, [f"{slide.name}: {note}" for note in notes]


def count_region_tiles(
    slide: Slide, tissue: Tissue, tiles: TileConfig, regions: Regions, exclusion: BaseGeometry | None = None
) -> tuple[int, int]:
    """Count the tiles that the regions of a slide label, before any draw; no pixels are read.

    Parameters
    ----------
    slide, tissue, tiles, regions, exclusion : as in :func:`slide_bags`

    Returns
    -------
    positive, negative : int

    Raises
    ------
    SlideError
        If the slide has no resolution.
    """
    _, _, boxes = _tissue_tiles(slide, tissue, tiles, exclusion)
    tumour, normal, _ = _by_regions(boxes, regions)
    return int(tumour.sum()), int(normal.sum())


def tile_boxes(grid: TileGrid, shape_level0: tuple[int, int]) -> NDArray[np.object_]:
    """Return the tiles' parts inside the slide as shapely boxes, (x, y) in level-0 px."""
    y, x, height, width = grid.boxes_level0().T
    boxes: NDArray[np.object_] = shapely.box(x, y, np.minimum(x + width, shape_level0[1]), np.minimum(y + height, shape_level0[0]))
    return boxes


def covered(boxes: NDArray[np.object_], geometry: BaseGeometry) -> NDArray[np.float64]:
    """Return the share of each box that a geometry (its parts not overlapping) covers."""
    share = np.zeros(len(boxes))
    parts = shapely.get_parts(shapely.make_valid(geometry))
    parts = parts[shapely.area(parts) > 0]
    if len(parts) and len(boxes):  # part by part through an index: one union of a thousand lesions would be slow
        box, part = shapely.STRtree(parts).query(boxes, predicate="intersects")
        np.add.at(share, box, shapely.area(shapely.intersection(boxes[box], parts[part])))
        share /= np.maximum(shapely.area(boxes), 1e-9)
    return share


def _tissue_tiles(
    slide: Slide, tissue: Tissue, tiles: TileConfig, exclusion: BaseGeometry | None
) -> tuple[TileGrid, NDArray[np.int64], NDArray[np.object_]]:
    """Return the grid of tissue tiles, and origins and boxes of those that touch nothing excluded."""
    grid = tile_grid(slide, tiles.mpp, tiles.size_px, tissue=tissue, min_tissue=tiles.min_tissue, exclusion=exclusion)
    boxes = tile_boxes(grid, slide.shape_level0)
    keep = np.ones(len(grid), np.bool_) if exclusion is None else covered(boxes, exclusion) <= TOUCH
    return grid, grid.origins[keep], boxes[keep]


def _by_regions(boxes: NDArray[np.object_], regions: Regions) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which tiles regions make positive, which negative, and which they bar from being negative."""
    in_tumour, in_normal = covered(boxes, regions.tumour), covered(boxes, regions.normal)
    barred = in_tumour > TOUCH
    return in_tumour > 0.5, (in_normal >= 0.99) & ~barred, barred


def _scores(probability_map: TeacherMap, grid: TileGrid, origins: NDArray[np.int64], shape_level0: tuple[int, int]) -> NDArray[np.float64]:
    """Return the teacher's image-level scores of neighbouring tiles, NaN where it looked at too little of one."""
    map_scale = np.asarray(probability_map.scale_yx)
    scale = np.asarray(grid.scale_yx) / map_scale  # map px per working px
    low = np.rint(origins * scale).astype(int)
    high = np.minimum(np.rint((origins + grid.size_px) * scale), np.rint(np.asarray(shape_level0) / map_scale)).astype(int)
    high = np.maximum(high, low + 1)
    top, left = low[0]
    strip = probability_map.read(int(top), int(left), int(high[0, 0] - top), int(high[-1, 1] - left))
    scores = np.full(len(origins), np.nan)
    for index, (start, stop) in enumerate(zip(low[:, 1] - left, high[:, 1] - left, strict=True)):
        values = strip[:, start:stop].ravel()
        if (values > 0).mean() >= _LOOKED_AT:
            count = max(1, round(_TOP_SHARE * values.size))
            scores[index] = np.partition(values, values.size - count)[-count:].mean() / 255
    return scores


def _labels(
    scores: NDArray[np.float64], boxes: NDArray[np.object_], tiles: TileConfig, regions: Regions | None
) -> tuple[NDArray[np.int8], NDArray[np.bool_], list[str]]:
    """Label tiles 1, 0, or -1 (left out), and tell which labels are the user's."""
    notes: list[str] = []
    labels = np.full(len(scores), -1, np.int8)
    labels[scores >= tiles.positive_above] = 1
    labels[scores <= tiles.negative_below] = 0
    barred = np.zeros(len(scores), np.bool_)  # from being negative
    fixed = np.zeros(len(scores), np.bool_)
    if regions is not None:
        tumour, normal, barred = _by_regions(boxes, regions)
        labels[barred & (labels == 0)] = -1
        labels[normal], labels[tumour] = 0, 1
        fixed = normal | tumour
        if fixed.any():
            notes.append(f"{int(tumour.sum())} tiles are positive and {int(normal.sum())} negative by your regions")
    for label, name, threshold in ((1, "positive", f">= {tiles.positive_above:g}"), (0, "negative", f"<= {tiles.negative_below:g}")):
        certain = int((labels == label).sum())
        if certain >= _FEW:
            continue
        leaning = (labels < 0) & ~fixed & ((scores >= 0.5) if label else (scores < 0.5) & ~barred)
        order = np.argsort(-scores if label else scores, kind="stable")
        taken = [i for i in order if leaning[i]][: max(_FEW, int(_LEANING_SHARE * len(scores))) - certain]
        labels[taken] = label
        if taken:
            notes.append(
                f"the teacher calls {certain or 'no'} tile{'s' * (certain != 1)} of it {name} for sure (score {threshold}): "
                f"so that there are more, the {len(taken)} that come next count as {name} too, {certain + len(taken)} in all"
            )
    return labels, fixed, notes


def _missing(bags: Bags) -> list[str]:
    if not bags.negatives:
        return ["there are no negative tiles: nothing holds the marked area down. Mark a normal region, or add a slide without tumour"]
    if not bags.positives:
        return ["there are no positive tiles: the teacher sees no tumour here. Mark a tumour region if there is some"]
    return []


def draw_tiles(labels: NDArray[np.int8], limit: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw at most ``limit`` labelled tiles, half of each class where both suffice; in slide order."""
    positive, negative = (rng.permutation(np.flatnonzero(labels == label)) for label in (1, 0))
    of_positive = min(len(positive), max((limit + 1) // 2, limit - len(negative)))
    return np.sort(np.concatenate([positive[:of_positive], negative[: limit - of_positive]]))
