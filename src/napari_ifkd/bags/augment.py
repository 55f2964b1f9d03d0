"""Augmentation on the device, drawn anew for each image of a batch: flips and rotations, staining (HED), pasted normal tissue, zoom.

The network that learns is disturbed and the one that teaches is not: that makes a student better than its teacher (Noisy Student, Xie et
al., CVPR 2020). Pasted boxes are CutMix (Yun et al., ICCV 2019), only from images that are known to be normal, so their target is known.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from napari_ifkd.config import NoiseConfig

_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))  # optical density of haematoxylin, eosin, DAB (Ruifrok and Johnston)


_STAIN_OFFSET = 0.13  # of its strength
_BOX = (0.25, 0.65)  # least and greatest side of a pasted box, relative to the image's


@dataclass(frozen=True)
class Drawn:
    """What was done to the images of a batch, so that their maps can follow.

    Parameters
    ----------
    flips : ``(B, 3)`` bool, from :func:`draw_flips`
    boxes : ``(B, 4)`` int64, from :func:`draw_boxes`; None pastes nothing
    zooms : ``(B, 3)`` float32, from :func:`draw_zooms`; None leaves the scale
    """

    flips: Tensor
    boxes: Tensor | None = None
    zooms: Tensor | None = None

    def part(self, which: slice) -> Drawn:
        """Return that of some images."""
        return Drawn(self.flips[which], *(None if drawn is None else drawn[which] for drawn in (self.boxes, self.zooms)))

    def follow(self, maps: Tensor) -> Tensor:
        """Change maps ``(B, H, W)`` as the images were: what was pasted is normal tissue, 0 in every map."""
        maps = apply_flips(maps, self.flips)
        if self.boxes is not None:
            maps = maps.masked_fill(inside(self.boxes, maps.shape[1:3], maps.device), 0)
        return maps if self.zooms is None else apply_zooms(maps, self.zooms)


def augment(images: Tensor, labels: Tensor, noise: NoiseConfig, generator: torch.Generator) -> tuple[Tensor, Drawn]:
    """Disturb the images of a batch.

    Parameters
    ----------
    images : Tensor, ``(B, H, W, 3)`` uint8, RGB
    labels : Tensor, ``(B,)`` in {0, 1}; boxes of images of label 0 are pasted into those of label 1
    noise : how strongly
    generator : on the CPU, so that the draw is the same on every device

    Returns
    -------
    images : Tensor of the same shape and type
    drawn : what was done
    """
    count, size = len(images), (images.shape[1], images.shape[2])
    flips = draw_flips(count, size[0] == size[1], generator)
    images = jitter_stain(apply_flips(images, flips), generator, noise.stain, noise.stain * _STAIN_OFFSET)
    boxes = zooms = None
    if noise.paste > 0:
        boxes, sources = draw_boxes(labels, size, noise.paste, generator)
        images = torch.where(inside(boxes, size, images.device)[..., None], images[sources.to(images.device)], images)
    if noise.zoom != (1.0, 1.0):
        zooms = draw_zooms(count, noise.zoom, generator)
        images = apply_zooms(images.float(), zooms).round_().to(torch.uint8)
    return images, Drawn(flips, boxes, zooms)


def draw_boxes(labels: Tensor, size: tuple[int, int], share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for each image of label 1 whether a box of one of label 0 is pasted into it, which one, and where.

    Parameters
    ----------
    labels : Tensor, ``(B,)`` in {0, 1}
    size : height and width, px
    share : of the images of label 1 that get a box; none do where there is no image of label 0
    generator : on the CPU

    Returns
    -------
    boxes : Tensor, ``(B, 4)`` int64: top, bottom, left, right; empty where nothing is pasted
    sources : Tensor, ``(B,)`` int64: the image the box is cut from, at the same place
    """
    labels, count = labels.cpu(), len(labels)
    normal = torch.nonzero(labels <= 0).flatten()
    chance, which, *places = torch.rand(6, count, generator=generator)
    sides = [(side * (_BOX[0] + (_BOX[1] - _BOX[0]) * drawn)).long().clamp_min(1) for side, drawn in zip(size, places[:2], strict=True)]
    starts = [((side - length + 1) * drawn).long() for side, length, drawn in zip(size, sides, places[2:], strict=True)]
    pasted = (labels > 0) & (chance < share) & (len(normal) > 0)
    ends = [torch.where(pasted, start + length, start) for start, length in zip(starts, sides, strict=True)]
    boxes = torch.stack([starts[0], ends[0], starts[1], ends[1]], 1)
    sources = normal[(which * len(normal)).long()] if len(normal) else torch.arange(count)
    return boxes, sources


def inside(boxes: Tensor, size: torch.Size | tuple[int, int], device: torch.device) -> Tensor:
    """Return ``(B, H, W)`` bool: which pixels lie in the box of their image."""
    top, bottom, left, right = boxes.to(device).view(-1, 4, 1, 1).unbind(1)
    y, x = (torch.arange(side, device=device) for side in size)
    return (y[:, None] >= top) & (y[:, None] < bottom) & (x >= left) & (x < right)


def draw_zooms(count: int, limits: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draw for each image a magnification, even in its logarithm, and where to look.

    Parameters
    ----------
    count : images in the batch
    limits : least and greatest magnification; below 1 the surroundings are mirrored in
    generator : on the CPU

    Returns
    -------
    Tensor, ``(count, 3)`` float32: magnification; the centre of what is looked at, y and x, in half sides from that of the image
    """
    drawn = torch.rand(count, 3, generator=generator)
    low, high = torch.tensor(limits).log()
    zoom = torch.exp(low + (high - low) * drawn[:, :1])
    return torch.cat([zoom, (2 * drawn[:, 1:] - 1) * (1 - 1 / zoom).clamp_min(0)], 1)  # never past the border


def apply_zooms(maps: Tensor, zooms: Tensor) -> Tensor:
    """Zoom each image, or map, of a batch as drawn.

    Parameters
    ----------
    maps : Tensor, ``(B, H, W)`` or ``(B, H, W, C)``; between pixels, floats are interpolated, and of integers the nearest is taken
    zooms : Tensor, ``(B, 3)``, from :func:`draw_zooms`

    Returns
    -------
    Tensor of the same shape and type
    """
    zoom, y, x = zooms.to(maps.device).unbind(1)
    zero = torch.zeros_like(zoom)
    place = torch.stack([1 / zoom, zero, x, zero, 1 / zoom, y], 1).view(-1, 2, 3)
    planes = (maps[..., None] if maps.ndim == 3 else maps).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(place, list(planes.shape), align_corners=False)
    mode = "bilinear" if maps.is_floating_point() else "nearest"
    zoomed = F.grid_sample(planes, grid, mode, "reflection", align_corners=False).permute(0, 2, 3, 1)
    return zoomed.reshape(maps.shape).to(maps.dtype)


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
