"""Places lie on tissue, and maps are read where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely

from napari_ifkd.evidence import Place, draw_places, probability_at
from napari_ifkd.inference import smooth
from napari_ifkd.slides import find_tissue, open_slide

if TYPE_CHECKING:
    from pathlib import Path


class _Map:
    """A map of 2 level-0 px a pixel (y) and 4 (x), in memory."""

    scale_yx = (2.0, 4.0)

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def smoothed(self, y0: int, x0: int, height: int, width: int, sigma_px: float) -> np.ndarray:
        return smooth(self.values, sigma_px)[y0 : y0 + height, x0 : x0 + width]


def test_places_are_uniform_over_tissue(drawn_slide: Path) -> None:
    with open_slide(drawn_slide) as slide:
        places, area = draw_places([slide], 4000, seed=0)
        tissue = find_tissue(slide)
        again, other = (draw_places([slide], 4000, seed=seed).places for seed in (0, 1))
    assert len(places) == 4000
    assert area == pytest.approx(1e6 * tissue.area_mm2)
    assert places == again != other
    assert {place.slide for place in places} == {"tiny.tif"}
    scale = tissue.scale_yx
    assert all(tissue.mask[int(p.y / scale[0]), int(p.x / scale[1])] for p in places)
    right = np.mean([p.x >= 160 for p in places])
    cut = round(160 / scale[1])
    assert right == pytest.approx(tissue.mask[:, cut:].sum() / tissue.mask.sum(), abs=0.03)


def test_what_is_excluded_has_no_places_and_no_area(drawn_slide: Path) -> None:
    right = shapely.box(160, 0, 320, 256)
    with open_slide(drawn_slide) as slide:
        whole = draw_places([slide], 3000, seed=0)
        places, area = draw_places([slide], 3000, seed=0, exclusions={slide.name: right})
        none, nothing = draw_places([slide], 50, seed=0, exclusions={slide.name: shapely.box(0, 0, 320, 256)})
    assert len(places) == 3000
    assert max(place.x for place in places) <= 160
    kept = sum(place.x < 160 for place in whole.places) / 3000
    assert area == pytest.approx(whole.area_um2 * kept, rel=0.06)
    assert (none, nothing) == ([], 0)


def test_glass_has_no_places(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "glass.tif"
    tifffile.imwrite(path, np.full((256, 256, 3), 244, np.uint8), photometric="rgb", tile=(128, 128))
    with open_slide(path) as slide:
        assert draw_places([slide], 10, seed=0).places == []


@pytest.mark.parametrize("sigma_px", [0.0, 2.0])
def test_maps_are_read_where_the_places_lie(sigma_px: float) -> None:
    values = np.random.default_rng(0).random((700, 1100)).astype(np.float32)  # several blocks
    maps = {"a": _Map(values), "b": _Map(values[::-1].copy())}
    places = [Place("a", 0, 0), Place("b", 4399.9, 1399.9), Place("a", 4 * 513 + 3.9, 2 * 511 + 1.9), Place("b", 2000, 1000)]
    crowd = [(y, x) for y in range(100, 108, 2) for x in range(200, 208, 2)]  # in one block
    places += [Place("a", 4 * x + 1, 2 * y + 1) for y, x in crowd]
    found = probability_at(places, maps, sigma_px)
    cells = [("a", 0, 0), ("b", 699, 1099), ("a", 511, 513), ("b", 500, 500), *(("a", y, x) for y, x in crowd)]
    np.testing.assert_allclose(found, [smooth(maps[name].values, sigma_px)[y, x] for name, y, x in cells], atol=1e-6)
