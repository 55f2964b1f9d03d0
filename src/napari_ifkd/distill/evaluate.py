"""A whole slide's map against its truth, block by block. For evaluation only: nothing here may feed training or choose a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.errors import AnnotationError

from .metrics import Evaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ifkd.annotations import Mask
    from napari_ifkd.inference import ProbabilityMap

_BLOCK = 2048  # px of the map, or of the truth where that is finer


def evaluate_map(source: ProbabilityMap, truth: Mask, threshold: float = 0.5, sigma_px: float = 0.0) -> dict[str, float]:
    """Score a map against a mask of the same slide, on the map's grid.

    The two are laid over each other by physical extent, so the mask may have any resolution; a px of the map has the truth at its centre.

    Parameters
    ----------
    source : the map
    truth : non-zero on tumour
    threshold : probability from which a pixel counts as tumour
    sigma_px : Gaussian smoothing before the threshold, px of the map

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.metrics.Evaluation.result`; glass counts as what it is, negative

    Raises
    ------
    AnnotationError
        If the mask does not fit the slide, or is damaged.
    """
    step_y, step_x = (map_px / truth_px for map_px, truth_px in zip(source.scale_yx, truth_scale(source, truth), strict=True))
    height, width = source.shape
    block = max(64, int(_BLOCK / max(1.0, step_y, step_x)))
    evaluation = Evaluation(threshold)
    corners = [(y, x) for y in range(0, height, block) for x in range(0, width, block)]
    for y, x in corners:
        rows, columns = min(block, height - y), min(block, width - x)
        probability: NDArray[np.uint8] | NDArray[np.float32]
        probability = source.smoothed(y, x, rows, columns, sigma_px) if sigma_px > 0 else source.read(y, x, rows, columns)
        there = _sampled(truth, _centres(y, rows, step_y), _centres(x, columns, step_x))
        evaluation.add(probability, there, last=(y, x) == corners[-1])
    return evaluation.result()


def truth_scale(source: ProbabilityMap, truth: Mask) -> tuple[float, float]:
    """Return level-0 px of the slide per px of the mask, (y, x).

    A mask of the slide's proportions covers the whole slide. Any other must know its resolution, and then begins at the same corner
    (such masks were padded to whole tiles).

    Raises
    ------
    AnnotationError
        If neither holds.
    """
    height, width = source.slide["shape_level0"]
    scale_y, scale_x = height / truth.shape[0], width / truth.shape[1]
    # a px of rounding at each side of the smaller image is no difference
    slack = 0.005 + 1 / min(truth.shape)
    if abs(scale_y / scale_x - 1) <= slack:
        return scale_y, scale_x
    mpp = source.slide.get("mpp")
    if truth.mpp and mpp:
        scale = truth.mpp / mpp
        if 0.75 < scale / scale_y < 1.34 and 0.75 < scale / scale_x < 1.34:
            return scale, scale
    raise AnnotationError(
        truth.path,
        f"does not fit {source.slide['name']}: {truth.shape[1]} x {truth.shape[0]} px against {width} x {height} px",
        "Give the mask of this slide, at any resolution",
    )


def _centres(start: int, count: int, step: float) -> NDArray[np.int64]:
    """Return which px of the truth lie at the centres of px `start`... of the map."""
    centres: NDArray[np.int64] = np.floor((np.arange(start, start + count) + 0.5) * step + 1e-9).astype(np.int64)
    return centres


def _sampled(truth: Mask, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    window = truth.read(int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
    sampled: NDArray[np.bool_] = window[np.ix_(rows - rows[0], columns - columns[0])]
    return sampled
