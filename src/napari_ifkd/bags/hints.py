"""Hints: tiles in which a person corrected pixels or answered points, for the next round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations.corrections import NORMAL, NOTHING, TUMOUR
from napari_ifkd.annotations.points import points_on
from napari_ifkd.errors import Cancelled
from napari_ifkd.slides import TileGrid

from .bags import image_store
from .reading import read_bags, runs
from .slide_bags import TOUCH, covered, draw_tiles, tile_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations.corrections import Corrections
    from napari_ifkd.annotations.points import Point
    from napari_ifkd.config import TileConfig
    from napari_ifkd.slides import Slide

    from .bags import Bags


@dataclass(frozen=True)
class Hints:
    """Bags that hold corrected pixels, and these pixels.

    Parameters
    ----------
    bags : the tiles; label 0 where all of a tile is known to be normal, else 1, so that the teacher is asked about the rest
    labels : ``(N, H, W)`` uint8, as large as the images: 0 not corrected, 1 normal, 2 tumour
    """

    bags: Bags
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        if self.labels.shape != self.bags.images.shape[:3] or self.labels.dtype != np.uint8:
            raise ValueError(f"labels {self.labels.shape} {self.labels.dtype} do not fit images {self.bags.images.shape}")


def hinted_bags(
    slide: Slide,
    tiles: TileConfig,
    corrections: Corrections | None,
    points: Sequence[Point],
    radius_um: float,
    exclusion: BaseGeometry | None = None,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Hints | None:
    """Cut the tiles of a slide's regular grid that hold any hint, tissue or not.

    Parameters
    ----------
    slide : where the pixels come from
    tiles : size and resolution; names and places of the tiles are those of :func:`slide_bags`
    corrections : painted on this slide; brought to the tiles' resolution by the nearest pixel
    points : answered; those on other slides and the unsure ones count for nothing. Where two discs overlap the nearer point counts,
        and a painted correction wins over both
    radius_um : of the disc around a point, um; the pixel a point lies in always belongs to it
    exclusion : level-0 px; tiles that touch it are left out
    seed : fixes the draw where more tiles than ``tiles.max_tiles`` hold hints
    should_stop : asked for each run of tiles

    Returns
    -------
    Hints, or None where no tile holds any

    Raises
    ------
    AnnotationError
        If the corrections were painted on another slide or are damaged, or a point lies beside the slide.
    SlideError
        If the slide has no resolution or is damaged.
    Cancelled
        If ``should_stop`` says so.
    """
    if corrections is not None:
        corrections.check(slide)
    discs = _Discs(slide, tiles, points_on(points, slide), radius_um)
    grid = _candidates(slide, tiles, corrections, discs)
    origins = grid.origins
    if exclusion is not None and len(origins):
        origins = origins[covered(tile_boxes(grid, slide.shape_level0), exclusion) <= TOUCH]
    held, normal = np.zeros(len(origins), np.bool_), np.zeros(len(origins), np.bool_)
    for rows, strip in _strips(grid, origins, corrections, discs, should_stop):
        for row, tile in zip(rows, strip, strict=True):
            inside = tile[: grid.working_shape[0] - origins[row, 0], : grid.working_shape[1] - origins[row, 1]]  # beyond, nothing is known
            held[row], normal[row] = tile.any(), (inside == NORMAL).all()
    origins, bag_labels = origins[held], (~normal[held]).astype(np.int8)
    if not len(origins):
        return None
    chosen = draw_tiles(bag_labels, tiles.max_tiles, np.random.default_rng([seed, 14]))
    labels = image_store((len(chosen), tiles.size_px, tiles.size_px))
    for rows, strip in _strips(grid, origins[chosen], corrections, discs, should_stop):  # once more: all might not fit in memory
        labels[rows] = strip
    reading = read_bags(slide, origins[chosen], bag_labels[chosen], tiles)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return Hints(end.value, labels)
        if should_stop():
            raise Cancelled


class _Discs:
    """Answered points as discs on the working grid; fractions of a pixel count."""

    def __init__(self, slide: Slide, tiles: TileConfig, points: Sequence[Point], radius_um: float) -> None:
        sure = [point for point in points if point.answer != "unsure"]
        scale = np.asarray(slide.working_scale(tiles.mpp))
        self.centres = np.array([(point.y, point.x) for point in sure], np.float64).reshape(-1, 2) / scale
        self.radii = radius_um / (scale * slide.require_mpp())
        self.answers = np.array([TUMOUR if point.answer == "tumour" else NORMAL for point in sure], np.uint8)

    def boxes(self) -> NDArray[np.float64]:
        """Return the boxes around them, (y, x, height, width) in working px, ``(P, 4)``."""
        reach = np.maximum(self.radii, 1.0)  # the pixel of a point belongs to it, however small the disc
        return np.hstack([self.centres - reach, np.broadcast_to(2 * reach, self.centres.shape)])

    def draw(self, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Return what the points say of a window."""
        labels = np.zeros((h, w), np.uint8)
        nearest = np.full((h, w), np.inf)
        reach = np.maximum(self.radii, 1.0)
        near = ((self.centres + reach > (y, x)) & (self.centres - reach < (y + h, x + w))).all(axis=1)
        for centre, answer in zip(self.centres[near], self.answers[near], strict=True):
            (top, left), (bottom, right) = np.floor(centre - reach).astype(int), np.ceil(centre + reach).astype(int)
            ys, xs = np.arange(max(top, y), min(bottom, y + h)), np.arange(max(left, x), min(right, x + w))
            distance = ((ys + 0.5 - centre[0]) / self.radii[0])[:, None] ** 2 + ((xs + 0.5 - centre[1]) / self.radii[1])[None] ** 2
            own = (ys == int(centre[0]))[:, None] & (xs == int(centre[1]))[None]
            window = np.s_[int(max(top - y, 0)) : int(max(top - y, 0)) + len(ys), int(max(left - x, 0)) : int(max(left - x, 0)) + len(xs)]
            wins = ((distance <= 1) | own) & (distance <= nearest[window])
            labels[window][wins], nearest[window][wins] = answer, distance[wins]
        return labels


def _candidates(slide: Slide, tiles: TileConfig, corrections: Corrections | None, discs: _Discs) -> TileGrid:
    """Return the tiles that may hold a hint, told from outlines alone."""
    size = tiles.size_px
    shape, scale = slide.working_shape(tiles.mpp), slide.working_scale(tiles.mpp)
    boxes = [discs.boxes()]
    if corrections is not None:
        boxes.append(corrections.boxes().astype(np.float64) * np.tile(np.asarray(corrections.scale_yx) / scale, 2))
    counts = [-(-side // size) for side in shape]  # tiles down and across, the last of which may reach beyond the border
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for y, x, h, w in np.concatenate(boxes):
        rows = np.arange(max(0, int(y // size)), min(counts[0], int((y + h) // size) + 1))
        columns = np.arange(max(0, int(x // size)), min(counts[1], int((x + w) // size) + 1))
        found.append((rows[:, None] * counts[1] + columns).ravel())
    index = np.unique(np.concatenate(found))
    origins = np.stack([index // counts[1], index % counts[1]], axis=1) * size
    return TileGrid(shape, size, size, tiles.mpp, scale, origins)


def _strips(
    grid: TileGrid, origins: NDArray[np.int64], corrections: Corrections | None, discs: _Discs, should_stop: Callable[[], bool]
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Yield runs of neighbouring tiles: their rows, and what is said of their pixels, ``(n, size, size)``."""
    for rows in runs(origins, grid.size_px):
        if should_stop():
            raise Cancelled
        y, x = (int(v) for v in origins[rows[0]])
        strip = _hinted(grid, corrections, discs, y, x, len(rows) * grid.size_px)
        yield rows, strip.reshape(grid.size_px, len(rows), grid.size_px).swapaxes(0, 1)


def _hinted(grid: TileGrid, corrections: Corrections | None, discs: _Discs, y: int, x: int, width: int) -> NDArray[np.uint8]:
    """Return the hints of a run of tiles, ``(size, width)``; nothing beyond the slide's border."""
    labels = discs.draw(y, x, grid.size_px, width)
    if corrections is not None:
        rows, columns = (
            np.minimum(((start + np.arange(length) + 0.5) * own / theirs).astype(np.int64), side - 1)
            for start, length, own, theirs, side in zip(
                (y, x), (grid.size_px, width), grid.scale_yx, corrections.scale_yx, corrections.shape, strict=True
            )
        )
        top, left = int(rows[0]), int(columns[0])
        painted = corrections.read(top, left, int(rows[-1]) - top + 1, int(columns[-1]) - left + 1)[np.ix_(rows - top, columns - left)]
        labels = np.where(painted == NOTHING, labels, painted)
    labels[max(0, grid.working_shape[0] - y) :] = NOTHING
    labels[:, max(0, grid.working_shape[1] - x) :] = NOTHING
    return labels
