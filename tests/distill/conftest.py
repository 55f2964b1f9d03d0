"""Tiny bags and networks, on which training takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_ifkd.bags import Bags
from napari_ifkd.config import Config, NetworkConfig
from napari_ifkd.models import MILModel, build_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def make_bags(count: int = 16, size: int = 32, seed: int = 0) -> Bags:
    """Make bags whose positives have a dark purple half."""
    rng = np.random.default_rng(seed)
    images = np.clip(np.array([222, 160, 196]) + rng.normal(0, 12, (count, size, size, 3)), 0, 255)
    labels = (np.arange(count) % 2).astype(np.int8)
    dark = np.clip(np.array([110, 70, 150]) + rng.normal(0, 12, (count, size, size // 2, 3)), 0, 255)
    images[labels > 0, :, size // 2 :] = dark[labels > 0]
    groups = np.array([f"{seed}_g{i // 4}" for i in range(count)])
    return Bags(images.astype(np.uint8), labels, groups, [f"{seed}_{i}.png" for i in range(count)], 1.0, "made up")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small run several times faster on one thread, above all where other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def train() -> Bags:
    return make_bags(16, seed=0)


@pytest.fixture
def val() -> Bags:
    return make_bags(8, seed=1)


@pytest.fixture
def config() -> Config:
    return Config().replaced(
        **{
            "network.width": 0.125,
            "stage1.epochs": 3,
            "stage1.batch": 8,
            "rounds.rounds": 2,
            "rounds.epochs": 2,
            "rounds.batch": 8,
            "device": "cpu",
            "precision": "float32",
        }
    )


@pytest.fixture
def network() -> Callable[[int], MILModel]:
    return lambda seed: build_model(NetworkConfig(width=0.125), seed)
