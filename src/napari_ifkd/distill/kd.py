"""The loss of a distillation round, by mode and structure: what the student learns from the teacher's map."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .losses import background_dice, cross_entropy_map, flatten, pixel_bce, semimetric_dice, soft_dice, weighted_mean

if TYPE_CHECKING:
    from napari_ifkd.config import RoundConfig, Structure
    from napari_ifkd.models import SideOutputs


class Target(NamedTuple):
    """What the frozen teacher says about a batch.

    Parameters
    ----------
    fused : Tensor, ``(B, 1, H, W)``
        Teacher's fused probability; not looked at where the label is 0.
    sides : Tensor or None, ``(K, B, 1, H, W)``
        Teacher's side probabilities, for structure ``sides`` only.
    """

    fused: Tensor
    sides: Tensor | None = None


def kd_loss(outputs: SideOutputs, target: Target, labels: Tensor, config: RoundConfig) -> Tensor:
    """Compute the loss of every bag in a batch.

    Parameters
    ----------
    outputs : SideOutputs of the student, B images
    target : Target from the teacher
    labels : Tensor, ``(B,)`` in {0, 1}
        Where 0, the target is background, whatever the teacher says.
    config : RoundConfig
        Its ``mode``, ``structure`` and, in mode ``robust``, the parts that are switched on.

    Returns
    -------
    Tensor, ``(B,)`` float32

    Raises
    ------
    ValueError
        If structure ``sides`` lacks the teacher's side maps, or teacher and student differ in their number.
    """
    logits, fused = flatten(outputs)
    positive = labels > 0
    q = target.fused.flatten(1).float()
    q = torch.where(positive[:, None], q, torch.zeros_like(q))  # (B, N)
    students, teachers = _pairs(logits, fused, q, target, config.structure)
    if config.mode == "robust":
        return _robust(students, teachers, fused, q, positive, config)
    dice = torch.where(positive, soft_dice(students, teachers), background_dice(students)).sum(0)
    return dice + 2 * (_released_cross_entropy(fused, q) if config.mode == "released" else _paper_cross_entropy(fused, q))


def _pairs(logits: Tensor, fused: Tensor, q: Tensor, target: Target, structure: Structure) -> tuple[Tensor, Tensor]:
    """Line up student outputs with their teacher maps, ``(M, B, N)`` each (the second may broadcast)."""
    if structure == "fused":
        return fused[None], q[None]
    sides = torch.sigmoid(logits)
    if structure == "fusion":
        return torch.cat([sides, fused[None]]), q[None]
    if target.sides is None or len(target.sides) != len(sides):
        told = 0 if target.sides is None else len(target.sides)
        raise ValueError(f"structure 'sides' pairs each side output with the teacher's: student has {len(sides)}, teacher {told}")
    return sides, target.sides.flatten(2).float()


def _paper_cross_entropy(fused: Tensor, q: Tensor) -> Tensor:
    hard = (q >= 0.5).to(fused.dtype)
    return weighted_mean(cross_entropy_map(fused, hard), hard)


def _released_cross_entropy(fused: Tensor, q: Tensor) -> Tensor:
    """Repeat two quirks of the released program: a truncated target, and probabilities where logits belong."""
    truncated = q.long().to(fused.dtype)  # 0 almost everywhere
    margin = 2 * fused - 1  # [1-p, p] read as logits: the loss lives in [0.313, 1.313]
    loss = torch.where(truncated > 0, F.softplus(-margin), F.softplus(margin))
    return weighted_mean(loss, truncated)


def _robust(students: Tensor, teachers: Tensor, fused: Tensor, q: Tensor, positive: Tensor, config: RoundConfig) -> Tensor:
    parts = config.robust
    mask = None
    if parts.confidence > 0:  # where the label is 0 every pixel is certain
        mask = ((q - 0.5).abs() >= parts.confidence) | ~positive[:, None]
    if parts.semimetric:
        zeros = torch.zeros((), device=fused.device)
        teachers = torch.where(positive[:, None], teachers, zeros)
        loss = semimetric_dice(students, teachers, mask).sum(0)
    else:
        counted = students if mask is None else students * mask
        of_positive = soft_dice(counted, teachers if mask is None else teachers * mask)
        loss = torch.where(positive, of_positive, background_dice(students)).sum(0)
    if parts.pixel_bce:
        loss = loss + pixel_bce(fused, q, mask)
    return loss
