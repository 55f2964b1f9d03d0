"""Reading at a working resolution: exact areas, exact places, no seams, reflection."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_ifkd.slides import open_slide, resample

if TYPE_CHECKING:
    from pathlib import Path


def area_resize(image: np.ndarray, up: int, down: int) -> np.ndarray:
    """Shrink by the ratio down / up: every source pixel split into up x up parts, then means of down x down parts."""
    fine = image.astype(np.float64).repeat(up, axis=0).repeat(up, axis=1)
    height, width = fine.shape[0] // down, fine.shape[1] // down
    return fine[: height * down, : width * down].reshape(height, down, width, down, 3).mean(axis=(1, 3))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (360, 480, 3), dtype=np.uint8)


@pytest.fixture
def plain(tmp_path: Path, image: np.ndarray) -> Path:
    """One stored level, 0.5 um/px, of pure noise: the hardest thing to resample."""
    path = tmp_path / "noise.tif"
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", metadata=None, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    return path


@pytest.mark.parametrize(("mpp", "up", "down"), [(0.5, 1, 1), (1.0, 1, 2), (0.75, 2, 3), (1.25, 2, 5), (0.6, 5, 6)])
def test_working_grid_equals_direct_area_resize(plain: Path, image: np.ndarray, mpp: float, up: int, down: int) -> None:
    expected = area_resize(image, up, down)
    with open_slide(plain) as slide:
        shape = slide.working_shape(mpp)
        assert shape == expected.shape[:2]
        whole = slide.read_working(0, 0, *shape, mpp)
        assert np.abs(whole - expected).max() <= 0.51  # rounding alone
        np.testing.assert_array_equal(slide.read_working(37, 51, 60, 70, mpp), whole[37:97, 51:121])


def test_pyramid_levels_align_with_level_0(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        level0 = slide.levels[0].compute()
        for mpp, up, down in [(1.0, 1, 2), (2.0, 1, 4), (1.5, 1, 3)]:
            whole = slide.read_working(0, 0, *slide.working_shape(mpp), mpp)
            expected = area_resize(level0, up, down)[: whole.shape[0], : whole.shape[1]]
            assert np.abs(whole[: expected.shape[0], : expected.shape[1]] - expected).mean() < 0.6, mpp


def test_centroid_stays_in_place_at_every_resolution(tmp_path: Path) -> None:
    y, x = np.mgrid[:997, :1203]
    spot = 230 - 200 * np.exp(-((y - 411.3) ** 2 + (x - 702.8) ** 2) / (2 * 40**2))
    path = tmp_path / "spot.tif"
    image = np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=2)
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", metadata=None, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    with open_slide(path) as slide:
        for mpp in (0.3, 0.499, 0.5, 0.77, 1.0, 2.3, 4.0):
            got = slide.read_working(0, 0, *slide.working_shape(mpp), mpp)[..., 0]
            weight = 230.0 - got
            rows, columns = np.mgrid[: got.shape[0], : got.shape[1]]
            scale = slide.working_scale(mpp)
            centre_y = ((rows + 0.5) * weight).sum() / weight.sum() * scale[0] - 0.5
            centre_x = ((columns + 0.5) * weight).sum() / weight.sum() * scale[1] - 0.5
            assert (centre_y, centre_x) == pytest.approx((411.3, 702.8), abs=0.2), mpp


def test_a_fractional_origin_shifts_by_fractions(tmp_path: Path) -> None:
    ramp = np.repeat(np.tile(np.arange(200, dtype=np.uint8), (50, 1))[..., None], 3, axis=2)
    path = tmp_path / "ramp.tif"
    tifffile.imwrite(path, ramp, tile=(64, 64), photometric="rgb", metadata=None, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    with open_slide(path) as slide:
        for shift in (0.0, 0.25, 0.5, 1.75):
            got = slide.read_region((8.0, 20.0 + shift), (4, 20), 2.0)[0, :, 0].astype(float)
            np.testing.assert_allclose(got, 21.5 + shift + 4 * np.arange(20), atol=0.51)


@pytest.mark.parametrize(("y0", "x0"), [(-40, -7), (330, 460), (-10, 500), (-900, 2000)])
def test_beyond_the_border_is_reflection(plain: Path, image: np.ndarray, y0: int, x0: int) -> None:
    pad = ((3 * 360, 3 * 360), (5 * 480, 5 * 480), (0, 0))
    expected = np.pad(image, pad, mode="symmetric")[3 * 360 + y0 :, 5 * 480 + x0 :][:50, :64]
    with open_slide(plain) as slide:
        np.testing.assert_array_equal(slide.read_working(y0, x0, 50, 64, 0.5), expected)


def test_large_reads_in_blocks_have_no_seam(plain: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "_BLOCK_ROWS", 70)
    monkeypatch.setattr(resample, "_BLOCK_COLUMNS", 90)
    with open_slide(plain) as slide:
        for mpp, up, down in [(0.75, 2, 3), (1.0, 1, 2), (0.5, 1, 1)]:
            whole = slide.read_working(0, 0, *slide.working_shape(mpp), mpp)
            assert np.abs(whole - area_resize(image, up, down)).max() <= 0.51


def test_finer_than_level_0_is_interpolated_not_blocky(tiny_slide: Path) -> None:
    with open_slide(tiny_slide) as slide:
        fine = slide.read_working(300, 600, 400, 400, 0.25).astype(float)
        coarse = slide.read_working(150, 300, 200, 200, 0.5).astype(float)
    back = fine.reshape(200, 2, 200, 2, 3).mean(axis=(1, 3))
    assert np.abs(back[2:-2, 2:-2] - coarse[2:-2, 2:-2]).mean() < 8
    assert np.abs(np.diff(fine, axis=1)).max() < np.abs(np.diff(coarse, axis=1)).max()


def test_threads_read_the_same(plain: Path) -> None:
    with open_slide(plain) as slide, ThreadPoolExecutor(4) as pool:
        expected = slide.read_working(0, 0, 144, 192, 1.25)
        for got in pool.map(lambda _: slide.read_working(0, 0, 144, 192, 1.25), range(12)):
            np.testing.assert_array_equal(got, expected)


def test_real_slides_against_direct_resize(shared_data: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    with open_slide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        height, width = slide.working_shape(1.0)
        assert (height, width) == (1481, 1108)
        expected = cv2.resize(slide.levels[0].compute(), (width, height), interpolation=cv2.INTER_AREA)
        got = slide.read_working(0, 0, height, width, 1.0)
        assert np.abs(got.astype(int) - expected).max() <= 1
        start = time.perf_counter()
        for y in range(0, 1280, 256):
            slide.read_working(y, 0, 256, width, 1.0)
        assert time.perf_counter() - start < 5  # .3 s on two idle cores
