"""A map that was interrupted goes on where it stood, and ends as if nothing had happened."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from napari_ifkd.config import Config, NetworkConfig
from napari_ifkd.errors import Cancelled
from napari_ifkd.events import Progress
from napari_ifkd.inference import predict_map
from napari_ifkd.inference.standing import Keeper
from napari_ifkd.models import build_model

SETTINGS = {"inference.tissue_only": False, "inference.batch": 12, "precision": "float32", "device": "cpu", "threads": 1}
SIZE = (700, 150)  # more rows than a chunk of the map, so that some are on disk and some are not
ROW = 3  # tiles across
HIDDEN = [".slide.zarr.partial", ".slide.zarr.standing"]


@pytest.fixture
def slide(make_slide, tissue_like):
    return make_slide(tissue_like(*SIZE))


@pytest.fixture(autouse=True)
def always_due(monkeypatch):
    """Keep the standing after every row, however long it takes."""
    monkeypatch.setattr(Keeper, "due", True)


class Making:
    """One attempt after the other at one map, counting the tiles that the network sees."""

    def __init__(self, slide, card, out) -> None:
        self.slide, self.card, self.out = slide, card, out
        self.config = Config().replaced(**SETTINGS)
        self.seen: list[int] = []
        self.model = build_model(NetworkConfig(width=0.125), 0)
        self.model.register_forward_pre_hook(lambda module, given: self.seen.append(len(given[0])))

    def go(self, tiles: int = 10**9):
        """Go on until so many tiles were seen in this attempt; returns the map where it was complete."""
        self.seen.clear()
        events = predict_map(
            self.slide, self.model, self.card, self.out, self.config, keep=True, should_stop=lambda: sum(self.seen) >= tiles
        )
        with suppress(Cancelled):
            while True:
                try:
                    next(events)
                except StopIteration as end:
                    return end.value
        return None


@pytest.fixture
def making(slide, card, tmp_path):
    return Making(slide, card, tmp_path / "slide.zarr")


def whole(slide, card, tmp_path, config):
    """Return the map made at one go, and how many tiles that takes."""
    making = Making(slide, card, tmp_path / "whole.zarr")
    making.config = config
    return making.go().read(0, 0, *SIZE), sum(making.seen)


@pytest.mark.parametrize("batch", [3, 5])
def test_it_goes_on_from_the_last_row_wherever_it_stopped(making, slide, card, tmp_path, batch):
    making.config = making.config.replaced(**{"inference.batch": 4 * batch})
    values, tiles = whole(slide, card, tmp_path, making.config)
    assert tiles == 13 * ROW
    for stop in (1, 7, 17, 20, 30, tiles):
        assert making.go(stop) is None
        lost = sum(making.seen)
        found = making.go()
        np.testing.assert_array_equal(found.read(0, 0, *SIZE), values)
        again = lost + sum(making.seen) - tiles
        assert 0 <= again <= (ROW if batch % ROW else 0), f"stopped after {stop} of {tiles} tiles, {again} were predicted twice"
        assert [path.name for path in making.out.parent.glob(".slide*")] == []


def test_it_may_stop_again_and_again(making, slide, card, tmp_path):
    values, tiles = whole(slide, card, tmp_path, making.config)
    seen, attempts, found = 0, 0, None
    while found is None:
        found = making.go(9)
        seen, attempts = seen + sum(making.seen), attempts + 1
    np.testing.assert_array_equal(found.read(0, 0, *SIZE), values)
    assert (attempts, seen) == (5, tiles)


def test_coarse_levels_are_made_anew(making, monkeypatch):
    """Killed among them, a map has levels that are not complete."""
    monkeypatch.setattr("napari_ifkd.inference.map_writer._COARSEST", 200)
    whole = making.go()
    levels = [np.asarray(whole.levels[k]) for k in range(len(whole.levels))]
    assert len(levels) == 3
    whole.path.rename(making.out.with_name("moved.zarr"))
    stopped = predict_map(slide=making.slide, model=making.model, card=making.card, out=making.out, config=making.config, keep=True)
    monkeypatch.setattr("napari_ifkd.inference.map_writer._halve", lambda fine, coarse, check: (_ for _ in ()).throw(Cancelled))
    with pytest.raises(Cancelled):
        list(stopped)
    monkeypatch.undo()
    monkeypatch.setattr("napari_ifkd.inference.map_writer._COARSEST", 200)
    again = making.go()
    assert not making.seen
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(np.asarray(again.levels[k]), level)


def test_progress_goes_on_and_counts_no_speed_for_what_was_there(making):
    making.go(30)
    events = list(predict_map(making.slide, making.model, making.card, making.out, making.config, keep=True))
    first = next(e for e in events if isinstance(e, Progress))
    assert first.done == 33
    assert first.total == 39


@pytest.mark.parametrize("change", ["settings", "weights", "damaged", "aside gone"])
def test_what_was_kept_of_something_else_is_not_taken_up(making, slide, card, change):
    making.go(30)
    assert sorted(path.name for path in making.out.parent.glob(".slide*")) == HIDDEN
    kept = making.out.with_name(HIDDEN[1])
    if change == "settings":
        making.config = making.config.replaced(**{"inference.overlap": 0.3})
    elif change == "weights":
        making.card = making.card.model_copy(update={"weights_sha256": "f" * 64})
    elif change == "damaged":
        kept.write_bytes(kept.read_bytes()[:-100])
    else:
        making.out.with_name(HIDDEN[0]).rename(making.out.with_name("gone"))
    assert making.go(0) is None
    assert not kept.exists()  # it belonged to what lay aside
    making.go()
    assert sum(making.seen) >= 39


def test_nothing_is_kept_where_nobody_asks(making):
    making.seen.clear()
    events = predict_map(making.slide, making.model, making.card, making.out, making.config, should_stop=lambda: sum(making.seen) >= 30)
    with pytest.raises(Cancelled):
        list(events)
    assert list(making.out.parent.glob(".slide*")) == []


def test_keeping_is_seldom_where_it_is_slow(tmp_path, monkeypatch):
    monkeypatch.undo()
    keeper = Keeper(tmp_path / "m.zarr", "x")
    assert keeper.due
    clock = iter([100.0, 100.5, 109.9, 110.6])
    monkeypatch.setattr("napari_ifkd.inference.standing.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("napari_ifkd.inference.standing.fields", lambda standing: [])
    keeper.keep(None)  # takes half a second
    assert not keeper.due
    assert keeper.due  # ten seconds later
