"""Tiles with corrected pixels: which, with what label, and each hint at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from shapely import box

from napari_ifkd.annotations.corrections import Corrections
from napari_ifkd.annotations.points import Point
from napari_ifkd.bags.hints import Hints, hinted_bags
from napari_ifkd.config import TileConfig
from napari_ifkd.errors import AnnotationError, Cancelled
from napari_ifkd.slides import open_slide, tile_grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_ifkd.slides import Slide

SIZE = 32
TILES = TileConfig(size_px=SIZE, mpp=1.0)
HEIGHT, WIDTH = 385, 630  # working px at 1 um/px: the last tiles reach beyond the border


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    """Slide of 1260 x 770 px (x, y) at 0.5 um/px."""
    path = tmp_path_factory.mktemp("slide") / "s.tif"
    image = np.random.default_rng(0).integers(0, 255, (2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", resolution=(2e4, 2e4), resolutionunit="CENTIMETER", metadata=None)
    with open_slide(path) as opened:
        yield opened


@pytest.fixture
def corrections(tmp_path: Path, slide: Slide) -> Corrections:
    return Corrections.create(tmp_path / "s.zarr", slide, 1.0)


def hints_of(slide: Slide, corrections: Corrections | None = None, points: tuple[Point, ...] = (), **options: Any) -> Hints:
    found = hinted_bags(slide, options.pop("tiles", TILES), corrections, points, options.pop("radius_um", 4.0), **options)
    assert found is not None
    return found


def whole(hints: Hints, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Put the tiles' labels back in their places; whatever lies beyond the slide must be 0."""
    assert hints.bags.origins is not None
    size = hints.labels.shape[1]
    canvas = np.zeros((shape[0] + size, shape[1] + size), np.uint8)
    for (y, x), labels in zip(hints.bags.origins, hints.labels, strict=True):
        canvas[y : y + size, x : x + size] = labels
    assert not canvas[shape[0] :].any()
    assert not canvas[:, shape[1] :].any()
    return canvas[: shape[0], : shape[1]]


def test_every_painted_pixel_is_in_its_place(slide: Slide, corrections: Corrections) -> None:
    rng = np.random.default_rng(1)
    for _ in range(12):
        y, x, h, w = *rng.integers(-20, (HEIGHT, WIDTH)), *rng.integers(1, 60, 2)
        corrections.paint(int(y), int(x), np.full((h, w), rng.integers(1, 3), np.uint8))
    hints = hints_of(slide, corrections)
    np.testing.assert_array_equal(whole(hints), corrections.read(0, 0, HEIGHT, WIDTH))
    grid = tile_grid(slide, 1.0, SIZE)
    places = [tuple(o) for o in grid.origins]
    assert {tuple(o) for o in hints.bags.origins} == {  # the tiles of the regular grid that hold any, in its order
        (y, x) for y, x in places if corrections.read(y, x, SIZE, SIZE).any()
    }
    assert [places.index(tuple(o)) for o in hints.bags.origins] == sorted(places.index(tuple(o)) for o in hints.bags.origins)
    for image, (y, x), name in zip(hints.bags.images, hints.bags.origins, hints.bags.names, strict=True):
        np.testing.assert_array_equal(image, slide.read_working(int(y), int(x), SIZE, SIZE, 1.0))
        assert name == f"s.tif@{y},{x}"
    assert (set(hints.bags.groups), hints.bags.mpp, hints.bags.source) == ({"s.tif"}, 1.0, "s.tif")


def test_a_bag_is_negative_only_if_all_of_it_is_normal(slide: Slide, corrections: Corrections) -> None:
    corrections.paint(0, 0, np.full((SIZE, SIZE), 1, np.uint8))  # all normal
    corrections.paint(0, SIZE, np.full((SIZE, SIZE - 1), 1, np.uint8))  # a column is not known
    corrections.paint(0, 2 * SIZE, np.full((SIZE, SIZE), 1, np.uint8))
    corrections.paint(5, 2 * SIZE + 5, np.full((1, 1), 2, np.uint8))  # one px tumour
    corrections.paint(384, 608, np.full((1, 22), 1, np.uint8))  # all that lies inside the slide
    hints = hints_of(slide, corrections)
    assert {tuple(o): int(label) for o, label in zip(hints.bags.origins, hints.bags.labels, strict=True)} == {
        (0, 0): 0,
        (0, SIZE): 1,
        (0, 2 * SIZE): 1,
        (384, 608): 0,
    }


@pytest.mark.parametrize("mpp", [0.5, 2.0, 1.3])
def test_other_resolutions_by_the_nearest_pixel(tmp_path: Path, slide: Slide, mpp: float) -> None:
    corrections = Corrections.create(tmp_path / "other.zarr", slide, mpp)
    corrections.paint(0, 0, np.random.default_rng(2).integers(0, 3, corrections.shape, dtype=np.uint8))
    painted = corrections.read(0, 0, *corrections.shape)
    ys, xs = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip((HEIGHT, WIDTH), painted.shape, strict=True))  # whole numbers: exact
    expected = painted[np.ix_(ys, xs)]
    np.testing.assert_array_equal(whole(hints_of(slide, corrections)), expected)


def test_points_are_discs_in_micrometres(slide: Slide) -> None:
    points = (Point("s.tif", 200.4, 100.8, "tumour"), Point("s.tif", 1258.9, 769, "normal"), Point("other.tif", 5, 5, "tumour"))
    labels = whole(hints_of(slide, None, points, radius_um=6.0))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[np.hypot(y - 50.4, x - 100.2) <= 6] = 2
    expected[np.hypot(y - 384.5, x - 629.45) <= 6] = 1
    assert (expected == 1).any()
    np.testing.assert_array_equal(labels, expected)


def test_a_point_over_tile_borders_hints_all_of_them(slide: Slide) -> None:
    hints = hints_of(slide, None, (Point("s.tif", 2 * 64, 2 * 64, "tumour"),))
    assert hints.bags.origins.tolist() == [[32, 32], [32, 64], [64, 32], [64, 64]]
    assert (hints.bags.labels == 1).all()


def test_a_tiny_disc_is_the_pixel_of_its_point(slide: Slide) -> None:
    labels = whole(hints_of(slide, None, (Point("s.tif", 129.9, 63.1, "normal"),), radius_um=0.01))
    assert np.argwhere(labels).tolist() == [[31, 64]]


def test_the_nearer_point_counts_and_the_later_of_two_answers(slide: Slide) -> None:
    first, second = Point("s.tif", 200, 100, "tumour"), Point("s.tif", 208, 100, "normal")
    for points in ((first, second), (second, first)):
        row = whole(hints_of(slide, None, points))[50, 94:110]
        assert row.tolist() == [0, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0]
    labels = whole(hints_of(slide, None, (first, Point("s.tif", 200, 100, "normal"))))
    assert set(np.unique(labels)) == {0, 1}


def test_unsure_and_unpainted_are_no_hints(slide: Slide, corrections: Corrections) -> None:
    assert hinted_bags(slide, TILES, corrections, [Point("s.tif", 9, 9, "unsure")], 4.0) is None
    assert hinted_bags(slide, TILES, None, [], 4.0) is None
    corrections.paint(7, 7, np.full((9, 9), 2, np.uint8))
    corrections.paint(7, 7, np.zeros((9, 9), np.uint8))
    assert hinted_bags(slide, TILES, corrections, [], 4.0) is None


def test_paint_wins_over_a_point(slide: Slide, corrections: Corrections) -> None:
    corrections.paint(50, 100, np.full((1, 2), 1, np.uint8))
    labels = whole(hints_of(slide, corrections, (Point("s.tif", 200, 101, "tumour"),)))
    assert labels[50, 97:104].tolist() == [2, 2, 2, 1, 1, 2, 2]
    assert labels[51, 100] == 2


def test_excluded_tiles_are_left_out(slide: Slide, corrections: Corrections) -> None:
    corrections.paint(0, 0, np.full((10, 3 * SIZE), 2, np.uint8))
    hints = hints_of(slide, corrections, exclusion=box(70, 40, 74, 44))  # level-0 px: in the second tile, beside the paint
    assert hints.bags.origins.tolist() == [[0, 0], [0, 2 * SIZE]]
    assert hinted_bags(slide, TILES, corrections, [], 4.0, box(0, 0, 300, 300)) is None


def test_no_more_than_max_tiles_by_a_seeded_draw(slide: Slide, corrections: Corrections) -> None:
    corrections.paint(0, 0, np.full((HEIGHT, WIDTH), 1, np.uint8))
    corrections.paint(0, 0, np.full((2 * SIZE, 5 * SIZE), 2, np.uint8))
    few = TileConfig(size_px=SIZE, max_tiles=20)
    hints, again, other = (hints_of(slide, corrections, tiles=few, seed=seed) for seed in (0, 0, 1))
    assert (hints.bags.positives, hints.bags.negatives) == (10, 10)
    assert hints.bags.names == again.bags.names != other.bags.names
    assert (hints.labels == np.where(hints.bags.labels > 0, 2, 1)[:, None, None])[:, :1, :1].all()


def test_what_does_not_belong_is_refused(slide: Slide, corrections: Corrections, drawn_slide: Path) -> None:
    with open_slide(drawn_slide) as other, pytest.raises(AnnotationError, match="another slide"):
        hinted_bags(other, TILES, corrections, [], 4.0)
    with pytest.raises(AnnotationError, match="beside the slide"):
        hinted_bags(slide, TILES, None, [Point("s.tif", 1260, 5, "tumour")], 4.0)
    hints = hints_of(slide, None, (Point("s.tif", 9, 9, "tumour"),))
    with pytest.raises(ValueError, match="do not fit"):
        Hints(hints.bags, hints.labels[:, :5])


def test_it_stops_when_asked(slide: Slide, corrections: Corrections) -> None:
    corrections.paint(0, 0, np.full((HEIGHT, WIDTH), 1, np.uint8))
    for allowed in (0, 5, 15):
        asked = iter(range(1000))
        with pytest.raises(Cancelled):
            hinted_bags(slide, TILES, corrections, [], 4.0, should_stop=lambda asked=asked, allowed=allowed: next(asked) >= allowed)  # type: ignore[misc]
