"""What spoils tissue, suggested for exclusion: pen, folds and blur. A person decides; nothing here excludes by itself.

Pen has a colour that no stain takes. A fold is tissue upon tissue: a narrow band of about twice the optical density of what lies on both
sides. Blur is tissue with far less fine detail than is usual on the same slide, so a slide that is out of focus throughout is not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import shapely

from napari_ifkd.errors import Cancelled

from .tissue import Tissue, density_of, dilate, ink_of, mask_shape, tissue_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from .slide import Slide

Kind = Literal["pen", "fold", "blur"]
KINDS: tuple[Kind, ...] = ("pen", "fold", "blur")

_PEN_MM2 = 0.01  # smaller specks of ink are left to the tissue mask, which knows them too
_FOLD_MPP = 8.0
_ACROSS_UM = 320.0  # wider than any fold: what lies around it
_DARK, _DARKER = 1.3, 1.5  # times the density around: what belongs to a fold, and what half of it must be
_FOLD_UM = 400.0  # least length
_SLENDER = 3.0  # least length over width
_BESIDE_UM, _IN_TISSUE = 80.0, 0.8  # around a fold, and how much of that is tissue at least
_BLUR_MPP, _BLUR_PX = 1.0, 128  # at which detail is measured, and the side of what is measured at once
_MOST_SQUARES = 1500  # bounds the time on large slides; the squares stand farther apart then
_IN_SQUARE = 0.7  # least share of tissue in such a square
_SHARP_SHARE = 0.2  # of the usual detail of the slide, below which tissue is blurred
_MIN_CONTRAST = 4.0  # standard deviation in grey values, below which there is nothing to be sharp
_BRIGHT, _STAINED = 215, 0.5  # grey value of glass, and share of a square that must be darker
_SHIFTS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]  # by half a square
_SHIFTED = 3  # of these eight squares, that a patch out of focus fills at least
_LEAST_SQUARES = 12  # below which nobody knows what is usual


@dataclass(frozen=True)
class Artefact:
    """A suggestion.

    Attributes
    ----------
    kind : what it seems to be
    geometry : polygon of (x, y) in level-0 px
    """

    kind: Kind
    geometry: BaseGeometry


def find_artefacts(slide: Slide, should_stop: Callable[[], bool] = lambda: False) -> list[Artefact]:
    """Suggest what to exclude from a slide.

    Parameters
    ----------
    slide : with a resolution
    should_stop : asked several times a second

    Returns
    -------
    Those of a kind do not overlap; a slide in which no tissue is found has at most pen

    Raises
    ------
    SlideError
        If the slide has no resolution, or cannot be read.
    Cancelled
        If ``should_stop`` says so.
    """
    mpp = slide.require_mpp()
    image = slide.overview(mask_shape(slide))
    tissue = tissue_of(slide, image)
    scale = tissue.scale_yx
    density = density_of(image)
    found: list[Artefact] = []
    pixel_um = scale[0] * mpp
    ink = _closed(ink_of(density, image), 2)
    found += _artefacts("pen", dilate(ink, 2), scale, least_px=_PEN_MM2 * 1e6 / pixel_um**2)
    if should_stop():
        raise Cancelled
    if tissue.found:
        found += _artefacts("fold", _folds(density.mean(axis=2), tissue.mask & ~dilate(ink, 4), pixel_um), scale)
        blurred, side = _blurred(slide, tissue, should_stop)
        # what is out of focus in part only lies beside what was found
        grown = [one.geometry.buffer(side / 2, join_style="mitre") for one in _artefacts("blur", blurred, (side, side))]
        found += [Artefact("blur", part) for part in shapely.get_parts(shapely.union_all(grown))]
    frame = shapely.box(0, 0, slide.shape_level0[1], slide.shape_level0[0])
    return [Artefact(one.kind, cut) for one in found if not (cut := one.geometry.intersection(frame)).is_empty]


def _folds(density: NDArray[np.float32], tissue: NDArray[np.bool_], pixel_um: float) -> NDArray[np.bool_]:
    """Find narrow bands of twice the density of the tissue around."""
    reach = max(3, round(_ACROSS_UM / pixel_um)) | 1
    weight = cv2.blur(tissue.astype(np.float32), (reach, reach))
    around = cv2.blur(np.where(tissue, density, 0).astype(np.float32), (reach, reach)) / np.maximum(weight, 1e-3)
    level = float(np.percentile(density[tissue], 90))
    dark = _closed(tissue & (density > _DARK * around) & (density > level) & (weight > 0.3), max(1, round(24 / pixel_um)))
    darker = density > _DARKER * around
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=8)
    kept = np.zeros_like(dark)
    depth = cv2.distanceTransform(dark.astype(np.uint8), cv2.DIST_L2, 3)
    room = max(2, round(_BESIDE_UM / pixel_um))
    for label, (left, top, columns, rows, area) in enumerate(boxes.tolist()):
        span = (max(rows, columns) - 1) * pixel_um
        if label == 0 or max(area * pixel_um, span) < _FOLD_UM:  # the ground, and what is short however thin it is
            continue
        here = slice(max(0, top - room), top + rows + room), slice(max(0, left - room), left + columns + room)
        own = labels[here] == label
        width = 2 * float(depth[here][own].max()) * pixel_um
        length = float(area) * pixel_um**2 / max(width, pixel_um)  # of a band as wide as its widest place: at least so long
        if max(length, span) < _FOLD_UM or min(length, span) < 0.5 * _FOLD_UM or max(length, span) < _SLENDER * width:
            continue
        if darker[here][own].mean() < 0.5:
            continue
        beside = dilate(own, room) & ~own
        if tissue[here][beside].mean() >= _IN_TISSUE:  # keratin and dark rims lie at the edge
            kept[here] |= own
    return dilate(kept, max(1, round(16 / pixel_um)))


def _blurred(slide: Slide, tissue: Tissue, should_stop: Callable[[], bool]) -> tuple[NDArray[np.bool_], float]:
    """Measure detail in squares of tissue; return where it is blurred, on a grid of half squares, and level-0 px a half square."""
    mpp = max(_BLUR_MPP, slide.require_mpp())
    look = _BLUR_PX * mpp / slide.require_mpp()  # level-0 px
    side = look
    while ((share := _squares(slide, tissue, side)) > _IN_SQUARE).sum() > _MOST_SQUARES:
        side *= 2

    def detail_at(y: float, x: float) -> float:
        """Measure the detail of a square, from the middle of it."""
        if should_stop():
            raise Cancelled
        return _detail(slide.read_region((y - look / 2, x - look / 2), (_BLUR_PX, _BLUR_PX), mpp))

    detail = np.full(share.shape, np.nan)
    for y, x in np.argwhere(share > _IN_SQUARE).tolist():
        detail[y, x] = detail_at((y + 0.5) * side, (x + 0.5) * side)
    blurred, half = np.zeros((2 * share.shape[0], 2 * share.shape[1]), bool), side / 2
    if np.isfinite(detail).sum() < _LEAST_SQUARES:
        return blurred, half
    usual = _SHARP_SHARE * np.nanmedian(detail)
    low = np.nan_to_num(detail, nan=np.inf) < usual
    beside = cv2.filter2D(low.astype(np.uint8), -1, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT)
    for y, x in np.argwhere(low).tolist():
        asked = _SHIFTS if side == look or beside[y, x] < 2 else []
        shifted = [(i, j) for i, j in asked if detail_at((y + 0.5) * side + i * look / 2, (x + 0.5) * side + j * look / 2) < usual]
        # one square alone may be mucus or blood; a patch out of focus is larger, or without any detail
        if beside[y, x] < 2 and (len(shifted) < _SHIFTED or detail[y, x] > usual / 4):
            continue
        for i, j in ((0, 0), *(shifted if side == look else ())):
            top, left = max(0, 2 * y + i), max(0, 2 * x + j)
            blurred[top : 2 * y + i + 2, left : 2 * x + j + 2] = True
    return blurred, half


def _squares(slide: Slide, tissue: Tissue, side: float) -> NDArray[np.float64]:
    """Return the share of tissue in squares of ``side`` level-0 px, from the corner of the slide on."""
    rows, columns = (max(1, ceil(n / side)) for n in slide.shape_level0)
    corners = np.indices((rows, columns)).reshape(2, -1).T.astype(np.float64) * side
    return tissue.shares(corners, (side, side)).reshape(rows, columns)


def _detail(image: NDArray[np.uint8]) -> float:
    """Return fine over coarse detail of what is stained in a picture; NaN where there is too little of it, or nothing to be sharp."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    stained = cv2.erode((cv2.GaussianBlur(grey, (0, 0), 3) < _BRIGHT).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if stained.mean() < _STAINED:
        return float("nan")
    contrast = float(cv2.GaussianBlur(grey, (0, 0), 2)[stained].std())
    return float(cv2.Laplacian(grey, cv2.CV_32F)[stained].var() / contrast**2) if contrast >= _MIN_CONTRAST else float("nan")


def _artefacts(kind: Kind, mask: NDArray[np.bool_], scale: tuple[float, float], least_px: float = 1.0) -> list[Artefact]:
    """Return the outlines of a mask, (x, y) in level-0 px."""
    finer = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    rings, _ = cv2.findContours(finer, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for ring in rings:
        points = ring[:, 0].astype(np.float64)
        if len(points) < 4:
            continue
        # twice as fine, a ring of pixel centres is half a fine pixel inside the edge all round
        polygon = shapely.make_valid(shapely.Polygon((points + 0.5) / 2).buffer(0.25, join_style="mitre"))
        if polygon.area >= least_px:
            placed = shapely.transform(polygon, lambda xy: xy * np.array([scale[1], scale[0]]))
            found.append(Artefact(kind, placed.simplify(0.5 * min(scale))))
    return found


def _closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)
