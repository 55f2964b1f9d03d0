"""Folds: a third of the groups is held out for the test, a different one for each of three seeds."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_ifkd.bags import Bags, read_patch_masks, read_patches, split_groups
from napari_ifkd.config import TileConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FOLDS = 3


@dataclass(frozen=True)
class Fold:
    """The patch folders of a seed, and how many they hold.

    Parameters
    ----------
    path : with train/ (no masks), supervised/ (the same with masks) and test/ (with masks)
    train_images, validation_images, test_images, train_groups, test_groups : numbers; validation is part of train/
    size_px : side of the images
    """

    path: Path
    train_images: int
    validation_images: int
    test_images: int
    train_groups: int
    test_groups: int
    size_px: int

    def steps_of_epoch(self, batch: int) -> int:
        """Return the steps of one epoch."""
        return -(-(self.train_images - self.validation_images) // batch)


def third_of(groups: NDArray[np.str_], labels: NDArray[np.int8], seed: int) -> NDArray[np.bool_]:
    """Choose the test images of a seed: whole groups, about a third of the positives and of the negatives.

    Seeds 0, 1 and 2 hold out three thirds that share no group; so do 3, 4 and 5, of another draw; and so on.
    """
    names, inverse = np.unique(groups, return_inverse=True)
    sizes = np.stack([np.bincount(inverse, kind) for kind in (labels > 0, labels <= 0)], 1).astype(np.float64)  # (G, 2)
    shares = sizes / np.maximum(sizes.sum(0), 1)
    order = np.random.default_rng([seed // FOLDS, 2407]).permutation(len(names))
    order = order[np.argsort(-shares[order].max(1), kind="stable")]  # the large first, so that the small ones can even out
    filled, third = np.zeros((FOLDS, 2)), np.zeros(len(names), np.int64)
    for group in order:
        third[group] = int(np.argmin((((filled + np.eye(FOLDS)[:, :, None] * shares[group]) ** 2).sum(-1)).sum(1)))
        filled[third[group]] += shares[group]
    return np.asarray(third[inverse] == seed % FOLDS)


def make_fold(source: Path, path: Path, seed: int, shrink: int) -> Fold:
    """Make the patch folders of a seed, or read what is there.

    Parameters
    ----------
    source : patch folder with masks
    path : where the fold goes
    seed : of the fold and of the split of validation groups
    shrink : images and masks are averaged over squares of so many px; the resolution changes with it
    """
    about = path / "fold.json"
    if not about.is_file():
        bags, masks = read_patches(source, TileConfig()), read_patch_masks(source)
        test = third_of(bags.groups, bags.labels, seed)
        train = np.flatnonzero(~test)
        _write(bags, masks, train, source, path / "train", shrink, with_masks=False)
        _write(bags, masks, train, source, path / "supervised", shrink, with_masks=True)
        _write(bags, masks, np.flatnonzero(test), source, path / "test", shrink, with_masks=True)
        held = split_groups(bags.subset(train), TileConfig().validation_share, seed)[1]
        groups = [len(np.unique(bags.groups[rows])) for rows in (~test, test)]
        size = bags.images.shape[1] // shrink
        fold = Fold(path, len(train), len(held), int(test.sum()), *groups, size)
        about.write_text(json.dumps({k: v for k, v in asdict(fold).items() if k != "path"}, indent=2) + "\n", encoding="utf-8")
    return Fold(path, **json.loads(about.read_text(encoding="utf-8")))


def _write(
    bags: Bags, masks: dict[str, NDArray[np.bool_]], rows: NDArray[np.intp], source: Path, path: Path, shrink: int, *, with_masks: bool
) -> None:
    images = path / "images"
    original = source / "images" if (source / "images").is_dir() else source
    table = [("file", "label", "group", "mpp")]
    for row in rows:
        name = bags.names[row]
        target = (images / name).with_suffix(".png") if shrink > 1 else images / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if shrink > 1:
            Image.fromarray(np.rint(_block_mean(bags.images[row], shrink)).astype(np.uint8)).save(target)
        else:
            target.symlink_to((original / name).resolve())
        table.append((target.relative_to(images).as_posix(), str(bags.labels[row]), str(bags.groups[row]), f"{bags.mpp * shrink:g}"))
        if with_masks and (bags.labels[row] or masks[name].any()):
            mask = (path / "masks" / name).with_suffix(".png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((_block_mean(masks[name], shrink) >= 0.5).astype(np.uint8) * 255).save(mask)
    with (path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


def _block_mean(image: NDArray[np.generic], side: int) -> NDArray[np.float64]:
    height, width = (n // side * side for n in image.shape[:2])
    blocks = image[:height, :width].astype(np.float64).reshape(height // side, side, width // side, side, *image.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)))
