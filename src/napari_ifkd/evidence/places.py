"""Places on slides: where the frame's pixels lie, and what maps say there."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

from napari_ifkd.slides import find_tissue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.inference import MapSource
    from napari_ifkd.slides import Slide, Tissue

_BLOCK_PX = 512  # of a map, read at once
_FEW = 5  # places in a block up to which reading around each of them is faster
_MOST_DRAWN = 20  # times as many as wanted, where nearly all tissue is excluded


class Place(NamedTuple):
    """A place on a slide."""

    slide: str
    x: float  # level-0 px
    y: float


class Drawn(NamedTuple):
    """Places drawn uniformly, and what they stand for."""

    places: list[Place]
    area_um2: float | None  # of the tissue; None where a slide has no resolution


def draw_places(slides: Sequence[Slide], count: int, seed: int, exclusions: Mapping[str, BaseGeometry] | None = None) -> Drawn:
    """Draw places uniformly over the tissue of all slides; the same ones whatever the candidates are.

    Parameters
    ----------
    slides : each counts by the area of its tissue, in um where all have a resolution, else in level-0 px
    count : places wanted
    seed : of the draw
    exclusions : (x, y) in level-0 px, by the slide's name; not drawn from, and not counted

    Returns
    -------
    places, fewer only where no slide holds tissue, or hardly any is left
    """
    rng = np.random.default_rng(seed)
    tissues = [find_tissue(slide) for slide in slides]
    areas = np.array([float(t.mask.sum()) * t.scale_yx[0] * t.scale_yx[1] for t in tissues])
    sides = [slide.mpp for slide in slides]
    if measured := all(sides):
        areas *= np.square(np.array(sides, np.float64))
    places: list[Place] = []
    drawn = 0
    while areas.sum() and len(places) < count and drawn < _MOST_DRAWN * count:
        for slide, tissue, wanted in zip(slides, tissues, rng.multinomial(count, areas / areas.sum()), strict=True):
            x, y = _inside(tissue, slide.shape_level0, wanted, rng)
            if exclusions and slide.name in exclusions:
                kept = ~shapely.contains_xy(exclusions[slide.name], x, y)
                x, y = x[kept], y[kept]
            places += [Place(slide.name, a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        drawn += count
    area = float(areas.sum()) * (len(places) / drawn if drawn else 1.0)
    # a later draw goes through the slides again, so cutting the end off would favour the first ones
    few = places if len(places) <= count else [places[k] for k in sorted(rng.choice(len(places), count, replace=False))]
    return Drawn(few, area if measured else None)


def _inside(
    tissue: Tissue, shape: tuple[int, int], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw x and y in the tissue, level-0 px."""
    if not count:
        return np.zeros(0), np.zeros(0)
    rows, columns = np.nonzero(tissue.mask)
    cell = rng.integers(len(rows), size=count)
    y = np.minimum((rows[cell] + rng.random(count)) * tissue.scale_yx[0], shape[0] - 1)
    x = np.minimum((columns[cell] + rng.random(count)) * tissue.scale_yx[1], shape[1] - 1)
    return x, y


def probability_at(places: Sequence[Place], maps: Mapping[str, MapSource], sigma_px: float) -> NDArray[np.float32]:
    """Read what a candidate's maps say at places, smoothed as its mask will be.

    Parameters
    ----------
    places : on slides that have a map
    maps : of one candidate, by file name of the slide
    sigma_px : Gaussian, px of the map

    Returns
    -------
    ``(n,)`` in [0, 1]; 0 where nobody looked
    """
    found = np.zeros(len(places), np.float32)
    blocks: dict[tuple[str, int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for number, place in enumerate(places):
        source = maps[place.slide]
        height, width = source.shape
        row = min(int(place.y / source.scale_yx[0]), height - 1)
        column = min(int(place.x / source.scale_yx[1]), width - 1)
        blocks[place.slide, row // _BLOCK_PX, column // _BLOCK_PX].append((number, row % _BLOCK_PX, column % _BLOCK_PX))
    for (slide, down, right), inside in blocks.items():
        source = maps[slide]
        y0, x0 = down * _BLOCK_PX, right * _BLOCK_PX
        if len(inside) <= _FEW:
            for number, row, column in inside:
                found[number] = source.smoothed(y0 + row, x0 + column, 1, 1, sigma_px)[0, 0]
            continue
        window = source.smoothed(y0, x0, min(_BLOCK_PX, source.shape[0] - y0), min(_BLOCK_PX, source.shape[1] - x0), sigma_px)
        numbers, rows, columns = np.array(inside).T
        found[numbers] = window[rows, columns]
    return found
