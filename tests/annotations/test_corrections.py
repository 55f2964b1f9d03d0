"""Painted corrections: what is painted comes back, sparsely, and only on its own slide."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_ifkd.annotations.corrections import Corrections
from napari_ifkd.errors import AnnotationError
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ifkd.slides import Slide


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    """Slide of 1300 x 1101 px (x, y) at 0.5 um/px."""
    path = tmp_path / "s.tif"
    image = np.random.default_rng(0).integers(0, 255, (1101, 1300, 3), np.uint8)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER", metadata=None)
    with open_slide(path) as opened:
        yield opened


@pytest.fixture
def corrections(tmp_path: Path, slide: Slide) -> Corrections:
    return Corrections.create(tmp_path / "corrections" / "s.zarr", slide, 0.5)


def files(corrections: Corrections) -> set[str]:
    return {p.relative_to(corrections.path).as_posix() for p in corrections.path.rglob("*") if p.is_file()} - {"zarr.json"}


def test_an_empty_one(corrections: Corrections, slide: Slide) -> None:
    assert corrections.shape == (1101, 1300)
    assert corrections.scale_yx == (1.0, 1.0)
    assert corrections.slide == slide.identity()
    assert corrections.is_empty
    assert corrections.boxes().shape == (0, 4)
    assert corrections.area_mm2() == 0
    assert not corrections.read(-5, -5, 2000, 2000).any()
    assert files(corrections) == set()


def test_strokes_against_a_plain_array(corrections: Corrections) -> None:
    """Random strokes over every border, compared with the same on an array in memory."""
    rng = np.random.default_rng(1)
    expected = np.zeros(corrections.shape, np.uint8)
    for _ in range(25):
        h, w = rng.integers(1, 700, 2)
        y, x = rng.integers(-300, 1200, 2)
        stroke = rng.choice(np.array([0, 1, 2, 255], np.uint8), (h, w), p=[0.1, 0.2, 0.2, 0.5])
        corrections.paint(int(y), int(x), stroke)
        top, left, bottom, right = max(y, 0), max(x, 0), min(y + h, 1101), min(x + w, 1300)
        if bottom > top and right > left:
            part = stroke[top - y : bottom - y, left - x : right - x]
            place = expected[top:bottom, left:right]
            place[part != 255] = part[part != 255]
    again = Corrections.open(corrections.path)
    np.testing.assert_array_equal(again.read(0, 0, 1101, 1300), expected)
    np.testing.assert_array_equal(again.read(500, -3, 30, 40)[:, 3:], expected[500:530, :37])
    assert not again.read(500, -3, 30, 3).any()
    assert again.area_mm2() == pytest.approx((expected > 0).sum() * 0.25e-6)
    assert again.area_mm2(2) == pytest.approx((expected == 2).sum() * 0.25e-6)


def test_only_chunks_with_corrections_are_stored(corrections: Corrections) -> None:
    corrections.paint(510, 1020, np.full((4, 8), 2, np.uint8))  # over the corner of four chunks
    assert corrections.boxes().tolist() == [[0, 512, 512, 512], [0, 1024, 512, 276], [512, 512, 512, 512], [512, 1024, 512, 276]]
    corrections.paint(1024, 0, np.full((2, 2), 1, np.uint8))
    assert corrections.boxes()[-1].tolist() == [1024, 0, 77, 512]
    corrections.paint(500, 1000, np.zeros((50, 50), np.uint8))  # undo
    assert files(corrections) == {"c/2/0"}
    corrections.paint(0, 0, np.full((1101, 1300), 255, np.uint8))  # leaves everything
    assert files(corrections) == {"c/2/0"}
    corrections.paint(0, 0, np.zeros((1101, 1300), np.uint8))
    assert corrections.is_empty
    assert files(corrections) == set()


def test_a_coarser_grid_covers_the_whole_slide(tmp_path: Path, slide: Slide) -> None:
    corrections = Corrections.create(tmp_path / "c.zarr", slide, 2.0)
    assert corrections.shape == slide.working_shape(2.0)
    corrections.paint(0, 0, np.full(corrections.shape, 1, np.uint8))
    assert corrections.area_mm2() == pytest.approx(1101 * 1300 * 0.25e-6)


def test_halves_of_a_write_are_no_corrections(corrections: Corrections) -> None:
    folder = corrections.path / "c" / "0"
    folder.mkdir(parents=True)
    (folder / "1.0123abc.partial").write_bytes(b"half")
    assert corrections.is_empty


def test_other_values_are_refused(corrections: Corrections) -> None:
    with pytest.raises(ValueError, match="0, 1, 2 and 255"):
        corrections.paint(0, 0, np.full((2, 2), 3, np.uint8))
    assert corrections.is_empty


def test_another_slide_is_refused(tmp_path: Path, corrections: Corrections, slide: Slide) -> None:
    corrections.check(slide)
    moved = shutil.copy(slide.path, tmp_path / "renamed.tif")
    with open_slide(moved) as same:
        corrections.check(same)  # it is what is in the file that counts
    tifffile.imwrite(moved, np.zeros((1101, 1300, 3), np.uint8), photometric="rgb", tile=(256, 256))
    with (
        open_slide(moved, mpp=0.5) as other,
        pytest.raises(AnnotationError, match=r"s\.zarr: was painted on another slide \(s\.tif.*renamed"),
    ):
        corrections.check(other)


def test_nothing_is_overwritten(corrections: Corrections, slide: Slide) -> None:
    corrections.paint(3, 3, np.full((2, 2), 1, np.uint8))
    with pytest.raises(AnnotationError, match="there already"):
        Corrections.create(corrections.path, slide, 0.5)
    assert not Corrections.open(corrections.path).is_empty


def test_what_cannot_be_used_is_told(tmp_path: Path, corrections: Corrections, slide: Slide, write_map) -> None:
    with pytest.raises(AnnotationError, match="does not exist"):
        Corrections.open(tmp_path / "none.zarr")
    with pytest.raises(AnnotationError, match="is no folder"):
        Corrections.open(slide.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="holds no corrections"):
        Corrections.open(tmp_path / "empty")
    write_map(tmp_path / "map.zarr", slide)
    with pytest.raises(AnnotationError, match="holds no corrections"):
        Corrections.open(tmp_path / "map.zarr")
    about = corrections.path / "zarr.json"
    data = json.loads(about.read_text())
    for key in ("slide", "scale_yx", "mpp"):
        broken = json.loads(json.dumps(data))
        del broken["attributes"]["napari_ifkd"][key]
        about.write_text(json.dumps(broken))
        with pytest.raises(AnnotationError, match=f"damaged corrections.*{key}"):
            Corrections.open(corrections.path)


def test_damage_is_told_when_read(corrections: Corrections) -> None:
    corrections.paint(0, 0, np.full((600, 600), 2, np.uint8))
    (corrections.path / "c" / "0" / "0").write_bytes(b"\x28\xb5\x2f\xfdnothing")
    with pytest.raises(AnnotationError, match="cannot be read at row 0, column 0"):
        corrections.read(0, 0, 10, 10)
    assert corrections.read(0, 512, 1, 1) == 2
    with pytest.raises(AnnotationError, match="cannot be read"):
        corrections.area_mm2()


def test_a_slide_of_ten_gigapixels_costs_nothing(tmp_path: Path, slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide, "shape_level0", (400_000, 400_000))
    corrections = Corrections.create(tmp_path / "big.zarr", slide, 1.0)
    assert corrections.shape == (200_000, 200_000)
    corrections.paint(150_000, 199_990, np.full((5, 30), 2, np.uint8))
    assert corrections.boxes().tolist() == [[149_504, 199_680, 512, 320]]
    assert corrections.area_mm2() == pytest.approx(50e-6)
    assert sum(p.stat().st_size for p in corrections.path.rglob("*") if p.is_file()) < 20_000
