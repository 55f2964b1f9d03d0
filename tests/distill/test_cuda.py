"""A distillation on a GPU against the same one on the CPU; it runs where there is a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_ifkd.bags import read_patch_masks, read_patches, split_groups
from napari_ifkd.config import Config
from napari_ifkd.distill import distill, evaluate_masks
from napari_ifkd.inference import predict_patches
from napari_ifkd.models import build_model, find_model, load_model, pick_device
from napari_ifkd.slides.phantom import write_phantom_patches

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = Config().replaced(
    **{
        "rounds.rounds": 2,
        "rounds.epochs": 1,
        "rounds.batch": 8,
        "rounds.learning_rate": 1e-4,
        "acceptance.rule": "always",
        "precision": "float32",
    }
)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom_patches(tmp_path_factory.mktemp("cuda") / "patches", 10, 8, seed=3)


def f1_of_distilled(patches: Path, device: str) -> float:
    config = CONFIG.replaced(device=device)
    bags = read_patches(patches, config.tiles)
    train, held = (bags.subset(rows) for rows in split_groups(bags, 0.4, 0))
    teacher, card = load_model(find_model("phantom-teacher"))
    events = distill(teacher, build_model(card.network, 0), train, held, config)
    while True:
        try:
            next(events)
        except StopIteration as end:
            outcome = end.value
            break
    assert outcome.accepted_round == 2
    maps = predict_patches(outcome.model, held.images, device=pick_device(device), precision="float32")
    masks = read_patch_masks(patches)
    return evaluate_masks(maps.astype(np.float32), [masks[name] for name in held.names])["f1"]


def test_the_comparison_is_of_something(patches: Path) -> None:
    assert f1_of_distilled(patches, "cpu") > 0.6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_distils_as_the_cpu_does(patches: Path) -> None:
    assert f1_of_distilled(patches, "cuda") == pytest.approx(f1_of_distilled(patches, "cpu"), abs=0.01)
