"""Scores of maps against truth by other hands: NumPy, SciPy and torchmetrics only; it knows nothing of the package under test.

Each line of stdin is a JSON list of cases ``{"images": [[map.npy, truth.npy], ...], "sigma": px, "spacing": [um, um],
"zero_is_unseen": bool}``; maps are uint8 (255 is 1) or floating point. Their scores are the same line of stdout.

The rules are those of docs/evaluate.md: a Gaussian cut off at 4 sigma, rounded to steps of 1/65280, threshold 0.5. Where 0 means that a
pixel was not looked at, it stays 0 and does not weigh in.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter
from torchmetrics.functional.classification import binary_average_precision, binary_f1_score, binary_jaccard_index


def probability(stored: np.ndarray, sigma: float, zero_is_unseen: bool) -> np.ndarray:
    p = stored / 255 if stored.dtype == np.uint8 else stored.astype(np.float64)
    if sigma == 0:
        return p
    options = {"sigma": sigma, "mode": "reflect", "radius": math.ceil(4 * sigma), "output": np.float64}
    smooth = gaussian_filter(p, **options)
    if zero_is_unseen:
        seen = stored > 0
        weight = gaussian_filter(seen.astype(np.float64), **options)
        smooth = np.divide(smooth, weight, out=np.zeros_like(smooth), where=seen)
    return np.rint(smooth * 65280) / 65280


def f1(mask: np.ndarray, truth: np.ndarray) -> float:
    if not mask.any() and not truth.any():
        return 1.0
    return float(binary_f1_score(torch.from_numpy(mask.astype(int)), torch.from_numpy(truth.astype(int))))


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    if not mask.any() and not truth.any():
        return 1.0
    return float(binary_jaccard_index(torch.from_numpy(mask.astype(int)), torch.from_numpy(truth.astype(int))))


def average_precision(p: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return 0.0
    levels = np.unique(p, return_inverse=True)[1]  # ranks: torchmetrics would apply a sigmoid to values beyond 1, and round to float32
    ranks = torch.from_numpy(levels.ravel() / max(1, levels.max()))
    return float(binary_average_precision(ranks, torch.from_numpy(truth.astype(int).ravel())))


def hd95(mask: np.ndarray, truth: np.ndarray, spacing: tuple[float, float]) -> float:
    if not mask.any():
        return math.hypot(mask.shape[0] * spacing[0], mask.shape[1] * spacing[1])
    outlines = [m & ~binary_erosion(m) for m in (mask, truth)]
    there = [distance_transform_edt(~outlines[1], sampling=spacing)[outlines[0]]]
    back = [distance_transform_edt(~outlines[0], sampling=spacing)[outlines[1]]]
    return max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))


def scores(case: dict) -> dict[str, float]:
    maps, truths, masks = [], [], []
    for map_file, truth_file in case["images"]:
        maps.append(probability(np.load(map_file), case["sigma"], case["zero_is_unseen"]))
        truths.append(np.load(truth_file) != 0)
        masks.append(maps[-1] >= 0.5)
    flat = [np.concatenate([image.ravel() for image in images]) for images in (maps, truths, masks)]
    positive = [(m, t) for m, t in zip(masks, truths, strict=True) if t.any()]
    found = {
        "f1": f1(flat[2], flat[1]),
        "iou": iou(flat[2], flat[1]),
        "average_precision": average_precision(flat[0], flat[1]),
        "mean_f1_positive": float(np.mean([f1(m, t) for m, t in positive])) if positive else 0.0,
    }
    if positive:
        found["hd95_um"] = float(np.mean([hd95(m, t, tuple(case["spacing"])) for m, t in positive]))
    return found


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps([scores(case) for case in json.loads(line)]), flush=True)  # noqa: T201
