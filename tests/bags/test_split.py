"""Splits: by whole groups, or by blocks of a single slide with a margin."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ifkd.bags import Bags, split_groups
from napari_ifkd.errors import BagError


def bags_of(labels: np.ndarray, groups: np.ndarray, origins: np.ndarray | None = None, size: int = 8) -> Bags:
    count = len(labels)
    images = np.zeros((count, size, size, 3), np.uint8)
    return Bags(images, labels.astype(np.int8), groups.astype(str), [str(i) for i in range(count)], 1.0, "made up", origins)


def slide_of(rows: int, columns: int, size: int = 8) -> Bags:
    origins = np.stack(np.meshgrid(np.arange(rows) * size, np.arange(columns) * size, indexing="ij"), -1).reshape(-1, 2)
    labels = origins[:, 1] >= columns * size // 2
    return bags_of(labels, np.full(len(labels), "slide"), origins, size)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_whole_and_classes_shared_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 25, 400)
    labels = rng.random(400) < 0.1 + 0.8 * (groups % 3 == 0)
    train, val = split_groups(bags_of(labels, groups), 0.2, seed)
    assert sorted([*train, *val]) == list(range(400))
    assert not set(groups[train]) & set(groups[val])
    for kind in (True, False):
        assert (labels[val] == kind).sum() / (labels == kind).sum() == pytest.approx(0.2, abs=0.06)


def test_the_seed_decides() -> None:
    groups = np.repeat(np.arange(40), 5)
    bags = bags_of(np.arange(200) % 2, groups)
    a, b, c = (split_groups(bags, 0.2, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_two_groups_of_one_class_each_leave_training_bags_of_both_where_possible() -> None:
    groups = np.array([0, 0, 1, 1, 2, 2])
    labels = np.array([1, 1, 0, 0, 1, 0])
    train, _ = split_groups(bags_of(labels, groups), 0.2, 0)
    assert set(labels[train]) == {0, 1}


def test_a_single_class_splits_too() -> None:
    train, val = split_groups(bags_of(np.ones(20), np.arange(20)), 0.2, 0)
    assert (len(train), len(val)) == (16, 4)


def test_one_group_without_places_cannot_be_split() -> None:
    with pytest.raises(BagError, match="belong to one group \\('tile'\\)"):
        split_groups(bags_of(np.arange(6) % 2, np.full(6, "tile")), 0.2, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(20, 20), (8, 30), (30, 8)])
def test_one_slide_is_split_into_blocks_with_a_margin(shape: tuple[int, int], seed: int) -> None:
    bags = slide_of(*shape)
    train, val = split_groups(bags, 0.2, seed)
    distance = np.abs(bags.origins[train][:, None] - bags.origins[val][None]).max(-1)
    assert distance.min() == 16, "one tile lies between"
    assert 0.1 < len(val) / len(bags) < 0.35
    assert len(train) > 0.5 * len(bags)
    assert set(bags.labels[train]) == set(bags.labels[val]) == {0, 1}


def test_too_small_a_slide_is_refused() -> None:
    with pytest.raises(BagError, match="too few"):
        split_groups(slide_of(2, 2), 0.2, 0)
