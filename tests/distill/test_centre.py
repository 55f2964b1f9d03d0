"""Centring: the threshold is Otsu's, moved maps part there, and certain pixels stay certain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu

from napari_ifkd.distill.centre import histogram, moved, otsu, shift_of
from napari_ifkd.distill.map_store import MapStore


def two_humps(low: float, high: float, count: int = 40_000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = np.concatenate([rng.normal(low, 0.5, count), rng.normal(high, 0.5, count)])
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def test_the_threshold_is_that_of_all_pixels() -> None:
    values = two_humps(0.5, 3.0)
    assert otsu(histogram(torch.from_numpy(values))) == pytest.approx(threshold_otsu(values), abs=1 / 128)


def test_maps_of_a_teacher_that_marks_everything_are_parted_between_their_humps() -> None:
    values = two_humps(0.8, 3.5)
    assert (values >= 0.5).mean() > 0.9
    store = MapStore(np.arange(4), 6, (100, 200), torch.device("cpu"))
    store.put(np.arange(4), torch.from_numpy(np.random.default_rng(1).permutation(values)).view(4, 100, 200))
    shift = shift_of(store, np.arange(4))
    assert shift > 0.8
    assert (moved(store.get(np.arange(4)), shift) >= 0.5).float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_moving_is_a_shift_in_logits_and_keeps_what_is_certain() -> None:
    maps = torch.tensor([0.0, 0.1, 0.5, 0.7, 0.95, 1.0])
    out = moved(maps, 1.2)
    torch.testing.assert_close(out[1:5].logit(), maps[1:5].logit() - 1.2)
    assert out[0] == 0
    assert out[-1] == 1
    assert torch.equal(moved(maps, 0.0), maps)


def test_maps_of_one_value_are_left_alone() -> None:
    assert otsu(histogram(torch.full((10, 10), 0.8))) == 0.5
    assert otsu(histogram(torch.zeros(0))) == 0.5


def test_the_threshold_stays_where_a_person_would_see_two_classes() -> None:
    values = torch.cat([torch.full((1000,), 0.001), torch.full((1000,), 0.03)])
    assert otsu(histogram(values)) == 0.1
    store = MapStore(np.arange(1), 1, (2000,), torch.device("cpu"))
    store.put(np.arange(1), values[None])
    assert shift_of(store, np.arange(1)) == pytest.approx(math.log(0.1 / 0.9))
