"""Losses of stage 1 from image-level labels, and the pieces of stage 2, vectorised over a batch of mixed labels.

Every function returns one number an image, in float32. Side outputs enter as logits, so their gradients neither vanish nor overflow;
the fused map is a probability, so it is bounded in value while the gradient passes through (a plain clamp would make it zero there).

Source: He, Li, Zemp (arXiv 2407.10274); the Dice semimetric is that of Wang et al. (arXiv 2303.16296).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_ifkd.models import SideOutputs

if TYPE_CHECKING:
    from napari_ifkd.config import Stage1Config

FUSED_FLOOR = 1e-4  # the generalised mean has an infinite gradient at 0
LOG_FLOOR = 1e-6  # float32 cannot tell 1 - p from 0 much below

Stage1Function = Callable[[SideOutputs, Tensor], Tensor]


def bounded(p: Tensor, low: float = LOG_FLOOR, high: float = 1 - LOG_FLOOR) -> Tensor:
    """Bound probabilities in value, letting the gradient pass unchanged."""
    return p + (p.detach().clamp(low, high) - p.detach())


def flatten(outputs: SideOutputs) -> tuple[Tensor, Tensor]:
    """Bring outputs into the shape the losses work on.

    Returns
    -------
    logits : Tensor, ``(K, B, N)`` float32, N = H * W
    fused : Tensor, ``(B, N)`` float32 probability
    """
    logits = torch.stack([side.flatten(1).float() for side in outputs.side_logits])
    return logits, outputs.fused.flatten(1).float()


def soft_dice(p: Tensor, q: Tensor) -> Tensor:
    """Compute the soft Dice loss ``1 - (2 sum(pq) + 1) / (sum p + sum q + 1)``.

    Parameters
    ----------
    p, q : Tensor, ``(..., N)`` in [0, 1], broadcast against each other

    Returns
    -------
    Tensor, ``(...)``
    """
    return 1 - (2 * (p * q).sum(-1) + 1) / (p.sum(-1) + q.sum(-1) + 1)


def background_dice(p: Tensor) -> Tensor:
    """Compute the soft Dice loss of the background to all ones: ``D(1 - p, 1)``.

    Parameters
    ----------
    p : Tensor, ``(..., N)`` in [0, 1]

    Returns
    -------
    Tensor, ``(...)``
    """
    background = (1 - p).sum(-1)
    return 1 - (2 * background + 1) / (background + p.shape[-1] + 1)


def semimetric_dice(p: Tensor, q: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the Dice semimetric ``sum|p - q| / (sum p + sum q)``, which is least at p = q also for soft q.

    Parameters
    ----------
    p, q : Tensor, ``(..., N)`` in [0, 1], broadcast against each other
    mask : Tensor, optional, ``(..., N)``
        1 where a pixel counts.

    Returns
    -------
    Tensor, ``(...)``; 0 where no pixel counts

    Notes
    -----
    Where q holds less than one pixel of foreground the loss would be constantly 1, without a gradient; the complement
    ``sum|p - q| / (2N - sum p - sum q)`` is used there, which has the same minimum.
    """
    weight = torch.ones_like(q) if mask is None else mask.to(q.dtype)
    difference = ((p - q).abs() * weight).sum(-1)
    total = (p * weight).sum(-1) + (q * weight).sum(-1)
    complement = 2 * weight.sum(-1) - total
    denominator = torch.where((q * weight).sum(-1) < 1, complement, total)
    return difference / denominator.clamp_min(1e-6)


def pixel_bce(p: Tensor, q: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the mean binary cross-entropy of a probability to a soft target over the pixels that count.

    Parameters
    ----------
    p, q : Tensor, ``(..., N)`` in [0, 1]
    mask : Tensor, optional, ``(..., N)``
        1 where a pixel counts.

    Returns
    -------
    Tensor, ``(...)``; 0 where no pixel counts
    """
    loss = cross_entropy_map(p, q)
    if mask is None:
        return loss.mean(-1)
    weight = mask.to(loss.dtype)
    return (loss * weight).sum(-1) / weight.sum(-1).clamp_min(1)


def cross_entropy_map(p: Tensor, q: Tensor) -> Tensor:
    """Compute the binary cross-entropy of each pixel, ``-(q log p + (1 - q) log(1 - p))``, same shape as p."""
    p = bounded(p)
    return -(q * p.log() + (1 - q) * torch.log1p(-p))


def weighted_mean(loss: Tensor, target: Tensor, certain: Tensor | None = None) -> Tensor:
    """Average pixel losses with ``omega = N softmax(-loss)``: easy pixels count more, so likely label noise counts less.

    Parameters
    ----------
    loss : Tensor, ``(B, N)``
    target : Tensor, ``(B, N)`` in [0, 1]
        Where it has one class only (at 0.5), omega is 1.
    certain : Tensor, optional, ``(B, N)`` bool
        Pixels whose target is beyond doubt: their omega is 1, and the others share theirs among themselves.

    Returns
    -------
    Tensor, ``(B,)``; omega carries no gradient
    """
    hard = target >= 0.5
    exempt = (hard.all(-1) | ~hard.any(-1))[:, None].expand_as(loss)
    easiness, count = -loss.detach(), torch.full_like(loss[:, :1], loss.shape[-1])
    if certain is not None:
        exempt = exempt | certain
        easiness, count = easiness.masked_fill(certain, -torch.inf), (~certain).sum(-1, keepdim=True)
    omega = torch.where(exempt, torch.ones_like(loss), torch.softmax(easiness, -1) * count)
    return (omega * loss).mean(-1)


def const_dice(outputs: SideOutputs, labels: Tensor) -> Tensor:
    """Compute the paper's stage-1 loss: Dice of every output to its image label.

    Parameters
    ----------
    outputs : SideOutputs of a batch of B images
    labels : Tensor, ``(B,)`` in {0, 1}

    Returns
    -------
    Tensor, ``(B,)``: summed over side outputs and the fused map
    """
    logits, fused = flatten(outputs)
    positive = (labels > 0)[:, None]
    sides = torch.sigmoid(torch.where(positive, logits, -logits))  # of the true class, exact also when saturated
    ones = torch.ones((), device=fused.device)
    of_sides = _dice_to_ones(sides).sum(0)
    return of_sides + _dice_to_ones(torch.where(positive, fused, ones - fused))


def _dice_to_ones(p: Tensor) -> Tensor:
    total = p.sum(-1)
    return 1 - (2 * total + 1) / (total + p.shape[-1] + 1)


def gm_bce(outputs: SideOutputs, labels: Tensor, exponent: float = 4.0) -> Tensor:
    """Compute the cross-entropy of the generalised mean ``(mean p^r)^(1/r)`` of every output to its image label.

    Parameters
    ----------
    outputs : SideOutputs of a batch of B images
    labels : Tensor, ``(B,)`` in {0, 1}
    exponent : r

    Returns
    -------
    Tensor, ``(B,)``: summed over side outputs and the fused map
    """
    logits, fused = flatten(outputs)
    log_fused = bounded(fused, FUSED_FLOOR).log()
    log_p = torch.cat([F.logsigmoid(logits), log_fused[None]])  # (K+1, B, N)
    log_mean = (torch.logsumexp(exponent * log_p, -1) - math.log(log_p.shape[-1])) / exponent  # exact where the mean is small
    missing = -torch.expm1(exponent * log_p).mean(-1)  # 1 - mean p^r: exact where the mean is near 1
    near_one = torch.log1p(-missing.clamp(1e-12, 0.5)) / exponent
    log_mean = torch.where(missing < 0.5, near_one, log_mean)
    of_absence = -torch.log(-torch.expm1(log_mean.clamp_max(-1e-12)))
    return torch.where(labels > 0, -log_mean, of_absence).sum(0)


def topk_bce(outputs: SideOutputs, labels: Tensor, share: float = 0.3) -> Tensor:
    """Compute cross-entropy on the highest pixels: of their mean where positive, of each of them where negative.

    Parameters
    ----------
    outputs : SideOutputs of a batch of B images
    labels : Tensor, ``(B,)`` in {0, 1}
    share : share of pixels that count

    Returns
    -------
    Tensor, ``(B,)``: summed over side outputs and the fused map
    """
    logits, fused = flatten(outputs)
    count = max(1, round(share * fused.shape[-1]))
    top = logits.topk(count, dim=-1, sorted=False).values  # (K, B, count)
    top_fused = fused.topk(count, dim=-1, sorted=False).values
    of_presence = math.log(count) - torch.logsumexp(F.logsigmoid(top), -1)
    of_absence = F.softplus(top).mean(-1)
    fused_presence = -bounded(top_fused.mean(-1)).log()
    fused_absence = -torch.log1p(-bounded(top_fused)).mean(-1)
    positive = labels > 0
    return torch.where(positive, of_presence, of_absence).sum(0) + torch.where(positive, fused_presence, fused_absence)


def cam_bce(outputs: SideOutputs, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of an image-level classifier by global average pooling: of each side's mean logit to the label.

    Parameters
    ----------
    outputs : SideOutputs of a batch of B images; the fused map has no part in it
    labels : Tensor, ``(B,)`` in {0, 1}

    Returns
    -------
    Tensor, ``(B,)``: summed over side outputs

    Notes
    -----
    Bilinear upsampling by a whole factor keeps the mean, so this is the pooling of Zhou et al. (CVPR 2016), whose maps are read later.
    """
    scores = torch.stack([side.flatten(1).float().mean(-1) for side in outputs.side_logits])  # (K, B)
    return F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype).expand_as(scores), reduction="none").sum(0)


def stage1_loss(config: Stage1Config) -> Stage1Function:
    """Return the loss that the settings name for learning from image-level labels, as a function of (outputs, labels)."""
    if config.method in ("cam", "oaa"):
        return cam_bce
    if config.loss == "const-dice":
        return const_dice
    if config.loss == "gm-bce":
        return lambda outputs, labels: gm_bce(outputs, labels, config.gm_exponent)
    return lambda outputs, labels: topk_bce(outputs, labels, config.top_share)
