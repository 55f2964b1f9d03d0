"""Bags from a slide: labels by score and by regions, exclusion, the draw, and what is said when a class is rare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

from napari_ifkd.annotations import Region, Regions
from napari_ifkd.bags import count_region_tiles, slide_bags
from napari_ifkd.config import TileConfig
from napari_ifkd.errors import BagError
from napari_ifkd.events import Progress
from napari_ifkd.slides import Tissue

SIZE = 32
TILES = TileConfig(size_px=SIZE, mpp=1.0)


class FakeSlide:
    """Slide of 640 x 384 working px (x, y) at two level-0 px a working px; each pixel tells its place."""

    name = "fake.tif"
    shape_level0 = (768, 1280)

    def working_shape(self, mpp: float) -> tuple[int, int]:
        return 384, 640

    def working_scale(self, mpp: float) -> tuple[float, float]:
        return 2.0, 2.0

    def read_working(self, y0: int, x0: int, h: int, w: int, mpp: float) -> np.ndarray:
        y, x = np.mgrid[y0 : y0 + h, x0 : x0 + w]
        return np.stack([y % 251, x % 251, (y + x) % 251], -1).astype(np.uint8)


class FakeMap:
    """Map of the same slide at `step` level-0 px a map px; a third of the columns each at 0.9, 0.5 and 0.1."""

    def __init__(self, values: tuple[float, ...] = (0.9, 0.5, 0.1), step: float = 2.0) -> None:
        self.scale_yx = (step, step)
        shape = round(768 / step), round(1280 / step)
        columns = np.minimum(np.arange(shape[1]) * len(values) // shape[1], len(values) - 1)
        self.array = np.broadcast_to(np.rint(np.array(values)[columns] * 255).astype(np.uint8), shape).copy()

    def read(self, y0: int, x0: int, height: int, width: int) -> np.ndarray:
        assert y0 >= 0
        assert x0 >= 0
        return self.array[y0 : y0 + height, x0 : x0 + width]


TISSUE = Tissue(np.ones((48, 80), bool), (16.0, 16.0), True, "all tissue", None)


def run(probability_map: Any = None, tiles: TileConfig = TILES, tissue: Tissue = TISSUE, **options: Any) -> tuple[Any, list[str], list]:
    """Make bags; return them, the notes and the events."""
    generator = slide_bags(FakeSlide(), tissue, probability_map or FakeMap(), tiles, options.pop("seed", 0), **options)
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return *end.value, events


def regions(**named: Polygon | MultiPolygon) -> Regions:
    return Regions(tuple(Region(geometry, name, name) for name, geometry in named.items()))


def centres(bags: Any) -> np.ndarray:
    return bags.origins[:, 1] + SIZE / 2


@pytest.mark.parametrize("step", [1.0, 2.0, 4.0])
def test_score_labels_and_uncertain_ones_are_left_out(step: float) -> None:
    bags, notes, events = run(FakeMap(step=step))
    assert bags.images.shape[1:] == (SIZE, SIZE, 3)
    assert (centres(bags)[bags.labels == 1] < 640 / 3 + SIZE).all()
    assert (centres(bags)[bags.labels == 0] > 2 * 640 / 3 - SIZE).all()
    assert bags.positives >= 12 * 6
    assert bags.negatives >= 12 * 6
    assert not notes
    assert {e.stage for e in events if isinstance(e, Progress)} == {"scoring tiles", "reading tiles"}
    assert (bags.mpp, bags.source, set(bags.groups)) == (1.0, "fake.tif", {"fake.tif"})


def test_images_are_those_of_their_places() -> None:
    bags, _, _ = run()
    for image, (y, x) in zip(bags.images, bags.origins, strict=True):
        np.testing.assert_array_equal(image, FakeSlide().read_working(y, x, SIZE, SIZE, 1.0))


def test_score_is_the_mean_of_the_highest_third() -> None:
    probability = FakeMap((0.1,))
    probability.array[:, 0 : SIZE // 2] = 255  # half of the first column of tiles
    bags, _, _ = run(probability)
    assert set(bags.origins[bags.labels == 1, 1]) == {0}


def test_regions_override_the_teacher() -> None:
    weak = regions(tumour=box(960, 0, 1280, 768), normal=box(0, 0, 320, 768))  # level-0 px: just where the teacher says otherwise
    bags, notes, _ = run(regions=weak)
    assert (bags.labels[centres(bags) < 160] == 0).all()
    assert (bags.labels[centres(bags) > 480] == 1).all()
    assert "by your regions" in notes[0]


def test_a_tile_that_a_tumour_touches_is_never_negative() -> None:
    weak = regions(tumour=box(1000, 0, 1010, 768))
    bags, _, _ = run(regions=weak)
    touched = (bags.origins[:, 1] * 2 < 1010) & ((bags.origins[:, 1] + SIZE) * 2 > 1000)
    assert not touched.any()


def test_normal_must_hold_the_whole_tile() -> None:
    bags, _, _ = run(regions=regions(normal=box(0, 0, 40, 768)))
    assert (bags.labels[bags.origins[:, 1] == 0] == 1).all()


def test_excluded_tiles_are_left_out() -> None:
    exclusion = box(100, 100, 110, 110)
    bags, _, _ = run(exclusion=exclusion)
    assert [1 * SIZE, 1 * SIZE] not in bags.origins.tolist()
    assert [0, 0] in bags.origins.tolist()


def test_the_draw_is_seeded_and_balanced() -> None:
    tiles = TileConfig(size_px=SIZE, max_tiles=20)
    bags, notes, _ = run(tiles=tiles)
    again, _, _ = run(tiles=tiles)
    other, _, _ = run(tiles=tiles, seed=1)
    assert (bags.positives, bags.negatives) == (10, 10)
    assert np.array_equal(bags.origins, again.origins)
    assert not np.array_equal(bags.origins, other.origins)
    assert "20 of" in notes[0]


def test_undecided_tiles_fill_a_rare_class_and_it_is_said() -> None:
    bags, notes, _ = run(FakeMap((0.65, 0.35)))
    assert bags.positives
    assert bags.negatives
    assert (bags.labels[centres(bags) < 320] == 1).all()
    for label, name in ((1, "positive"), (0, "negative")):
        (note,) = [note for note in notes if f" of it {name} for sure" in note]
        assert note.endswith(f"count as {name} too, {(bags.labels == label).sum()} in all")


def test_no_positives_are_made_up() -> None:
    bags, notes, _ = run(FakeMap((0.1, 0.3)))
    assert bags.positives == 0
    assert any("no positive tiles" in note for note in notes)


def test_no_negatives_are_made_up() -> None:
    bags, notes, _ = run(FakeMap((0.9, 0.95)))
    assert bags.negatives == 0
    assert any("no negative tiles" in note for note in notes)


def test_what_the_teacher_did_not_look_at_is_left_out() -> None:
    probability = FakeMap((0.9, 0.1))
    probability.array[:, :320] = 0
    bags, _, _ = run(probability)
    assert bags.positives == 0
    probability.array[:] = 0
    with pytest.raises(BagError, match="looked at none"):
        run(probability)


def test_no_tissue_is_an_error() -> None:
    empty = Tissue(np.zeros((48, 80), bool), (16.0, 16.0), False, "no tissue found: black background", None)
    with pytest.raises(BagError, match=r"fake.tif: holds no tile.*black background"):
        run(tissue=empty)


def test_the_tiles_of_regions_are_counted_as_they_are_cut() -> None:
    marks = regions(tumour=box(10, 10, 500, 400), normal=box(600, 0, 1280, 700))
    without = box(100, 100, 140, 140)
    generator = slide_bags(FakeSlide(), TISSUE, None, TILES, 0, marks, without)
    try:
        while True:
            next(generator)
    except StopIteration as end:
        bags, _ = end.value
    counted = count_region_tiles(FakeSlide(), TISSUE, TILES, marks, without)
    assert counted == (bags.positives, bags.negatives)
    assert min(counted) > 20
    assert count_region_tiles(FakeSlide(), TISSUE, TILES, marks)[0] > counted[0]
    assert count_region_tiles(FakeSlide(), TISSUE, TILES, regions(tumour=box(0, 0, 20, 20))) == (0, 0)
