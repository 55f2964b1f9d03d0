"""Holding the area that a student marks: image labels cannot see it, so what a student learns from them must not decide it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_ifkd.models.network import TrunkModel

from .maps import forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel
    from napari_ifkd.models.memory import Portion

_PIXELS = 1 << 20  # enough to know an area by; they are spread evenly over all bags
_FARTHEST = 8.0  # logits
_INSIDE = 0.005  # of a limit: the pixels that are left out may differ


def hold_area(
    model: MILModel,
    bags: Bags,
    limits: tuple[float, float],
    config: Config,
    *,
    should_stop: Callable[[], bool],
    portion: Portion | None = None,
) -> float:
    """Move all side outputs of a network by one number of logits, so that the area it marks lies within limits.

    Parameters
    ----------
    model : changed in place: the biases of its side heads. A user's own module, whose heads nobody knows, stays as it is
    bags : validation bags; the positive ones count
    limits : least and greatest mean share of pixels at or above 0.5
    config : its device and precision
    should_stop : asked before each batch
    portion : how many images go through the network at once, as found before

    Returns
    -------
    float
        The number of logits; 0 where the area lies within the limits already, or nothing can be moved.

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    """
    rows = np.flatnonzero(bags.labels > 0)
    if not isinstance(model, TrunkModel) or not len(rows):
        return 0.0
    step = len(rows) * math.prod(bags.images.shape[1:3]) // _PIXELS | 1  # odd, or it could pick the same few columns of every row
    parts = [
        outputs[1:].flatten(2)[:, :, ::step].logit(1e-6).flatten(1).cpu()
        for _, outputs in forward(model, bags.images, rows, config, should_stop=should_stop, portion=portion)
    ]
    logits = torch.cat(parts, 1)  # (K, pixels)
    weights = torch.tensor(model.weights)
    area, (low, high) = _area(logits, weights, 0.0), limits
    if low <= area <= high:
        return 0.0
    wanted = low * (1 + _INSIDE) if area < low else high * (1 - _INSIDE)
    shift = _shift_to(wanted, logits, weights)
    with torch.no_grad():
        for head in model.heads:
            cast("Tensor", head.bias).add_(shift)
    return shift


def _area(logits: Tensor, weights: Tensor, shift: float) -> float:
    fused = (weights[:, None] * (logits + shift).sigmoid()).sum(0)
    return float((fused >= 0.5).float().mean())


def _shift_to(wanted: float, logits: Tensor, weights: Tensor) -> float:
    """Find the shift by halving: the area grows with it."""
    low, high = -_FARTHEST, _FARTHEST
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if _area(logits, weights, middle) < wanted else (low, middle)
    return high
