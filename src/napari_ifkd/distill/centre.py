"""Moving a teacher's maps so that 0.5 parts their two classes: one that marks too much teaches its order of pixels, not its excess."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from skimage.filters import threshold_otsu

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .map_store import MapStore

BINS = 256
_LIMITS = (0.1, 0.9)  # a threshold beyond them parts nothing that a person would call two classes
_CHUNK = 64


def histogram(maps: Tensor) -> NDArray[np.int64]:
    """Count the pixels of maps in equal bins from 0 to 1, on the CPU.

    Parameters
    ----------
    maps : Tensor, any shape, probabilities

    Returns
    -------
    ``(BINS,)`` int64
    """
    bins = (maps.detach().float() * BINS).long().clamp_(0, BINS - 1)
    return np.asarray(torch.bincount(bins.flatten(), minlength=BINS).cpu().numpy(), np.int64)


def otsu(counts: NDArray[np.int64]) -> float:
    """Return Otsu's threshold of a histogram from :func:`histogram`, within 0.1 and 0.9; 0.5 where all pixels are in one bin."""
    if np.count_nonzero(counts) < 2:
        return 0.5
    centres = (np.arange(BINS) + 0.5) / BINS
    threshold = threshold_otsu(hist=(counts, centres))  # type: ignore[no-untyped-call]
    return float(np.clip(threshold + 0.5 / BINS, *_LIMITS))


def shift_of(maps: MapStore, rows: NDArray[np.intp]) -> float:
    """Return how far the maps of some bags are to be moved, in logits: that of their common threshold.

    Parameters
    ----------
    maps : of the round
    rows : positive bags
    """
    counts = np.zeros(BINS, np.int64)
    for start in range(0, len(rows), _CHUNK):
        counts += histogram(maps.get(rows[start : start + _CHUNK]))
    threshold = otsu(counts)
    return math.log(threshold / (1 - threshold))


def moved(maps: Tensor, shift: float) -> Tensor:
    """Move probabilities by a number of logits: one of ``sigmoid(shift)`` becomes 0.5, 0 and 1 stay."""
    if shift == 0:
        return maps
    odds = math.exp(-shift)
    return maps * odds / (1 - maps + maps * odds)
