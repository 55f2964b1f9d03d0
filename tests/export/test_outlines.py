"""Outlines hold exactly the pixels of the mask, are valid, and know their sums."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

from napari_ifkd.annotations import rasterize
from napari_ifkd.errors import ExportError
from napari_ifkd.export import OutlineTracer, outlines


def trace(mask, values=None, band=7):
    values = np.ones(mask.shape, np.uint8) if values is None else values
    tracer = OutlineTracer(mask.shape[1])
    for y in range(0, len(mask), band):
        tracer.add(mask[y : y + band], values[y : y + band])
    return list(tracer.finish())


@pytest.mark.parametrize("seed", range(40))
def test_noise_of_any_density_round_trips(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 45, 2))
    mask, values = rng.random(shape) < rng.random(), rng.integers(1, 256, shape).astype(np.uint8)
    found = trace(mask, values, int(rng.integers(1, 50)))
    labels, count = ndimage.label(mask)
    polygons = [outline.polygon for outline in found]
    assert len(found) == count  # one each, pixels that touch by a corner apart
    assert all(shapely.is_valid(polygons)) if polygons else count == 0
    np.testing.assert_array_equal(rasterize(shapely.multipolygons(polygons), mask.shape), mask)
    assert [outline.area_px for outline in found] == [polygon.area for polygon in polygons]
    index = np.arange(1, count + 1)
    wanted = sorted(zip(ndimage.sum(mask, labels, index), ndimage.mean(values / 255, labels, index), strict=True)) if count else []
    got = sorted((outline.area_px, outline.mean_probability) for outline in found)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_pieces_of_rows_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    mask, values = ndimage.gaussian_filter(rng.random((200, 90)), 3) > 0.5, rng.integers(0, 256, (200, 90)).astype(np.uint8)
    whole = trace(mask, values, 200)
    monkeypatch.setattr(outlines, "_PIECE_PX", 500)
    assert trace(mask, values, 64) == whole


def test_islands_in_holes_in_islands():
    mask = np.zeros((21, 21), bool)
    for inset in range(0, 10, 2):
        mask[inset : 21 - inset, inset : 21 - inset] = inset % 4 == 0
    found = trace(mask)
    assert [len(outline.polygon.interiors) for outline in found] == [1, 1, 0]
    assert [outline.area_px for outline in found] == [21**2 - 17**2, 13**2 - 9**2, 25]


def test_hole_that_touches_its_shell_at_a_corner():
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    (found,) = trace(mask)
    assert found.polygon.is_valid
    assert len(found.polygon.interiors) == 2


def test_empty_and_full():
    assert trace(np.zeros((5, 6), bool)) == []
    (found,) = trace(np.ones((5, 6), bool))
    assert found.polygon.equals(shapely.box(0, 0, 6, 5))


def test_a_mask_of_noise_is_refused(monkeypatch):
    monkeypatch.setattr(outlines, "MOST_CORNERS", 1000)
    with pytest.raises(ExportError, match=r"too many to outline.*sigma_px"):
        trace(np.random.default_rng(0).random((100, 100)) < 0.5)
