"""A whole slide's map against its truth, block by block. For evaluation only: nothing here may feed training or choose a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations.images import level0_scale
from napari_ifkd.inference import ProbabilityMap

from .hausdorff import Outlines
from .metrics import Evaluation, settled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ifkd.annotations import Mask
    from napari_ifkd.inference import MapSource

_BLOCK = 2048  # px of the map, or of the truth where that is finer


def evaluate_map(source: MapSource, truth: Mask, threshold: float = 0.5, sigma_px: float = 0.0) -> dict[str, float]:
    """Score a map against a mask of the same slide, on the map's grid.

    The two are laid over each other by physical extent, so the mask may have any resolution; a px of the map has the truth at its centre.

    Parameters
    ----------
    source : the map, of ours or from a file
    truth : non-zero on tumour
    threshold : probability from which a pixel counts as tumour
    sigma_px : Gaussian smoothing before the threshold, px of the map

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.metrics.Evaluation.result`; glass counts as what it is, negative. HD95 is missing where nobody
    knows the resolution, or an outline has more than 16 million px

    Raises
    ------
    AnnotationError
        If the mask does not fit the slide, or one of the files is damaged.
    """
    step_y, step_x = (own / there for own, there in zip(source.scale_yx, level0_scale(truth, source.slide), strict=True))
    height, width = source.shape
    block = max(64, int(_BLOCK / max(1.0, step_y, step_x)))
    evaluation = Evaluation(threshold)
    outlines = Outlines(source.shape, source.pixel_size_um_yx or (1.0, 1.0))
    corners = [(y, x) for y in range(0, height, block) for x in range(0, width, block)]
    for y, x in corners:
        # with one px around, to see where outlines go on
        top, left = max(y - 1, 0), max(x - 1, 0)
        bottom, right = min(y + block + 1, height), min(x + block + 1, width)
        probability = _window(source, top, left, bottom - top, right - left, sigma_px)
        there = truth.sampled(top, left, bottom - top, right - left, (step_y, step_x))
        inner = slice(y - top, min(y + block, height) - top), slice(x - left, min(x + block, width) - left)
        evaluation.add(probability[inner], there[inner], last=(y, x) == corners[-1])
        beyond = [(int(y == 0), int(y + block >= height)), (int(x == 0), int(x + block >= width))]
        outlines.add(np.pad(evaluation.mask_of(probability), beyond), np.pad(there, beyond), y, x)
    scores = evaluation.result()
    distance = outlines.hd95_um() if source.pixel_size_um_yx and scores["true_share"] else None
    return scores if distance is None else {**scores, "hd95_um": distance}


def _window(source: MapSource, y0: int, x0: int, height: int, width: int, sigma_px: float) -> NDArray[np.uint8] | NDArray[np.float32]:
    if sigma_px > 0:
        return settled(source.smoothed(y0, x0, height, width, sigma_px))
    if isinstance(source, ProbabilityMap):
        return source.read(y0, x0, height, width)  # bytes are ranked faster
    return source.smoothed(y0, x0, height, width, 0.0)
