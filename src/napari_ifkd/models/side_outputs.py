"""What every MIL network returns, and how its side outputs become one map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from napari_ifkd.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class SideOutputs(NamedTuple):
    """One answer per stage of the trunk, and the fused one.

    A named tuple, so that wrappers which take results apart and rebuild them (data parallel, autocast helpers) keep its type.
    """

    side_logits: tuple[Tensor, ...]
    """K tensors ``(B, 1, H, W)`` float32, shallow to deep, at the size of the input."""
    fused: Tensor
    """``(B, 1, H, W)`` float32, probability of tumour."""


def fuse(sides: Tensor | Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Fuse side outputs into one probability map.

    Parameters
    ----------
    sides : ``(K, B, 1, H, W)`` in [0, 1], or K tensors ``(B, 1, H, W)``, shallow to deep
    weights : K numbers that sum to 1

    Returns
    -------
    Tensor, ``(B, 1, H, W)`` in [0, 1]
    """
    if len(sides) != len(weights):
        raise ValueError(f"{len(sides)} side outputs but {len(weights)} fusion weights")
    fused = sides[0] * weights[0]
    for index in range(1, len(weights)):
        fused = fused.add(sides[index], alpha=weights[index])
    return fused.clamp(0.0, 1.0)  # rounding may exceed 1 by an ulp, which cross-entropy refuses


def checked_weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Return fusion weights that fit ``count`` side outputs.

    Raises
    ------
    ModelError
        If there are not ``count`` of them, one is negative or not finite, or they do not sum to 1.
    """
    weights = tuple(float(w) for w in weights)
    told = f"fusion_weights {list(weights)}"
    if len(weights) != count:
        raise ModelError(told, f"the network has {count} side outputs, not {len(weights)}", f"Give {count} numbers that sum to 1")
    if not all(math.isfinite(w) and w >= 0 for w in weights):
        raise ModelError(told, "every weight must be a finite number of at least 0", f"Give {count} numbers that sum to 1")
    if abs(sum(weights) - 1) > 1e-4:
        raise ModelError(told, f"they sum to {sum(weights):.4g}, not to 1", "Divide each by their sum")
    return weights
