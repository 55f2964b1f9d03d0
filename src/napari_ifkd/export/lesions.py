"""The lesions of a mask one by one, and what a person said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

_GROWN = 2.0  # how much larger than what was judged a lesion may be


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


def verdicts_on(outlines: Sequence[Outline], verdicts: Sequence[Verdict], source: Source) -> tuple[list[Word | None], int]:
    """Return what was said of each lesion, None of those nobody judged, and how many places that were judged hold for no lesion.

    The last verdict inside a lesion counts, unless the lesion is more than twice as large as what was judged so in it: at a lower threshold
    lesions flow together, and what was said of one is not said of all.

    Parameters
    ----------
    outlines : (x, y) in px of the mask
    verdicts : of its slide, in order of time
    source : what it is a mask of
    """
    said: list[Word | None] = [None] * len(outlines)
    places = list({(verdict.x, verdict.y): verdict for verdict in verdicts}.values())  # the last of each place
    if not places or not outlines:
        return said, len(places)
    order = {id(verdict): at for at, verdict in enumerate(verdicts)}
    (side_y, side_x), (scale_y, scale_x) = source.pixel_size_um_yx, source.scale_yx
    points = shapely.points([(v.x / scale_x, v.y / scale_y) for v in places])
    held: dict[int, list[Verdict]] = {}
    for place, lesion in shapely.STRtree([outline.polygon for outline in outlines]).query(points, predicate="intersects").T.tolist():
        held.setdefault(lesion, []).append(places[place])
    used = 0
    for lesion, inside in held.items():
        last = max(inside, key=lambda verdict: order[id(verdict)])
        alike = [verdict.area_mm2 for verdict in inside if verdict.verdict == last.verdict]
        area = outlines[lesion].area_px * side_y * side_x / 1e6
        if None in alike or area <= _GROWN * sum(known for known in alike if known is not None):
            said[lesion] = last.verdict
            used += len(inside)
    return said, len(places) - used


def verdicts_for(run: RunFolder, source: Source) -> list[Verdict]:
    """Return what a person said of lesions on the slide of a map.

    Raises
    ------
    AnnotationError
        If the table is damaged.
    """
    return [verdict for verdict in read_verdicts(run.verdicts) if verdict.slide == source.slide["name"]]
