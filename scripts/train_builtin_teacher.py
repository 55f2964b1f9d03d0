"""Train the built-in teacher: VGG-MIL at half width, on phantom patches, from image-level labels only.

It is kept modest on purpose (few patches, few epochs): distillation is to have something to gain.
Makes the patches (their masks are never read), trains stage 1 with its default loss and writes
``src/napari_ifkd/models/weights/phantom-teacher.safetensors``. About three minutes on two cores.
Run: ``python scripts/train_builtin_teacher.py``; ``scripts/check_phantom.py`` then scores it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from napari_ifkd.bags import read_patches, split_groups
from napari_ifkd.config import Config
from napari_ifkd.distill import train_teacher
from napari_ifkd.events import EpochDone, Warned
from napari_ifkd.models import ModelCard, build_model, describe_device, pick_device, save_model
from napari_ifkd.slides import write_phantom_patches

WEIGHTS = Path(__file__).parent.parent / "src" / "napari_ifkd" / "models" / "weights" / "phantom-teacher.safetensors"


def main() -> int:
    """Make patches, train, save; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--patches", type=Path, help="folder of phantom patches made before; without it they are made")
    parser.add_argument("--number", type=int, default=256, help="patches of each class")
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    config = Config().replaced(**{"stage1.epochs": options.epochs, "seed": options.seed, "device": options.device})
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tiles = config.tiles
        folder = options.patches or write_phantom_patches(
            Path(scratch) / "patches", options.number, options.number, options.seed, tiles.size_px, tiles.mpp
        )
        bags = read_patches(folder, tiles)
    print(
        f"{len(bags.labels)} patches of {len(set(bags.groups))} phantoms after {time.perf_counter() - started:.0f} s; "
        f"{describe_device(pick_device(config.device))}",
        flush=True,
    )
    train, held = split_groups(bags, tiles.validation_share, config.seed)
    model = build_model(config.network, seed=config.seed)
    for event in train_teacher(bags.subset(train), bags.subset(held), model, config):
        if isinstance(event, EpochDone | Warned):
            print(event, flush=True)
    card = ModelCard(
        name="phantom-teacher",
        network=config.network,
        mpp=tiles.mpp,
        tile_px=tiles.size_px,
        normalisation=model.normalisation,
        domain="phantom",
        trained_on=f"{len(train)} patches of drawn phantom slides, image-level labels only",
        licence="BSD-3-Clause",
        notes=f"stage-1 loss {config.stage1.loss}, {options.epochs} epochs, seed {config.seed}; made by scripts/train_builtin_teacher.py",
    )
    save_model(options.out, model, card)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB after {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
