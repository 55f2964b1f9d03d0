"""What another program marked is brought to the grid of what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapely.geometry import box

from napari_ifkd._plugin.compared import file_candidate
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
