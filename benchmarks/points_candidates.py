"""Candidates for ``points.py``: maps of held-out tiles by three stage-1 losses, each after a third, two thirds and all of its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.bags import read_patch_masks, read_patches, split_groups
from napari_ifkd.config import Config
from napari_ifkd.distill import train_teacher
from napari_ifkd.events import EpochDone
from napari_ifkd.inference import predict_patches
from napari_ifkd.models import build_model, seed_everything

if TYPE_CHECKING:
    from pathlib import Path

LOSSES = ("topk-bce", "const-dice", "gm-bce")
EPOCHS = 12
SHOWN = (4, 8, 12)
HELD_OUT = 0.3  # of the groups
NOISE: dict[str, dict[str, Any]] = {"apart": {"stage1.noise": {"stain": 0.15, "paste": 0.0}}, "near": {}}
"""Two sets of candidates. Disturbed as stage 1 is by default, they are nearer to one another than the choice is to be tried on."""


def make_candidates(patches: Path, folder: Path, noise: dict[str, Any]) -> None:
    """Train, and write ``{loss}-{epoch}.npy`` (N, H, W) float16 and ``truth.npz`` of the held-out tiles.

    Parameters
    ----------
    patches : patch folder with masks, which score and answer, and train nothing
    folder : where they go
    noise : settings of how stage 1 is disturbed
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = Config().replaced(
        **{"network.width": 0.25, "stage1.epochs": EPOCHS, "stage1.learning_rate": 1e-3, "precision": "bf16", "threads": 1}, **noise
    )
    bags = read_patches(patches, settings.tiles)
    learnt, held = (bags.subset(part) for part in split_groups(bags, HELD_OUT, 0))
    masks = read_patch_masks(patches)
    for seed, loss in enumerate(LOSSES):
        own = settings.replaced(**{"stage1.loss": loss, "seed": seed})
        seed_everything(seed)
        model = build_model(own.network, seed)
        for event in train_teacher(learnt, held, model, own):
            if isinstance(event, EpochDone) and event.epoch in SHOWN:
                np.save(folder / f"{loss}-{event.epoch:02d}.npy", predict_patches(model, held.images, batch=8, precision="bf16"))
                model.train()
                print(f"{loss}: epoch {event.epoch} of {EPOCHS}", flush=True)
    truth = np.stack([masks[name] for name in held.names])
    np.savez_compressed(folder / "truth.npz", truth=truth, labels=held.labels, groups=held.groups)  # last: it says that all is there
