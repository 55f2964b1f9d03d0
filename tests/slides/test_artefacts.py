"""Pen, folds and blur are suggested where they are, and hardly anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import shapely
import tifffile

from napari_ifkd.errors import Cancelled, SlideError
from napari_ifkd.slides import open_slide, phantom_field
from napari_ifkd.slides.artefacts import find_artefacts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 1536


@pytest.fixture(scope="module")
def clean() -> NDArray[np.uint8]:
    return phantom_field(5, (1000, 1400), (SIDE, SIDE), 1.0).rgb


def write(path: Path, image: NDArray[np.uint8], mpp: float | None = 1.0) -> Path:
    options: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, photometric="rgb", tile=(256, 256), metadata=None, **options)
    return path


def found_on(path: Path) -> dict[str, shapely.Geometry]:
    with open_slide(path) as slide:
        found = find_artefacts(slide)
    return {kind: shapely.union_all([one.geometry for one in found if one.kind == kind]) for kind in ("pen", "fold", "blur")}


def test_clean_tissue_has_none(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    assert all(geometry.is_empty for geometry in found_on(write(tmp_path / "clean.tif", clean)).values())


def test_pen_is_found_where_it_was_drawn(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    for colour in ((20, 40, 170), (10, 120, 60), (15, 15, 15)):
        image = clean.copy()
        cv2.line(image, (300, 400), (1500, 900), colour, 60)
        stroke = shapely.LineString([(300, 400), (1500, 900)]).buffer(30)
        found = found_on(write(tmp_path / "pen.tif", image))
        assert found["pen"].intersection(stroke).area > 0.9 * stroke.area
        assert found["pen"].area < 2.2 * stroke.area
        assert found["blur"].is_empty


def test_a_fold_is_found_where_tissue_lies_upon_tissue(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    image = clean.astype(np.float32) / 245
    band = np.zeros((SIDE, SIDE), np.uint8)
    cv2.line(band, (700, 600), (1200, 1400), 1, 70)
    shifted = np.roll(image, 90, axis=1)
    folded = np.where(band[..., None] > 0, image * shifted * 0.8, image)
    found = found_on(write(tmp_path / "fold.tif", np.clip(245 * folded, 0, 255).astype(np.uint8)))
    fold = shapely.LineString([(700, 600), (1200, 1400)]).buffer(35)
    assert found["fold"].intersection(fold).area > 0.6 * fold.area
    assert found["fold"].area < 2.5 * fold.area


def test_blur_is_found_where_the_scan_was_out_of_focus(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    image = clean.copy()
    image[600:1200, 500:1100] = cv2.GaussianBlur(image, (0, 0), 4)[600:1200, 500:1100]
    found = found_on(write(tmp_path / "blur.tif", image))
    out_of_focus = shapely.box(500, 600, 1100, 1200)
    assert found["blur"].intersection(out_of_focus).area > 0.5 * out_of_focus.area
    assert found["blur"].difference(out_of_focus.buffer(128)).is_empty
    assert found["pen"].is_empty


@pytest.mark.parametrize("corner", [(600, 500), (640, 580), (690, 650)])
def test_a_small_patch_out_of_focus_is_found_wherever_it_lies(clean: NDArray[np.uint8], tmp_path: Path, corner: tuple[int, int]) -> None:
    (top, left), side = corner, 260  # um, as px
    image = clean.copy()
    image[top : top + side, left : left + side] = cv2.GaussianBlur(image, (0, 0), 6)[top : top + side, left : left + side]
    found = found_on(write(tmp_path / "blur.tif", image))
    out_of_focus = shapely.box(left, top, left + side, top + side)
    assert found["blur"].intersection(out_of_focus).area > 0.3 * out_of_focus.area
    assert found["blur"].difference(out_of_focus.buffer(64)).is_empty


def test_blur_is_found_in_its_place_on_a_slide_of_any_size(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    width = SIDE - 70  # not a number of squares
    image = clean[:, :width].copy()
    image[:, -400:] = cv2.GaussianBlur(image, (0, 0), 4)[:, -400:]
    found = found_on(write(tmp_path / "blur.tif", image))
    out_of_focus = shapely.box(width - 400, 0, width, SIDE)
    assert found["blur"].intersection(out_of_focus).area > 0.6 * out_of_focus.area
    assert found["blur"].difference(out_of_focus.buffer(96)).is_empty


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "luad_mosaic.tif", "kidney-48-5.tif", "TCGA-CR-7395-01A-01-TS1.svs"])
def test_real_tissue_in_focus_has_hardly_any(name: str, shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / name, 0.5 if name.startswith(("kidney", "TCGA")) else None) as slide:
        area = sum(one.geometry.area for one in find_artefacts(slide))
        assert area < 0.01 * slide.shape_level0[0] * slide.shape_level0[1]


def test_it_stops_when_asked_and_needs_a_resolution(clean: NDArray[np.uint8], tmp_path: Path) -> None:
    with open_slide(write(tmp_path / "clean.tif", clean)) as slide, pytest.raises(Cancelled):
        find_artefacts(slide, lambda: True)
    with open_slide(write(tmp_path / "unknown.tif", clean, None)) as slide, pytest.raises(SlideError, match="resolution"):
        find_artefacts(slide)


def test_glass_alone_has_none(tmp_path: Path) -> None:
    glass = np.full((512, 512, 3), 244, np.uint8)
    assert all(geometry.is_empty for geometry in found_on(write(tmp_path / "glass.tif", glass)).values())
