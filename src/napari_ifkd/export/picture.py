"""A small picture of the slide with the mask over it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .mask import FinishedMask

LONGEST_PX = 2048
_GLASS, _LOOKED_AT = 255, 225  # grey, where there is no slide
_SHARE = 0.35  # of the colour in the tissue's


def write_picture(path: Path, mask: FinishedMask) -> None:
    """Write a PNG of at most 2048 px a side; without the slide the mask lies on grey where the map looked.

    Of the slide only its pixels are read, never the images of its label and its glass, which may name a patient.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    side_y, side_x = mask.source.pixel_size_um_yx
    height_um, width_um = mask.store.shape[0] * side_y, mask.store.shape[1] * side_x
    per_px = max(height_um, width_um) / min(LONGEST_PX, max(mask.store.shape))
    shape = max(1, round(height_um / per_px)), max(1, round(width_um / per_px))
    picture = mask.slide.overview(shape) if mask.slide is not None else _grey(mask, shape)
    mask.store.build_levels()
    labels = _reduced(mask, shape)
    for label, kind in mask.kinds.items():
        own = (labels == label).astype(np.uint8)
        picture[own > 0] = ((1 - _SHARE) * picture[own > 0] + _SHARE * np.array(kind.colour)).astype(np.uint8)
        outlines, _ = cv2.findContours(own, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        picture = np.ascontiguousarray(picture)
        cv2.drawContours(picture, outlines, -1, kind.colour, max(1, max(shape) // 600))
    told = PngInfo()
    told.add_itxt("napari_ifkd", json.dumps(mask.facts))
    if mask.warning:
        told.add_itxt("Warning", mask.warning)
    Image.fromarray(picture).save(path, format="PNG", pnginfo=told)


def _reduced(mask: FinishedMask, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the labels at a small size, by the px at the centres."""
    level = next((each for each in reversed(mask.store.levels) if min(a - b for a, b in zip(each.shape, shape, strict=True)) >= 0), None)
    labels = np.asarray(level if level is not None else mask.store.levels[0])
    return np.asarray(cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _grey(mask: FinishedMask, shape: tuple[int, int]) -> NDArray[np.uint8]:
    levels = getattr(mask.source, "levels", None)
    grey = np.full((*shape, 3), _GLASS, np.uint8)
    if levels is not None:
        seen = cv2.resize(np.asarray(levels[-1]), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
        grey[seen] = _LOOKED_AT
    return grey
