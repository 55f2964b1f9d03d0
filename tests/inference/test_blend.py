"""Blending holds one band and leaves no trace of the tiles."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ifkd.inference.blend import BandBlender, blend_window
from napari_ifkd.inference.reader import spans


@pytest.mark.parametrize(("size", "overlap"), [(32, 8), (33, 7), (16, 8), (10, 0)])
def test_windows_of_neighbours_sum_to_one(size, overlap):
    window = blend_window(size, overlap)
    assert (window > 0).all()
    if overlap:
        np.testing.assert_allclose(window[-overlap:] + window[:overlap], 1, atol=1e-6)


def test_constant_tiles_give_a_constant_map_and_gaps_stay_empty():
    blender = BandBlender((70, 50), 16, 4)
    rows = []
    for y in (0, 12, 36):  # a row of tiles left out
        rows += list(blender.finish(y))
        for x in range(0, 50, 12):
            blender.add(y, x, np.full((16, 16), 0.4, np.float32))
    rows += list(blender.finish(70))
    values = np.vstack(rows)
    assert values.shape == (70, 50)
    assert set(np.unique(values[:28])) == {102}
    assert set(np.unique(values[36:52])) == {102}
    assert not values[28:36].any()
    assert not values[52:].any()


def test_zero_probability_is_not_glass():
    blender = BandBlender((8, 8), 8, 0)
    blender.add(0, 0, np.zeros((8, 8), np.float32))
    assert (np.vstack(list(blender.finish(8))) == 1).all()


def test_tiles_of_a_row_are_read_together():
    origins = np.array([(0, 0), (0, 96), (0, 192), (0, 400), (96, 0), (96, 96)])
    assert list(spans(origins, 128)) == [(0, [0, 96, 192]), (0, [400]), (96, [0, 96])]
    assert list(spans(origins, 128, span_px=230)) == [(0, [0, 96]), (0, [192]), (0, [400]), (96, [0, 96])]
    assert list(spans(np.empty((0, 2), int), 128)) == []
