"""Counts of pixels of the maps of test images: per image at 0.5, per group by probability. Small files, from which every score follows."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import numpy as np
from quality_stats import BINS, HALF, Counts, bins_of

from napari_ifkd.bags import read_patch_masks, read_patches
from napari_ifkd.distill.metrics import settled
from napari_ifkd.inference import predict_patches, smooth
from napari_ifkd.models import pick_device

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel

_CHUNK = 64


def count_patches(model: MILModel | None, folder: Path, config: Config, target: Path, *, averaged_views: bool = False) -> Counts:
    """Count what a network does on patches with masks, and write it.

    Parameters
    ----------
    model : None marks everything
    folder : patch folder with masks
    config : smoothing, device and precision
    target : file to write (.npz)
    averaged_views : look at each image in 8 flips and turns
    """
    bags, masks = read_patches(folder, config.tiles), read_patch_masks(folder)
    groups, of_group = np.unique(bags.groups, return_inverse=True)
    hist = np.zeros((len(groups), 2, BINS), np.int64)
    at_half = np.zeros((len(bags), 4), np.int64)  # TP, FP, FN, TN
    for start in range(0, len(bags), _CHUNK):
        images = bags.images[start : start + _CHUNK]
        if model is None:
            maps = np.ones(images.shape[:3], np.float32)
        else:
            options = {"precision": config.precision, "batch": config.inference.batch, "averaged_views": averaged_views}
            maps = predict_patches(model, images, device=pick_device(config.device), **options)
            maps = settled(smooth(maps, config.inference.sigma_px))
        for row, probability in enumerate(maps, start):
            truth, place = masks[bags.names[row]], bins_of(probability)
            of_image = np.stack([np.bincount(place[truth == kind], minlength=BINS) for kind in (False, True)])
            hist[of_group[row]] += of_image
            (tn, fn), (fp, tp) = of_image[:, :HALF].sum(1), of_image[:, HALF:].sum(1)
            at_half[row] = tp, fp, fn, tn
    part = target.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            groups=groups,
            hist=hist.astype(np.uint32),
            image=np.array(bags.names),
            group=of_group,
            label=bags.labels,
            tp_fp_fn_tn=at_half,
        )
    part.replace(target)
    return read_counts(target)


def read_counts(path: Path) -> Counts:
    """Read what :func:`count_patches` wrote, or what was kept of it."""
    with np.load(path) as data:
        if "packed" in data:
            planes = np.frombuffer(lzma.decompress(data["packed"].tobytes()), np.uint8).reshape(4, -1)
            hist = np.ascontiguousarray(planes.T).view("<u4").reshape(len(data["groups"]), 2, BINS)
            return Counts(data["groups"], hist.astype(np.int64), data["marked"], data["positive"])
        positive, count = data["label"] > 0, len(data["groups"])
        pixels, group = data["tp_fp_fn_tn"][positive], data["group"][positive]
        marked = np.bincount(group, pixels[:, :2].sum(1), count).astype(np.int64)
        return Counts(data["groups"], data["hist"].astype(np.int64), marked, np.bincount(group, pixels.sum(1), count).astype(np.int64))
