"""Where a slide holds stained tissue: found on a coarse overview, by colour in optical density.

Haematoxylin and eosin both absorb green most. Pens do not: blue and green ink absorb red most, red ink absorbs blue as much as green
and lets red pass, black ink absorbs all alike. Pure black is what readers return where there is no picture, and is background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from .picture import Picture
    from .slide import Slide

BLACK = "no tissue found: the image is black throughout"
_MASK_MPP = 8.0  # um per px of the mask
_MASK_SCALE = 16.0  # level-0 px per px of the mask where the resolution is unknown
_MAX_MASK_PX = 4096  # bounds memory on slides of any size
_MIN_MASK_PX = 128  # a small field is looked at more closely

_VOID = 8  # grey value up to which a pixel is no picture
_DARK = 60  # brightest channel of a pixel that no light came through
_MIN_AREA_PX, _MAX_HOLE_PX = 12, 30  # px of the mask: specks dropped, gaps closed
_OD_CHROMA, _OD_TOTAL = 0.04, 0.055  # optical density over the glass from which a pixel is stained


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """Tissue of a whole slide.

    Attributes
    ----------
    mask : bool, ``(height, width)``, over the whole slide
    scale_yx : level-0 px per px of the mask
    found : whether there is any
    reason : one line for the user
    area_mm2 : None where the slide has no resolution
    """

    mask: npt.NDArray[np.bool_]
    scale_yx: tuple[float, float]
    found: bool
    reason: str
    area_mm2: float | None
    _sums: npt.NDArray[np.int64] | None = None

    def share(self, origin_yx_level0: tuple[float, float], shape_level0: tuple[float, float]) -> float:
        """Return the share of a box that is tissue, 0 to 1, counting only the part of the box inside the slide.

        Parameters
        ----------
        origin_yx_level0 : top-left corner, level-0 px
        shape_level0 : (height, width), level-0 px
        """
        return float(self.shares(np.array([origin_yx_level0], dtype=np.float64), shape_level0)[0])

    def shares(self, origins_yx_level0: npt.NDArray[np.float64], shape_level0: tuple[float, float]) -> npt.NDArray[np.float64]:
        """Return `share` of many boxes of one size, ``(N,)``, for origins ``(N, 2)``."""
        sums = self._sums if self._sums is not None else _integral(self.mask)
        scale, limit = np.asarray(self.scale_yx), np.asarray(self.mask.shape, np.float64)
        low = np.clip(origins_yx_level0 / scale, 0, limit)
        high = np.clip((origins_yx_level0 + np.asarray(shape_level0)) / scale, 0, limit)
        (top, left), (bottom, right) = low.T, high.T
        tissue = _at(sums, bottom, right) - _at(sums, top, right) - _at(sums, bottom, left) + _at(sums, top, left)
        area = np.prod(high - low, axis=1)
        share: npt.NDArray[np.float64] = np.clip(np.divide(tissue, area, out=np.zeros_like(tissue), where=area > 0), 0, 1)
        return share

    def subtract(self, mask: npt.NDArray[np.bool_]) -> Tissue:
        """Return the tissue without the pixels of `mask`, bool of the same shape.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        if mask.shape != self.mask.shape:
            raise ValueError(f"mask of shape {mask.shape} on tissue of shape {self.mask.shape}")
        rest = self.mask & ~mask.astype(bool)
        share = rest.sum() / max(1, self.mask.sum())
        found = bool(rest.any())
        reason = self.reason if found or not self.found else "no tissue left: all of it is excluded"
        area = None if self.area_mm2 is None else float(self.area_mm2 * share)
        return replace(self, mask=rest, found=found, reason=reason, area_mm2=area, _sums=_integral(rest))


def find_tissue(slide: Slide | Picture) -> Tissue:
    """Find stained tissue on a slide or picture.

    White glass, pure black padding, pen marks and dust are background. A fluorescence slide holds none that this package can judge.
    Finding none is an answer, not an error: read `Tissue.reason`.

    Parameters
    ----------
    slide : Slide or Picture

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    return tissue_of(slide, slide.overview(mask_shape(slide)))


def tissue_of(slide: Slide | Picture, image: npt.NDArray[np.uint8]) -> Tissue:
    """Find tissue on the overview of a slide, uint8 RGB, ``(height, width, 3)``; see :func:`find_tissue`."""
    mask, reason = classify(image)
    scale = slide.shape_level0[0] / mask.shape[0], slide.shape_level0[1] / mask.shape[1]
    area = None if slide.mpp is None else float(mask.sum() * scale[0] * scale[1] * slide.mpp**2 / 1e6)
    return Tissue(mask, scale, bool(mask.any()), reason, area, _integral(mask))


def mask_shape(slide: Slide | Picture) -> tuple[int, int]:
    """Return (height, width) of the tissue mask of a slide, px: 8 um a pixel, coarser on huge slides, finer on tiny ones."""
    height, width = slide.shape_level0
    scale = _MASK_MPP / slide.mpp if slide.mpp else _MASK_SCALE
    scale = min(scale, max(1.0, min(height, width) / _MIN_MASK_PX))
    scale = max(scale, max(height, width) / _MAX_MASK_PX, 1.0)
    return max(1, round(height / scale)), max(1, round(width / scale))


def classify(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.bool_], str]:
    """Tell tissue from everything else on an overview.

    Parameters
    ----------
    image : uint8 RGB, ``(height, width, 3)``

    Returns
    -------
    bool mask ``(height, width)``, and one line that says what was found
    """
    nothing = np.zeros(image.shape[:2], bool)
    brightest = image.max(axis=2)
    void = brightest <= _VOID
    if void.all():
        return nothing, BLACK
    if _is_fluorescence(image, void):
        return nothing, "no tissue found: black background, looks like fluorescence"
    near_void = _near_void(image)
    density = density_of(image)
    total, chroma = density.mean(axis=2), density.max(axis=2) - density.min(axis=2)
    coloured = (chroma > _OD_CHROMA) & ~near_void
    if np.count_nonzero(coloured) < _MIN_AREA_PX:
        mask = _tidy((total > 2 * _OD_TOTAL) & ~near_void)
        how, ink = " (grey image, told by darkness alone)", nothing
    else:
        red, green, blue = density[..., 0], density[..., 1], density[..., 2]
        purple = (red < 1.2 * green + 0.02) & (blue < 1.2 * green + 0.02)  # H&E absorbs green most, or nearly
        ink = ink_of(density, image)
        mask, how = _tidy(coloured & (total > _OD_TOTAL) & purple & ~dilate(ink, 2)), ""
    if not mask.any():
        return mask, "no tissue found: " + ("only ink" if ink.mean() > 0.001 else "nothing but bright glass")
    bare = float((~mask & ~near_void).mean())
    return mask, ("tissue on white glass" if bare > 0.02 else "tissue all over, hardly any glass") + how


def density_of(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return optical density over the glass of an overview, ``(height, width, 3)``, at least 0; means over 3 x 3 px."""
    return _density(cv2.blur(image, (3, 3)), _glass_colour(image, _near_void(image)))


def ink_of(density: npt.NDArray[np.float32], image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return where an overview holds ink, bool ``(height, width)``; `density` is of :func:`density_of`."""
    ink: npt.NDArray[np.bool_] = _ink(density) & ~_near_void(image)
    return ink


def _near_void(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return dilate(image.max(axis=2) <= _VOID, 2)  # means over the rim of a black area are dark, yet no ink or tissue


def _is_fluorescence(image: npt.NDArray[np.uint8], void: npt.NDArray[np.bool_]) -> bool:
    """Dark ground without bright glass, and what shines leaves at least one channel dark."""
    brightest, darkest = image.max(axis=2), image.min(axis=2)
    dark = (brightest < _DARK).mean()
    lit = brightest >= _DARK
    glass = ((darkest > 180) & ~void).mean()
    return bool(dark > 0.3 and glass < 0.02 and (not lit.any() or np.median(darkest[lit]) < 40))


def _glass_colour(image: npt.NDArray[np.uint8], void: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the colour of bare glass, ``(3,)``: the mode of the brightest unsaturated pixels, white where there are none."""
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    bright = image[(image.min(axis=2) > 190) & (spread < 30) & ~void]
    if len(bright) < 0.002 * void.size:
        return np.full(3, 245, np.float32)
    modes = [np.bincount(bright[:, channel], minlength=256) for channel in range(3)]
    return np.array([int(np.convolve(mode, np.ones(5), "same").argmax()) for mode in modes], np.float32)


def _density(image: npt.NDArray[Any], glass: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Optical density over the glass, ``(height, width, 3)``, at least 0."""
    density: npt.NDArray[np.float32] = np.maximum(0, np.log10((glass + 1) / (image.astype(np.float32) + 1)))
    return density


def _ink(density: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Pixels of pen: strong, and of a colour that neither haematoxylin nor eosin takes."""
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    strongest, weakest = density.max(axis=2), density.min(axis=2)
    blue_or_green = (strongest > 0.25) & (red > 1.15 * green)
    green_pen = (strongest > 0.25) & (green < 0.85 * np.minimum(red, blue))
    violet_pen = (green > 0.45) & (red > 0.9 * green) & (blue < 0.4 * green)
    red_pen = (green > 0.35) & (blue > 0.75 * green) & (red < 0.25 * blue)
    black_pen = (weakest > 0.45) & (strongest - weakest < 0.25 * strongest)
    ink: npt.NDArray[np.bool_] = blue_or_green | green_pen | violet_pen | red_pen | black_pen
    return ink


def _tidy(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Drop specks and close small gaps."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    kept = _areas_over(closed, _MIN_AREA_PX)
    return ~_areas_over((~kept).astype(np.uint8), _MAX_HOLE_PX)


def _areas_over(mask: npt.NDArray[Any], least: int) -> npt.NDArray[np.bool_]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    kept: npt.NDArray[np.bool_] = keep[labels]
    return kept


def dilate(mask: npt.NDArray[np.bool_], radius: int) -> npt.NDArray[np.bool_]:
    """Return a mask grown by a disc of `radius` px."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _integral(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _at(sums: npt.NDArray[np.int64], y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Read an integral image between its grid points; exact, since the mask is constant inside a pixel."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    bottom, right = np.minimum(top + 1, sums.shape[0] - 1), np.minimum(left + 1, sums.shape[1] - 1)
    dy, dx = y - top, x - left
    upper = sums[top, left] * (1 - dx) + sums[top, right] * dx
    lower = sums[bottom, left] * (1 - dx) + sums[bottom, right] * dx
    result: npt.NDArray[np.float64] = upper * (1 - dy) + lower * dy
    return result
