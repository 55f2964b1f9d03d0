"""What another program marked is brought to the grid of what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from shapely.geometry import box

from napari_ifkd._plugin.compared import DrawnMap, file_candidate
from napari_ifkd._plugin.layers import mask_levels
from napari_ifkd.runs.regions import write_regions
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_read_on_the_grid_it_is_compared_on(drawn_slide: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.geojson"
    with open_slide(drawn_slide) as slide:
        write_regions(marked, {"Tumor": box(32, 32, 160, 96)}, slide)
        for mpp in (1.0, 2.0, 1.0):
            found = file_candidate(marked, slide, tmp_path / "compared", mpp, 0.5, 0.0).found
            assert found.shape == tuple(slide.working_shape(mpp))
            assert int(found.mask(0.5, 0.0).sum().compute()) == 128 * 64 / mpp**2
    assert len(list((tmp_path / "compared").iterdir())) == 2  # the third was there already


def test_what_was_drawn_stays_as_drawn_and_a_probability_follows_the_threshold(drawn_slide: Path, tmp_path: Path) -> None:
    values = np.zeros((256, 320), np.uint8)
    values[40:121, 40:121], values[150:152, 200:203] = 255, 255  # a mask as most programs write it
    tifffile.imwrite(tmp_path / "mask.tif", values, metadata=None)
    ramp = np.broadcast_to(np.arange(320, dtype=np.float32) / 320, (256, 320))
    tifffile.imwrite(tmp_path / "probability.tif", ramp, metadata=None)
    with open_slide(drawn_slide) as slide:
        mask, probability = (
            file_candidate(tmp_path / f"{name}.tif", slide, tmp_path / "compared", 2.0, 0.3, 3.0).found for name in ("mask", "probability")
        )
    shown = [np.asarray(mask_levels(mask, *look)[0]) for look in ((0.3, 3.0), (0.05, 0.0), (0.95, 3.0))]
    assert (shown[0] == shown[1]).all()
    assert (shown[0] == shown[2]).all()
    assert shown[0].sum() * 4 == pytest.approx((values > 0).sum(), rel=0.04)  # px that are half covered count
    areas = [int(np.asarray(mask_levels(probability, threshold, 0.0)[0]).sum()) for threshold in (0.2, 0.5, 0.8)]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) == 3


def test_areas_of_what_was_drawn_stay_at_coarser_levels(tmp_path: Path) -> None:
    """Which large slides are measured at; taking all px that are half covered gave 3 % more."""
    y, x = np.indices((1200, 1600))
    drawn = np.where(np.sin(y / 11) * np.sin(x / 13 + y / 71) > 0.3, 255, 1).astype(np.uint8)
    coarse = np.rint(drawn.reshape(600, 2, 800, 2).mean((1, 3))).astype(np.uint8)
    found = DrawnMap(tmp_path, [drawn, coarse], {"slide": {}, "mpp": 1.0, "scale_yx": [1.0, 1.0]})
    exact, near = (float(np.asarray(found.mask(0.9, 3.0, level)).mean()) for level in (0, 1))
    assert exact == (drawn == 255).mean()
    assert near == pytest.approx(exact, rel=0.003)
