"""Numbers of the docks: area of a mask, agreement of two masks. Slow enough to be done in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.annotations import rasterize
from napari_ifkd.runs.reference_f1 import held_against

from .layers import computed, da

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.runs.reference import ReferenceMask

_PLACE_UM = 200.0
_MOST_PIXELS = 64_000_000  # beyond, a coarser level is measured


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two masks of a slide agree."""

    f1: float | None  # None where both are empty
    a_only_mm2: float
    b_only_mm2: float
    both_mm2: float


def area_mm2(found: ProbabilityMap, threshold: float, sigma_px: float, exclusion: BaseGeometry | None = None) -> float:
    """Return the area of a mask, mm², without what is excluded (x, y in level-0 px)."""
    level = _level(found)
    mask: Any = _without(exclusion, found.mask(threshold, sigma_px / 2**level, level), _step(found, level))
    return float(computed(mask.sum())) * _pixel_mm2(found, level)


def f1_against(
    reference: ReferenceMask, found: ProbabilityMap, look: tuple[float, float, BaseGeometry | None], should_stop: Callable[[], bool]
) -> float | None:
    """Return F1 of a mask against a reference mask; None where neither marks anything.

    Parameters
    ----------
    reference : the mask
    found : the map
    look : threshold, smoothing, px of the map, and what is excluded, (x, y) in level-0 px
    should_stop : asked now and then

    Raises
    ------
    AnnotationError
        If the reference is damaged.
    Cancelled
        If ``should_stop`` says so.
    """
    level, (threshold, sigma_px, exclusion) = _level(found), look
    mask: Any = found.mask(threshold, sigma_px / 2**level, level)

    def read(y: int, x: int, height: int, width: int) -> NDArray[np.bool_]:
        window: NDArray[np.bool_] = computed(mask[y : y + height, x : x + width]) > 0
        return window

    hit, said, tumour = held_against(reference.on_grid(_step(found, level), exclusion), mask.shape, read, should_stop)
    return 2 * hit / (said + tumour) if said + tumour else None


def marked_mm2(mask: Sequence[Any], heat: Sequence[Any], found: ProbabilityMap) -> tuple[float, float]:
    """Return the area of a mask, and that of where the network looked, mm².

    Parameters
    ----------
    mask, heat : levels of the mask and of the probability, on the grid of a map, both without what is excluded
    found : the map
    """
    level = _level(found)
    marked, seen = (float(computed((da.asarray(each[level]) > 0).sum())) for each in (mask, heat))
    unit = _pixel_mm2(found, level)
    return marked * unit, seen * unit


def agreement(differ: Sequence[Any], found: ProbabilityMap, field: tuple[float, float, float, float] | None = None) -> Agreement:
    """Measure how two masks agree: over the whole slide, or in a field.

    Parameters
    ----------
    differ : levels that tell where they do, see :func:`napari_ifkd._plugin.layers.disagreement_levels`
    found : the map on whose grid they are
    field : (left, top, right, bottom) in level-0 px
    """
    level = _level(found)
    classes = da.asarray(differ[level])
    if field is not None:
        step_y, step_x = _step(found, level)
        left, top, right, bottom = (max(0, round(at / step)) for at, step in zip(field, (step_x, step_y, step_x, step_y), strict=True))
        classes = classes[top:bottom, left:right]
    counts = np.zeros(4)
    for block in classes.to_delayed().ravel():
        counts += np.bincount(computed(block).ravel(), minlength=4)
    _, a_only, b_only, both = counts
    total = 2 * both + a_only + b_only
    unit = _pixel_mm2(found, level)
    return Agreement(float(2 * both / total) if total else None, a_only * unit, b_only * unit, both * unit)


def disagreements(differ: Sequence[Any], grid: ProbabilityMap, most: int = 50) -> list[tuple[float, float]]:
    """Return where two masks differ most, as (x, y) in level-0 px, the largest first.

    A place is the middle of what differs in a square of 200 um (of 200 px where nobody knows the resolution).

    Parameters
    ----------
    differ : levels that tell where, see :func:`napari_ifkd._plugin.layers.disagreement_levels`
    grid : the map on whose grid they are
    most : places at most
    """
    level = _level(grid)
    classes = da.asarray(differ[level])
    step_y, step_x = _step(grid, level)
    side = max(1, round(_PLACE_UM / (step_x * float(grid.slide.get("mpp") or 1.0))))
    found: list[tuple[int, float, float]] = []
    for top in range(0, classes.shape[0], side):
        band = computed(classes[top : top + side])
        y, x = np.nonzero((band == 1) | (band == 2))
        for square in np.unique(x // side).tolist():
            inside = x // side == square
            found.append((int(inside.sum()), (float(x[inside].mean()) + 0.5) * step_x, (top + float(y[inside].mean()) + 0.5) * step_y))
    return [(x, y) for _, x, y in sorted(found, reverse=True)[:most]]


def same_grid(a: ProbabilityMap, b: ProbabilityMap) -> bool:
    """Return whether two maps can be laid upon each other pixel by pixel."""
    return a.shape == b.shape and len(a.levels) == len(b.levels)


def _without(exclusion: BaseGeometry | None, mask: Any, step_yx: tuple[float, float]) -> Any:
    """Clear a lazy mask where it is excluded."""
    if exclusion is None:
        return mask

    def block(part: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        (y0, _), (x0, _) = block_info[0]["array-location"]
        return np.where(rasterize(exclusion, part.shape, step_yx, (y0, x0)), part.dtype.type(0), part)

    return mask.map_blocks(block, dtype=mask.dtype)


def _level(found: ProbabilityMap) -> int:
    sizes = [int(np.prod(level.shape)) for level in found.levels]
    return next((index for index, size in enumerate(sizes) if size <= _MOST_PIXELS), len(sizes) - 1)


def _step(found: ProbabilityMap, level: int) -> tuple[float, float]:
    """Return level-0 px per px of a level, (y, x)."""
    (height, width), (rows, columns) = found.levels[0].shape, found.levels[level].shape
    return found.scale_yx[0] * height / rows, found.scale_yx[1] * width / columns


def _pixel_mm2(found: ProbabilityMap, level: int) -> float:
    height, width = found.pixel_size_um_yx
    rows, columns = found.levels[level].shape
    return height * found.shape[0] / rows * width * found.shape[1] / columns / 1e6
