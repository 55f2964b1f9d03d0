"""The loss of full supervision: the upper bound that weak supervision is held against, never a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from .losses import background_dice, flatten, pixel_bce, soft_dice

if TYPE_CHECKING:
    from torch import Tensor

    from napari_ifkd.models import SideOutputs


def supervised_loss(outputs: SideOutputs, masks: Tensor) -> Tensor:
    """Compute cross-entropy and soft Dice of every output to pixel truth.

    Parameters
    ----------
    outputs : SideOutputs of a batch of B images
    masks : Tensor, ``(B, H, W)`` in {0, 1}

    Returns
    -------
    Tensor, ``(B,)`` float32: summed over side outputs and the fused map

    Notes
    -----
    Where a mask is empty the Dice is that of the background: soft Dice to an empty mask has next to no gradient.
    """
    logits, fused = flatten(outputs)
    truth = masks.flatten(1).to(fused.dtype)  # (B, N)
    of_sides = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none").mean(-1).sum(0)
    maps = torch.cat([logits.sigmoid(), fused[None]])  # (K+1, B, N)
    dice = torch.where(truth.any(-1), soft_dice(maps, truth[None]), background_dice(maps)).sum(0)
    return dice + of_sides + pixel_bce(fused, truth)
