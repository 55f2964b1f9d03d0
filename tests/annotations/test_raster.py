"""Polygons to pixels, by pixel centres."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from napari_ifkd.annotations import rasterize


def centres(shape, scale_yx=(1, 1), origin=(0, 0)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x + origin[1] + 0.5) * scale_yx[1], (y + origin[0] + 0.5) * scale_yx[0]


@pytest.mark.parametrize("seed", range(20))
def test_equals_asking_every_centre(seed):
    rng = np.random.default_rng(seed)
    rings = [shapely.Polygon(rng.random((rng.integers(3, 12), 2)) * 60 - 5).buffer(0) for _ in range(4)]
    geometry = rings[0].union(rings[1]).symmetric_difference(rings[2]).difference(rings[3].centroid.buffer(3))
    scale, origin = (1.37, 0.83), (3, 7)
    x, y = centres((40, 50), scale, origin)
    wanted = shapely.contains_xy(geometry, x, y)
    np.testing.assert_array_equal(rasterize(geometry, (40, 50), scale, origin), wanted)


def test_windows_fit_together():
    geometry = shapely.Point(50, 40).buffer(33).difference(shapely.Point(55, 40).buffer(11))
    whole = rasterize(geometry, (90, 100))
    parts = [[rasterize(geometry, (30, 25), origin=(y, x)) for x in range(0, 100, 25)] for y in range(0, 90, 30)]
    np.testing.assert_array_equal(np.block(parts), whole)


def test_neighbours_share_no_pixel():
    left, right = shapely.box(0, 0, 2.5, 4), shapely.box(2.5, 0, 5, 4)
    a, b = rasterize(left, (4, 5)), rasterize(right, (4, 5))
    assert (a ^ b).all()


def test_nothing_to_draw():
    for geometry in (shapely.Polygon(), shapely.Point(1, 1), shapely.LineString([(0, 0), (5, 5)])):
        assert not rasterize(geometry, (6, 6)).any()
    assert rasterize(shapely.box(0, 0, 1, 1), (0, 5)).shape == (0, 5)


def test_parts_inside_collections():
    collection = shapely.GeometryCollection([shapely.MultiPolygon([shapely.box(0, 0, 2, 2)]), shapely.Point(5, 5)])
    assert rasterize(collection, (6, 6)).sum() == 4
