"""Phantom slides: the same pixels however they are made, tumour in the right amount, files that open as slides."""

from __future__ import annotations

import csv
import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import tifffile

from napari_ifkd.errors import SlideError
from napari_ifkd.slides import open_slide
from napari_ifkd.slides.phantom import phantom_field, write_phantom, write_phantom_patches
from napari_ifkd.slides.phantom_noise import hash01, layered, layered_at, noise, noise_at
from napari_ifkd.slides.phantom_plan import make_plan, outline
from napari_ifkd.slides.phantom_tissue import survey

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT = 4300, 1000  # five levels


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("phantom")
    truth = folder / "truth.tiff"
    return write_phantom(folder / "phantom.tiff", WIDTH, HEIGHT, seed=4, truth=truth), truth


def test_pixels_do_not_depend_on_the_cut():
    whole = phantom_field(4, (600, 800), (300, 500), width=WIDTH, height=HEIGHT)
    part = phantom_field(4, (700, 1000), (100, 70), width=WIDTH, height=HEIGHT)
    assert np.array_equal(whole.rgb[100:200, 200:270], part.rgb)
    assert np.array_equal(whole.truth[100:200, 200:270], part.truth)


def test_blocks_meet_without_a_seam():
    rgb = phantom_field(4, (0, 900), (1024, 248), width=WIDTH, height=HEIGHT).rgb.astype(np.int16)
    step = np.abs(np.diff(rgb, axis=1)).mean(axis=(0, 2))  # between neighbouring columns
    assert step[123] < 1.25 * np.median(step)  # columns 1023 and 1024 belong to two blocks


def test_seeds_differ_and_repeat():
    first, again, other = (phantom_field(s, (500, 500), (64, 64), width=1024, height=1024).rgb for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("size", [(3072.0, 4096.0), (512.0, 640.0), (20000.0, 45000.0)])
def test_tumour_takes_its_share_of_the_tissue(seed: int, size: tuple[float, float]):
    plan = make_plan(seed, *size)
    step = max(2.0, min(size) / 500)
    tissue = tumour = 0
    for y in np.linspace(0, size[0], 6)[:-1]:
        for x in np.linspace(0, size[1], 6)[:-1]:
            ground = survey(plan, y + np.arange(0.5, 25) * step, x + np.arange(0.5, 25) * step)
            tissue += int((ground.tissue > 0).sum())
            tumour += int((ground.nest > 0).sum())
    assert 0.12 < tumour / tissue < 0.5


def test_glass_surrounds_the_tissue():
    plan = make_plan(0, 3072.0, 4096.0)
    edge = outline(plan, np.arange(1.0, 3072, 20), np.array([1.0, 4095.0]))
    assert (edge < 0).mean() > 0.95
    assert (outline(plan, np.arange(1.0, 3072, 20), np.arange(1.0, 4096, 20)) > 0).mean() > 0.35


def test_an_overview_shows_white_glass_and_stained_tissue(written: tuple[Path, Path]):
    with open_slide(written[0]) as slide:
        small = slide.thumbnail(256)
    spread = np.ptp(small.astype(np.int16), axis=2)
    assert (small.min(axis=2) > 225).mean() > 0.1
    assert (spread > 30).mean() > 0.25


def test_file_opens_as_a_slide_at_its_resolution(written: tuple[Path, Path]):
    with open_slide(written[0]) as slide:
        assert slide.shape_level0 == (HEIGHT, WIDTH)
        assert slide.mpp == pytest.approx(0.5, rel=1e-3)
        assert slide.is_phantom
        read = slide.read_region((600, 700), (256, 300), 0.5)
    drawn = phantom_field(4, (600, 700), (256, 300), width=WIDTH, height=HEIGHT).rgb
    assert np.abs(read.astype(np.int16) - drawn).mean() < 12  # JPEG


def test_truth_is_a_label_pyramid_in_register(written: tuple[Path, Path]):
    with tifffile.TiffFile(written[1]) as tif:
        levels = [level.asarray() for level in tif.series[0].levels]
        assert tif.pages[0].is_tiled
    drawn = phantom_field(4, (600, 700), (256, 300), width=WIDTH, height=HEIGHT).truth
    assert np.array_equal(levels[0][600:856, 700:1000], drawn)
    assert [level.shape for level in levels] == [(1000, 4300), (500, 2150), (250, 1075), (125, 538), (63, 269)]
    assert all(set(np.unique(level)) <= {0, 1} for level in levels)
    for level in levels[1:]:
        assert level.mean() == pytest.approx(levels[0].mean(), abs=0.02)


def test_levels_show_the_same_place(written: tuple[Path, Path]):
    with tifffile.TiffFile(written[0]) as tif:
        levels = [level.asarray() for level in tif.series[0].levels]
    for finer, coarser in pairwise(levels):
        size = (coarser.shape[1], coarser.shape[0])
        assert np.abs(cv2.resize(finer, size, interpolation=cv2.INTER_AREA).astype(np.int16) - coarser).mean() < 9


def test_writing_twice_gives_the_same_bytes(tmp_path: Path):
    digests = {hashlib.sha256(write_phantom(tmp_path / f"{k}.tiff", 600, 300, seed=9).read_bytes()).hexdigest() for k in range(2)}
    assert len(digests) == 1


def test_nothing_is_left_behind_when_writing_stops(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "p.tiff", 300, 300, truth=tmp_path / "t.tiff", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_blocks(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    write_phantom(tmp_path / "p.tiff", 1100, 200, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_other_resolutions(tmp_path: Path, mpp: float):
    with open_slide(write_phantom(tmp_path / "p.tiff", 500, 400, seed=2, mpp=mpp)) as slide:
        assert slide.mpp == pytest.approx(mpp, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "word"), [({"width": 0}, "0 x"), ({"mpp": 8.0}, "um/px"), ({"seed": -1}, "seed"), ({"height": 10**6}, "px")]
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, change: dict[str, float], word: str):
    with pytest.raises(SlideError, match=word):
        write_phantom(tmp_path / "p.tiff", **{"width": 300, "height": 300, **change})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SlideError, match="cannot be written"):
        write_phantom(tmp_path / "file" / "p.tiff", 300, 300)


def test_patches_carry_image_labels_that_match_the_truth(tmp_path: Path):
    folder = write_phantom_patches(tmp_path / "patches", 6, 5, seed=3)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["label"] for row in rows) == ["0"] * 5 + ["1"] * 6
    assert len({row["group"] for row in rows}) > 1
    for row in rows:
        image, mask = (
            cv2.imread(str(folder / "images" / row["file"])),
            cv2.imread(str(folder / "masks" / row["file"]), cv2.IMREAD_GRAYSCALE),
        )
        assert image.shape == (128, 128, 3)
        assert row["mpp"] == "1.0"
        assert (mask.mean() / 255 >= 0.015) == (row["label"] == "1")


def test_patches_that_cannot_be_cut_are_refused(tmp_path: Path):
    with pytest.raises(SlideError, match="cannot cut"):
        write_phantom_patches(tmp_path, 0, 0, seed=0)


def test_hash_is_uniform_and_belongs_to_its_cell():
    iy, ix = np.mgrid[-50:50, -50:50]
    values = hash01(3, 7, iy, ix)
    assert abs(values.mean() - 0.5) < 0.02
    assert len(np.unique(values)) == values.size
    assert hash01(3, 7, np.array([-4]), np.array([11]))[0] == values[46, 61]
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.04


def test_noise_is_the_same_on_a_grid_and_at_points():
    ys, xs = np.linspace(-40, 300, 30), np.linspace(1e5, 1e5 + 200, 20)
    y, x = (a.ravel() for a in np.meshgrid(ys, xs, indexing="ij"))
    assert np.allclose(noise(1, 2, ys, xs, 37.0).ravel(), noise_at(1, 2, y, x, 37.0), atol=1e-4)
    assert np.allclose(layered(1, 2, ys, xs, 37.0, 3).ravel(), layered_at(1, 2, y, x, 37.0, 3), atol=1e-4)
