"""The lesions of a mask one by one, and what a person said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_ifkd.annotations.verdicts import read_verdicts

from .corrected import corrected
from .excluded import cleared
from .mask import bands_of
from .outlines import Outline, OutlineTracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.annotations.verdicts import Verdict, Word
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.runs.folder import RunFolder

    from .mask import Source


def lesions_of(
    source: ProbabilityMap,
    threshold: float,
    sigma_px: float,
    corrections: Corrections | None = None,
    exclusion: BaseGeometry | None = None,
    check: Callable[[int, int], None] = lambda done, total: None,
) -> list[Outline]:
    """Return the lesions that an export of a map would hold before anybody rejected one.

    Parameters
    ----------
    source, threshold, sigma_px : as in :meth:`ProbabilityMap.mask`
    corrections, exclusion : as in :func:`napari_ifkd.export.export_map`
    check : called with rows done and in all; raises to stop

    Returns
    -------
    Their outlines, (x, y) in px of the map, with the mean of the probability
    """
    tracer = OutlineTracer(source.shape[1])
    bands = bands_of(source, threshold, sigma_px, check)
    if corrections is not None:
        bands = corrected(bands, corrections, source.shape)
    if exclusion is not None:
        bands = cleared(bands, exclusion, source.scale_yx)
        source = source.without(exclusion)
    y = 0
    for band in bands:
        tracer.add(band > 0, source.read(y, 0, len(band), source.shape[1]))
        y += len(band)
    return list(tracer.finish())


def verdicts_on(outlines: Sequence[Outline], verdicts: Sequence[Verdict], scale_yx: tuple[float, float]) -> list[Word | None]:
    """Return what was said of each lesion, None of those nobody judged; the last verdict inside a lesion counts.

    Parameters
    ----------
    outlines : (x, y) in px of the mask
    verdicts : of its slide, in order of time
    scale_yx : level-0 px per px of the mask
    """
    said: list[Word | None] = [None] * len(outlines)
    if not verdicts or not outlines:
        return said
    places = shapely.points([(v.x / scale_yx[1], v.y / scale_yx[0]) for v in verdicts])
    found = shapely.STRtree([outline.polygon for outline in outlines]).query(places, predicate="intersects")
    for place, lesion in found[:, np.argsort(found[0], kind="stable")].T.tolist():
        said[lesion] = verdicts[place].verdict
    return said


def verdicts_for(run: RunFolder, source: Source) -> list[Verdict]:
    """Return what a person said of lesions on the slide of a map.

    Raises
    ------
    AnnotationError
        If the table is damaged.
    """
    return [verdict for verdict in read_verdicts(run.verdicts) if verdict.slide == source.slide["name"]]
