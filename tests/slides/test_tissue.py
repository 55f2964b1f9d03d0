"""Tissue: found on glass, never in padding, ink or the dark, and measured right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_ifkd.slides import Tissue, find_tissue, open_slide
from napari_ifkd.slides.tissue import classify

if TYPE_CHECKING:
    from pathlib import Path

GLASS, PINK, PURPLE = (243, 243, 243), (226, 150, 190), (128, 82, 160)
PENS = {
    "blue": (30, 60, 180),
    "light blue": (70, 120, 210),
    "violet": (50, 50, 150),
    "green": (20, 120, 70),
    "red": (200, 30, 40),
    "black": (25, 25, 30),
}


def section() -> tuple[np.ndarray, np.ndarray]:
    """Draw an overview: one H&E section on glass, and its truth."""
    y, x = np.mgrid[:200, :300]
    truth = (y - 100) ** 2 + (x - 150) ** 2 < 70**2
    image = np.full((200, 300, 3), GLASS, float)
    image[truth & (x < 150)] = PINK
    image[truth & (x >= 150)] = PURPLE
    image += np.random.default_rng(0).normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8), truth


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_section_on_glass() -> None:
    image, truth = section()
    mask, reason = classify(image)
    assert iou(mask, truth) > 0.95
    assert reason == "tissue on white glass"


def test_stained_glass_and_dim_light_do_not_matter() -> None:
    image, truth = section()
    for light in ((0.95, 0.92, 0.9), (0.85, 0.85, 0.85)):
        assert iou(classify((image * np.array(light)).astype(np.uint8))[0], truth) > 0.93, light


def test_black_padding_is_background() -> None:
    image, truth = section()
    image[:, :110] = 0
    image[170:] = 0
    seen = truth & (image.max(axis=2) > 0)
    mask, reason = classify(image)
    assert reason == "tissue on white glass"
    assert not mask[image.max(axis=2) == 0].any()
    assert iou(mask, seen) > 0.9


@pytest.mark.parametrize("pen", PENS)
def test_pen_marks_are_no_tissue(pen: str) -> None:
    image, truth = section()
    ink = np.zeros(truth.shape, bool)
    ink[20:26] = ink[95:101] = ink[185:192] = True
    through = (image / 255.0) ** 0.3  # a pen dims what lies below it
    image[ink] = (through[ink] * np.array(PENS[pen])).astype(np.uint8)
    mask, _ = classify(image)
    assert mask[ink].mean() < 0.02
    assert iou(mask, truth & ~ink) > 0.85


def test_only_ink_only_glass_only_black() -> None:
    glass = np.full((100, 100, 3), GLASS, np.uint8)
    assert classify(glass)[1] == "no tissue found: nothing but bright glass"
    inked = glass.copy()
    inked[40:50] = PENS["blue"]
    assert classify(inked)[1] == "no tissue found: only ink"
    assert "black throughout" in classify(np.zeros_like(glass))[1]


def test_grey_dust_and_shadow_are_no_tissue() -> None:
    image, truth = section()
    image[5:15, 5:60] = (150, 150, 152)
    image[180:185] = (215, 215, 216)
    mask, _ = classify(image)
    assert iou(mask, truth) > 0.95


def test_tissue_that_fills_the_picture() -> None:
    image = np.full((100, 100, 3), PURPLE, float) + np.random.default_rng(0).normal(0, 10, (100, 100, 1))
    mask, reason = classify(image.astype(np.uint8))
    assert mask.all()
    assert "all over" in reason


def test_fluorescence_in_any_colour_is_not_tissue_on_glass() -> None:
    y, x = np.mgrid[:200, :300]
    light = np.exp(-((y - 100) ** 2 + (x - 150) ** 2) / 3000)[..., None]
    for colour in ((0, 0, 255), (0, 220, 0), (230, 30, 30), (30, 200, 240)):
        image = (light * np.array(colour) + 3).clip(0, 255).astype(np.uint8)
        mask, reason = classify(image)
        assert not mask.any()
        assert reason == "no tissue found: black background, looks like fluorescence"


def test_area_and_place_on_a_slide(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        tissue = find_tissue(slide)
    disc_px = np.pi * 250**2
    assert tissue.found
    assert tissue.area_mm2 == pytest.approx(disc_px * 0.25e-6, rel=0.06)
    rows, columns = np.nonzero(tissue.mask)
    assert (rows.mean() + 0.5) * tissue.scale_yx[0] == pytest.approx(384, abs=4)
    assert (columns.mean() + 0.5) * tissue.scale_yx[1] == pytest.approx(512, abs=4)
    assert tissue.share((334, 462), (100, 100)) == 1
    assert tissue.share((0, 0), (80, 80)) == 0
    assert tissue.share((0, 0), (768, 1024)) == pytest.approx(disc_px / (768 * 1024), rel=0.06)


def test_share_is_exact_and_subtract_keeps_the_rest() -> None:
    mask = np.random.default_rng(0).random((40, 60)) > 0.5
    tissue = Tissue(mask, (10.0, 12.5), True, "drawn", 4.0)
    fine = mask.repeat(20, axis=0).repeat(25, axis=1)  # half level-0 px
    for y, x, h, w in [(0, 0, 400, 750), (33, 71, 55, 90), (5.5, 0.5, 1, 1), (390, 700, 100, 100)]:
        box = fine[int(2 * y) : int(2 * (y + h)), int(2 * x) : int(2 * (x + w))]
        assert tissue.share((y, x), (h, w)) == pytest.approx(box.mean(), abs=1e-9)
    assert tissue.share((-50, -50), (20, 20)) == 0
    left = np.zeros_like(mask)
    left[:, :30] = True
    rest = tissue.subtract(left)
    assert rest.share((0, 0), (400, 375)) == 0
    assert rest.area_mm2 == pytest.approx(4.0 * mask[:, 30:].sum() / mask.sum())
    none = tissue.subtract(np.ones_like(mask))
    assert (none.found, none.area_mm2) == (False, 0.0)
    assert "excluded" in none.reason
    with pytest.raises(ValueError, match="shape"):
        tissue.subtract(mask[:5])


@pytest.mark.parametrize(
    ("name", "mpp", "low", "high"),
    [
        ("CMU-1-Small-Region.svs", None, 0.33, 0.42),
        ("TCGA-CR-7395-01A-01-TS1.svs", 0.25, 0.6, 0.7),
        ("luad_mosaic.tif", None, 0.28, 0.37),
    ],
)
def test_real_sections(shared_data: Path, name: str, mpp: float | None, low: float, high: float) -> None:
    with open_slide(shared_data / "slides" / name, mpp=mpp) as slide:
        tissue = find_tissue(slide)
    assert tissue.reason == "tissue on white glass"
    assert low < tissue.mask.mean() < high


def test_mosaic_keeps_its_tumour_and_leaves_its_glass(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "luad_mosaic.tif") as slide:
        tissue = find_tissue(slide)
        glass = slide.levels[0].compute().min(axis=2) > 240
    tumour = tifffile.imread(shared_data / "slides" / "luad_mosaic_mask.tif") > 0
    blocks = (tissue.mask.shape[0], 8, tissue.mask.shape[1], 8)
    assert tissue.mask[tumour.reshape(blocks).all(axis=(1, 3))].mean() > 0.99
    assert tissue.mask[glass.reshape(blocks).all(axis=(1, 3))].mean() < 0.01


def test_real_fluorescence_and_grey(shared_data: Path) -> None:
    with open_slide(shared_data / "slides" / "fluorescence-40x.ndpi") as slide:
        tissue = find_tissue(slide)
    assert (tissue.found, tissue.area_mm2) == (False, 0.0)
    assert "fluorescence" in tissue.reason
    with open_slide(shared_data / "slides" / "kidney-48-5.tif") as slide:
        assert find_tissue(slide).area_mm2 is None
