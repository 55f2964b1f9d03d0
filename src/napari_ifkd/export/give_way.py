"""Rejected lesions into which a person paints tumour afterwards: what was said last counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from skimage.morphology import dilation

from napari_ifkd.annotations import rasterize
from napari_ifkd.annotations.corrections import LEAVE, NORMAL, TUMOUR
from napari_ifkd.annotations.verdicts import standing

from .lesions import verdicts_on
from .taken_back import taken_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

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

    They would take what was painted with them, and what hangs together with it. Their rejection becomes paint: all that was rejected with
    them but what was painted now, and lesions that were accepted, is normal, and the verdicts on them go.

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
    scale_y, scale_x = source.scale_yx
    step = corrections.scale_yx[0] / scale_y, corrections.scale_yx[1] / scale_x

    def window(region: BaseGeometry) -> tuple[tuple[int, int], NDArray[np.bool_]]:
        """Return where a window round a region lies, and which of its px were painted since."""
        x0, y0, x1, y1 = region.bounds
        top, left = int(y0 / step[0]) - 2, int(x0 / step[1]) - 2
        box = top, left, int(y1 / step[0]) + 3 - top, int(x1 / step[1]) + 3 - left
        return (top, left), (corrections.read(*box) == TUMOUR) & (before(*box) != TUMOUR)

    def touched(region: BaseGeometry) -> bool:
        corner, new = window(region)
        return bool(new.any() and (dilation(new) & rasterize(region, new.shape, step, corner)).any())  # beside it is one with it

    def here(told: Sequence[Verdict]) -> list[Verdict]:
        return [verdict for verdict in told if verdict.slide == source.slide["name"]]

    words, _ = verdicts_on(lesions, here(verdicts), source)
    outlined = {
        verdict: _outline(verdict, source) for verdict in standing(here(verdicts)) if verdict.verdict == "reject" and verdict.outline
    }
    left = list(verdicts)
    for lesion, word in zip(lesions, words, strict=True):
        if word == "reject" and touched(lesion.polygon):
            left = taken_back(lesion, left, source)
    left = [verdict for verdict in left if verdict not in outlined or not touched(outlined[verdict])]
    if len(left) == len(verdicts):
        return left, 0
    now, _ = verdicts_on(lesions, here(left), source)
    lost = [lesion.polygon for lesion, was, word in zip(lesions, words, now, strict=True) if was == "reject" != word]
    accepted = shapely.union_all([lesion.polygon for lesion, word in zip(lesions, words, strict=True) if word == "accept"])
    rejected = shapely.union_all([*lost, *(region for verdict, region in outlined.items() if verdict not in left)])
    for part in shapely.get_parts(shapely.difference(rejected, accepted)):
        corner, new = window(part)
        inside = rasterize(part, new.shape, step, corner)
        corrections.paint(*corner, np.where(inside & ~new, NORMAL, LEAVE).astype(np.uint8))
    return left, max(1, len(lost))


def _outline(verdict: Verdict, source: Source) -> BaseGeometry:
    """Return the outline of what was judged, (x, y) in px of a mask."""
    scale_y, scale_x = source.scale_yx
    return shapely.transform(shapely.make_valid(shapely.from_wkt(verdict.outline)), lambda xy: xy / (scale_x, scale_y))
