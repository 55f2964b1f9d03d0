"""Polygons to pixels, by pixel centres."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry


def rasterize(
    geometry: BaseGeometry, shape: tuple[int, int], scale_yx: tuple[float, float] = (1.0, 1.0), origin: tuple[int, int] = (0, 0)
) -> NDArray[np.bool_]:
    """Return which pixels of a window have their centre inside a geometry.

    A centre on a left or upper edge is inside, on a right or lower one outside, so that neighbours share no pixel and leave none out.

    Parameters
    ----------
    geometry : polygons, as (x, y) in level-0 px; points and lines cover nothing
    shape : height and width of the window, px of the raster
    scale_yx : level-0 px per px of the raster
    origin : row and column of the window's first pixel in the raster

    Returns
    -------
    ``shape`` bool
    """
    height, width = shape
    edges = _edges(geometry)  # (E, 4): x1, y1, x2, y2
    if height == 0 or width == 0 or len(edges) == 0:
        return np.zeros(shape, bool)
    # to px of the window, shifted so that pixel centres lie on whole numbers
    edges = edges / np.array([scale_yx[1], scale_yx[0]] * 2) - np.array([origin[1] + 0.5, origin[0] + 0.5] * 2)
    edges = edges[(np.maximum(edges[:, 1], edges[:, 3]) > -1) & (np.minimum(edges[:, 1], edges[:, 3]) < height)]
    if len(edges) == 0:  # as in most bands of a slide
        return np.zeros(shape, bool)
    up = edges[:, 1] > edges[:, 3]
    edges[up] = edges[up][:, [2, 3, 0, 1]]
    first = np.clip(np.ceil(edges[:, 1]), 0, height).astype(np.int64)
    last = np.clip(np.ceil(edges[:, 3]), 0, height).astype(np.int64)  # exclusive
    crossed = np.zeros((height, width + 1), np.uint8)
    for start, stop in _pieces(last - first):
        _cross(crossed, edges[start:stop], first[start:stop], last[start:stop])
    inside: NDArray[np.bool_] = np.bitwise_xor.accumulate(crossed[:, :width], axis=1).astype(bool)
    return inside


def _cross(crossed: NDArray[np.uint8], edges: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
    """Toggle, in each row, the first pixel right of each edge that crosses the row's centre line."""
    counts = last - first
    which = np.repeat(np.arange(len(edges)), counts)
    rows = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    x1, y1, x2, y2 = edges[which].T
    x = x1 + (rows - y1) / (y2 - y1) * (x2 - x1)
    columns = np.clip(np.ceil(x), 0, crossed.shape[1] - 1).astype(np.int64)
    np.bitwise_xor.at(crossed, (rows, columns), 1)


def _pieces(counts: NDArray[np.int64], most: int = 4_000_000) -> list[tuple[int, int]]:
    """Cut edges into runs that cross about `most` rows in all, which bounds memory."""
    if len(counts) == 0:
        return []
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // most)) + 1
    bounds = [0, *cuts.tolist(), len(counts)]
    return [(a, b) for a, b in itertools.pairwise(bounds) if b > a]


def _edges(geometry: BaseGeometry) -> NDArray[np.float64]:
    parts = shapely.get_parts(shapely.get_parts(np.atleast_1d(np.asarray(geometry, dtype=object))))
    parts = parts[shapely.get_type_id(parts) == 3]  # polygons
    coords, ring = shapely.get_coordinates(shapely.get_rings(parts), return_index=True)
    if len(coords) == 0:
        return np.empty((0, 4))
    same = ring[1:] == ring[:-1]
    return np.hstack([coords[:-1][same], coords[1:][same]])
