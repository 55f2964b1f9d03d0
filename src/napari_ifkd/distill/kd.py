"""The loss of a distillation round, by mode and structure: what the student learns from the teacher's map, and from a person.

Mode ``oeem`` is Online Easy Example Mining (Li et al., MICCAI 2022): training on one fixed pseudo-mask, easy pixels first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_ifkd.annotations.corrections import TUMOUR

from .losses import background_dice, cross_entropy_map, flatten, pixel_bce, semimetric_dice, soft_dice, weighted_mean

if TYPE_CHECKING:
    from napari_ifkd.config import RoundConfig, Structure
    from napari_ifkd.models import SideOutputs


class Target(NamedTuple):
    """What is said about a batch: by the frozen teacher, and by a person.

    Parameters
    ----------
    fused : Tensor, ``(B, 1, H, W)``
        Teacher's fused probability; not looked at where the label is 0 (see ``rounds.robust.hard_negatives``).
    sides : Tensor or None, ``(K, B, 1, H, W)``
        Teacher's side probabilities, for structure ``sides`` only.
    hints : Tensor or None, ``(B, H, W)`` uint8
        Corrected pixels: 1 normal, 2 tumour, 0 elsewhere. They override the target of every output.
    """

    fused: Tensor
    sides: Tensor | None = None
    hints: Tensor | None = None


def structure_of(config: RoundConfig) -> Structure:
    """Return which outputs learn: mode ``oeem`` knows the fused map only."""
    return "fused" if config.mode == "oeem" else config.structure


def copies_teacher(config: RoundConfig) -> bool:
    """Tell whether a student starts from a copy of its teacher, where the kinds agree."""
    return config.mode == "robust" and config.robust.warm_start


def asks_about_negatives(config: RoundConfig) -> bool:
    """Tell whether the teacher is asked about bags of label 0 too, instead of taking them as background."""
    return config.mode == "robust" and not config.robust.hard_negatives


def kd_loss(outputs: SideOutputs, target: Target, labels: Tensor, config: RoundConfig) -> Tensor:
    """Compute the loss of every bag in a batch.

    Parameters
    ----------
    outputs : SideOutputs of the student, B images
    target : Target from the teacher; its hints mean nothing to mode ``released``
    labels : Tensor, ``(B,)`` in {0, 1}
        Where 0, the target is background, whatever the teacher says (unless ``rounds.robust.hard_negatives`` is off).
    config : RoundConfig
        Its ``mode``, ``structure``, ``corrections_weight`` and, in mode ``robust``, the parts that are switched on.

    Returns
    -------
    Tensor, ``(B,)`` float32

    Raises
    ------
    ValueError
        If structure ``sides`` lacks the teacher's side maps, or teacher and student differ in their number.
    """
    logits, fused = flatten(outputs)
    taught = labels > 0
    if asks_about_negatives(config):
        taught = torch.ones_like(taught)
    hints = None if target.hints is None or config.mode == "released" else target.hints.flatten(1)
    q = _wanted(target.fused.flatten(1), taught, hints)  # (B, N)
    sides = None if target.sides is None else _wanted(target.sides.flatten(2), taught, hints)  # (K, B, N)
    if hints is not None:
        taught = taught | hints.eq(TUMOUR).any(-1)  # else the background loss would not see them
    if config.mode == "oeem":
        loss = _hard_cross_entropy(fused, q, hints)
    elif config.mode == "robust":
        students, teachers = _pairs(logits, fused, q, sides, config.structure)
        loss = _robust(students, teachers, fused, q, taught, config)
    else:
        students, teachers = _pairs(logits, fused, q, sides, config.structure)
        dice = torch.where(taught, soft_dice(students, teachers), background_dice(students)).sum(0)
        released = config.mode == "released"
        loss = dice + 2 * (_released_cross_entropy(fused, q) if released else _hard_cross_entropy(fused, q, hints))
    if hints is not None and config.corrections_weight > 0:
        loss = loss + config.corrections_weight * corrections_bce(logits, fused, hints)
    return loss


def corrections_bce(logits: Tensor, fused: Tensor, hints: Tensor) -> Tensor:
    """Compute the mean cross-entropy of all outputs to the corrected pixels.

    Parameters
    ----------
    logits : Tensor, ``(K, B, N)``, of the side outputs
    fused : Tensor, ``(B, N)`` probability
    hints : Tensor, ``(B, N)`` in {0, 1, 2}

    Returns
    -------
    Tensor, ``(B,)``: averaged over the corrected pixels of an image and the K + 1 outputs; 0 where nothing was corrected
    """
    told, wanted = (hints > 0).to(fused.dtype), hints.eq(TUMOUR).to(fused.dtype)
    of_sides = F.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none").sum(0)  # (B, N)
    total = of_sides + cross_entropy_map(fused, wanted)
    return (total * told).sum(-1) / (told.sum(-1).clamp_min(1) * (len(logits) + 1))


def _wanted(maps: Tensor, taught: Tensor, hints: Tensor | None) -> Tensor:
    """Return targets ``(..., B, N)``: what a person says, else what the teacher says, else background."""
    maps = torch.where(taught[:, None], maps.float(), torch.zeros((), device=maps.device))
    return maps if hints is None else torch.where(hints > 0, hints.eq(TUMOUR).to(maps.dtype), maps)


def _pairs(logits: Tensor, fused: Tensor, q: Tensor, sides: Tensor | None, structure: Structure) -> tuple[Tensor, Tensor]:
    """Line up student outputs with their targets, ``(M, B, N)`` each (the second may broadcast)."""
    if structure == "fused":
        return fused[None], q[None]
    ours = torch.sigmoid(logits)
    if structure == "fusion":
        return torch.cat([ours, fused[None]]), q[None]
    if sides is None or len(sides) != len(ours):
        told = 0 if sides is None else len(sides)
        raise ValueError(f"structure 'sides' pairs each side output with the teacher's: student has {len(ours)}, teacher {told}")
    return ours, sides


def _hard_cross_entropy(fused: Tensor, q: Tensor, hints: Tensor | None) -> Tensor:
    """Compute the weighted cross-entropy to the hard pseudo-mask; what a person told is not up for doubt."""
    hard = (q >= 0.5).to(fused.dtype)
    return weighted_mean(cross_entropy_map(fused, hard), hard, None if hints is None else hints > 0)


def _released_cross_entropy(fused: Tensor, q: Tensor) -> Tensor:
    """Repeat two quirks of the released program: a truncated target, and probabilities where logits belong."""
    truncated = q.long().to(fused.dtype)  # 0 almost everywhere
    margin = 2 * fused - 1  # [1-p, p] read as logits: the loss lives in [0.313, 1.313]
    loss = torch.where(truncated > 0, F.softplus(-margin), F.softplus(margin))
    return weighted_mean(loss, truncated)


def _robust(students: Tensor, teachers: Tensor, fused: Tensor, q: Tensor, taught: Tensor, config: RoundConfig) -> Tensor:
    parts = config.robust
    mask = None
    if parts.confidence > 0:  # background of a negative bag and corrected pixels are 0 or 1, hence certain
        mask = (q - 0.5).abs() >= parts.confidence
    if parts.semimetric:
        loss = semimetric_dice(students, teachers, mask).sum(0)
    else:
        counted = students if mask is None else students * mask
        of_taught = soft_dice(counted, teachers if mask is None else teachers * mask)
        loss = torch.where(taught, of_taught, background_dice(students)).sum(0)
    if parts.pixel_bce:
        loss = loss + pixel_bce(fused, q, mask)
    return loss
