"""Numbers of the docks: area of a mask, agreement of two masks. Slow enough to be done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .layers import da, disagreement_levels

if TYPE_CHECKING:
    from napari_ifkd.inference import ProbabilityMap

_MOST_PIXELS = 16_000_000  # beyond, a coarser level is measured


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two masks of a slide agree."""

    f1: float | None  # None where both are empty
    a_only_mm2: float
    b_only_mm2: float
    both_mm2: float


def area_mm2(found: ProbabilityMap, threshold: float, sigma_px: float) -> float:
    """Return the area of a mask, mm²."""
    level = _level(found)
    mask: Any = found.mask(threshold, sigma_px / 2**level, level)
    return float(mask.sum().compute(scheduler="synchronous")) * _pixel_mm2(found, level)


def agreement(a: ProbabilityMap, b: ProbabilityMap, threshold: float, sigma_px: float) -> Agreement:
    """Measure how two masks on the same grid agree."""
    level = _level(a)
    classes = da.asarray(disagreement_levels(a, b, threshold, sigma_px)[level])
    counts = np.zeros(4)
    for block in classes.to_delayed().ravel():
        counts += np.bincount(block.compute(scheduler="synchronous").ravel(), minlength=4)
    _, a_only, b_only, both = counts
    total = 2 * both + a_only + b_only
    unit = _pixel_mm2(a, level)
    return Agreement(float(2 * both / total) if total else None, a_only * unit, b_only * unit, both * unit)


def same_grid(a: ProbabilityMap, b: ProbabilityMap) -> bool:
    """Return whether two maps can be laid upon each other pixel by pixel."""
    return a.shape == b.shape and len(a.levels) == len(b.levels)


def _level(found: ProbabilityMap) -> int:
    sizes = [int(np.prod(level.shape)) for level in found.levels]
    return next((index for index, size in enumerate(sizes) if size <= _MOST_PIXELS), len(sizes) - 1)


def _pixel_mm2(found: ProbabilityMap, level: int) -> float:
    height, width = found.pixel_size_um_yx
    rows, columns = found.levels[level].shape
    return height * found.shape[0] / rows * width * found.shape[1] / columns / 1e6
