"""Rejected lesions into which a person paints tumour afterwards: what was said last counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.morphology import dilation

from napari_ifkd.annotations import rasterize
from napari_ifkd.annotations.corrections import LEAVE, NORMAL, TUMOUR

from .lesions import verdicts_on
from .taken_back import taken_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.annotations.verdicts import Verdict

    from .mask import Source
    from .outlines import Outline


def give_way(
    lesions: Sequence[Outline],
    verdicts: Sequence[Verdict],
    source: Source,
    corrections: Corrections,
    before: Callable[[int, int, int, int], NDArray[np.uint8]],
) -> tuple[list[Verdict], int]:
    """Let rejected lesions give way to tumour that was painted into them, or on to their border, since; for a thread.

    They would take what was painted with them, and what hangs together with it. Their rejection becomes paint: all of such a lesion but
    what was painted now is normal, and the verdict on it goes.

    Parameters
    ----------
    lesions : of the mask before it was painted on, (x, y) in px of the mask
    verdicts : on lesions of its slide and of others, in order of time
    source : what it is a mask of
    corrections : of the slide, painted; painted on here
    before : reads a window of them as they were: y, x, height and width in their px

    Returns
    -------
    The verdicts that stay, and how many lesions gave way
    """
    step_y, step_x = (own / of_map for own, of_map in zip(corrections.scale_yx, source.scale_yx, strict=True))
    here = [verdict for verdict in verdicts if verdict.slide == source.slide["name"]]
    words, _ = verdicts_on(lesions, here, source)
    left, gave_way = list(verdicts), 0
    for lesion, word in zip(lesions, words, strict=True):
        if word != "reject":
            continue
        x0, y0, x1, y1 = lesion.polygon.bounds
        top, left_px = int(y0 / step_y) - 2, int(x0 / step_x) - 2
        window = top, left_px, int(y1 / step_y) + 3 - top, int(x1 / step_x) + 3 - left_px
        new = (corrections.read(*window) == TUMOUR) & (before(*window) != TUMOUR)
        if not new.any():
            continue
        inside = rasterize(lesion.polygon, new.shape, (step_y, step_x), (top, left_px))
        if (dilation(new) & inside).any():  # side by side they would be one lesion
            corrections.paint(top, left_px, np.where(inside & ~new, NORMAL, LEAVE).astype(np.uint8))
            left = taken_back(lesion, left, source)
            gave_way += 1
    return left, gave_way
