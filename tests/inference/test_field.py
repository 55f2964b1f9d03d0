"""A field predicted at once is what a map of the whole slide says there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely

from napari_ifkd.config import Config, load_config
from napari_ifkd.errors import Cancelled, SlideError
from napari_ifkd.inference import field, predict_map
from napari_ifkd.inference.field import FieldPredictor
from napari_ifkd.models import load_model
from napari_ifkd.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def config(drawn_config: Path) -> Config:
    return load_config(drawn_config).replaced(**{"inference.overlap": 0.25, "inference.batch": 4})


@pytest.fixture
def fields(drawn_slide: Path, drawn_teacher: Path, config: Config) -> Iterator[FieldPredictor]:
    model, card = load_model(drawn_teacher)
    with open_slide(drawn_slide) as slide:
        yield FieldPredictor(slide, model, card, config)


@pytest.fixture
def whole(fields: FieldPredictor, drawn_teacher: Path, config: Config, tmp_path: Path) -> Any:
    model, card = load_model(drawn_teacher)
    steps = predict_map(fields.slide, model, card, tmp_path / "m.zarr", config)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return np.asarray(end.value.levels[0]).astype(int)


@pytest.mark.parametrize("box", [(0, 0, 320, 256), (100, 60, 220, 190), (-50, 130, 90, 400)])
def test_a_small_field_is_the_map_of_the_slide_there(fields: FieldPredictor, whole: Any, box: tuple[float, float, float, float]) -> None:
    (part,) = fields.parts(box)
    assert not part.coarse
    assert part.scale_yx == (1.0, 1.0)
    (y, x), (height, width) = part.origin_yx, part.values.shape
    assert np.abs(part.values.astype(int) - whole[y : y + height, x : x + width]).max() <= 1
    inside = np.zeros(whole.shape, bool)
    inside[y : y + height, x : x + width] = True
    left, top, right, bottom = (int(v) for v in box)
    rest = np.zeros(whole.shape, bool)
    rest[max(0, top) : bottom, max(0, left) : right] = True
    assert not whole[rest & ~inside].any()  # nothing that the map knows is missing


def test_a_large_field_comes_coarse_first(fields: FieldPredictor, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field, "AT_ONCE_PX", 20_000)
    first, *bands = fields.parts((0, 0, 320, 256))
    assert first.coarse
    assert first.scale_yx[0] == pytest.approx(3, rel=0.02)
    assert first.values.size <= 20_000
    assert len(bands) >= 4
    assert first.to_come == len(bands)
    assert [part.to_come for part in bands] == list(reversed(range(len(bands))))
    made = np.zeros(whole.shape, int)
    for part in bands:
        assert not part.coarse
        (y, x), (height, width) = part.origin_yx, part.values.shape
        window = made[y : y + height, x : x + width]
        np.maximum(window, part.values, out=window)
    assert np.abs(made - whole).max() <= 1
    monkeypatch.setattr(field, "MOST_PX", 30_000)
    assert [part.coarse for part in fields.parts((0, 0, 320, 256))] == [True]


def test_what_is_excluded_is_not_looked_at(fields: FieldPredictor) -> None:
    (part,) = fields.parts((0, 0, 320, 256), shapely.box(192, 64, 256, 128))
    y, x = part.origin_yx
    assert not part.values[64 - y : 128 - y, 192 - x : 256 - x].any()
    assert part.values[140 - y : 200 - y, 192 - x : 256 - x].all()


def test_it_stops_and_says_where_there_is_nothing(fields: FieldPredictor) -> None:
    with pytest.raises(Cancelled):
        list(fields.parts((0, 0, 320, 256), should_stop=lambda: True))
    with pytest.raises(SlideError, match="beside"):
        list(fields.parts((400, 0, 500, 100)))
    with pytest.raises(SlideError, match="no tissue is in the field"):
        list(fields.parts((0, 0, 20, 20)))
