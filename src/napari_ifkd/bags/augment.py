"""Augmentation on the device: the eight flips and rotations, and staining (HED), drawn anew for each image of a batch."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))  # optical density of haematoxylin, eosin, DAB (Ruifrok and Johnston)


def draw_flips(count: int, square: bool, generator: torch.Generator) -> Tensor:
    """Draw for each image whether to flip rows, flip columns and swap the axes.

    Parameters
    ----------
    count : images in the batch
    square : False leaves the axes as they are (an image that is not square would change its shape)
    generator : on the CPU, so that the draw is the same on every device

    Returns
    -------
    Tensor, ``(count, 3)`` bool: rows, columns, axes
    """
    flips = torch.rand(count, 3, generator=generator) < 0.5
    if not square:
        flips[:, 2] = False
    return flips


def apply_flips(maps: Tensor, flips: Tensor) -> Tensor:
    """Flip each image, or map, of a batch as drawn.

    Parameters
    ----------
    maps : Tensor, ``(B, H, W)`` or ``(B, H, W, C)``
    flips : Tensor, ``(B, 3)`` bool, from :func:`draw_flips`

    Returns
    -------
    Tensor of the same shape
    """
    chosen = flips.to(maps.device).view(-1, 3, *(1,) * (maps.ndim - 1))
    maps = torch.where(chosen[:, 0], maps.flip(1), maps)
    maps = torch.where(chosen[:, 1], maps.flip(2), maps)
    if maps.shape[1] == maps.shape[2]:
        maps = torch.where(chosen[:, 2], maps.transpose(1, 2), maps)
    return maps


def jitter_stain(images: Tensor, generator: torch.Generator, strength: float = 0.15, offset: float = 0.02) -> Tensor:
    """Vary the amount of each stain from image to image.

    Parameters
    ----------
    images : Tensor, ``(B, H, W, 3)`` uint8, RGB
    generator : on the CPU
    strength : each stain is multiplied by a number in 1 -+ strength
    offset : and a number in -+ offset added, in optical density

    Returns
    -------
    Tensor, ``(B, H, W, 3)`` uint8

    Notes
    -----
    To separate stains, scale them and mix them again is one 3 x 3 matrix in optical density, so this is a single small product an image.
    """
    count, device = len(images), images.device
    factors = 1 + strength * (2 * torch.rand(count, 3, generator=generator) - 1)
    shifts = offset * (2 * torch.rand(count, 3, generator=generator) - 1)
    stains, inverse = _stain_matrices()
    mix = inverse @ (factors[:, :, None] * stains)  # (B, 3, 3): density in, density out
    shift = shifts[:, None] @ stains  # (B, 1, 3)
    density = _density_table().to(device)[images.reshape(count, -1, 3).long()]
    density = torch.baddbmm(shift.to(device), density, mix.to(device))
    return (torch.exp(-density) * 256 - 1).round_().clamp_(0, 255).to(torch.uint8).view(images.shape)


@functools.cache
def _stain_matrices() -> tuple[Tensor, Tensor]:
    stains = torch.tensor(_STAINS)
    stains = stains / stains.norm(dim=1, keepdim=True)
    return stains, torch.linalg.inv(stains)


@functools.cache
def _density_table() -> Tensor:
    """Optical density of each of the 256 grey values; a look-up is quicker than a logarithm a pixel."""
    return -torch.log((torch.arange(256) + 1) / 256)
