"""The lesions of a mask one by one, and what a person said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_ifkd.annotations.verdicts import INSIDE, read_verdicts, standing

from .corrected import corrected
from .excluded import cleared
from .mask import bands_of
from .outlines import Outline, OutlineTracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.annotations.verdicts import Verdict, Word
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.runs.folder import RunFolder

    from .mask import Source

_GROWN = 2.0  # how much larger than what was judged a lesion may be
_PART = 0.8  # share of a lesion below which what was judged was a part of it
_SPECK = 0.1  # share below which that part says nothing of the whole, where something else was said of more


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
    lesions flow together, and what was said of one is not said of all, nor that of a speck of the rest. Where a lesion falls apart, at a
    higher threshold, what was said of it is said of its parts.

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
    lesions = np.asarray([outline.polygon for outline in outlines], object)
    tree = shapely.STRtree(lesions)
    held: dict[int, list[Verdict]] = {}
    for place, lesion in tree.query(points, predicate="intersects").T.tolist():
        held.setdefault(lesion, []).append(places[place])
    holding: dict[int, list[Verdict]] = {}
    for lesion, inside in held.items():
        area = outlines[lesion].area_px * side_y * side_x / 1e6
        weighty = [verdict for verdict in inside if verdict.area_mm2 is None or verdict.area_mm2 >= _SPECK * area] or inside
        last = max(weighty, key=lambda verdict: order[id(verdict)])
        alike = [verdict.area_mm2 for verdict in inside if verdict.verdict == last.verdict]
        if None in alike or area <= _GROWN * sum(known for known in alike if known is not None):
            holding[lesion] = [verdict for verdict in inside if verdict in weighty or verdict.verdict == last.verdict]
    for lesion, verdict in _parts(lesions, tree, places, (scale_x, scale_y)):
        holding.setdefault(lesion, []).append(verdict)
    used: set[int] = set()
    for lesion, verdicts_here in holding.items():
        word = said[lesion] = max(verdicts_here, key=lambda verdict: order[id(verdict)]).verdict
        area = outlines[lesion].area_px * side_y * side_x / 1e6
        # another word on a part of it, which was a lesion by itself, holds no more
        parts = [v for v in verdicts_here if v.verdict != word and v.area_mm2 is not None and v.area_mm2 < _PART * area]
        used |= {id(verdict) for verdict in verdicts_here} - {id(verdict) for verdict in parts}
    return said, len(places) - len(used)


def grown_mm2(outlines: Sequence[Outline], words: Sequence[Word | None], verdicts: Sequence[Verdict], source: Source) -> float:
    """Return how much larger the rejected lesions of a mask are than they were when they were rejected, mm²; 0 where they are not.

    Parameters
    ----------
    outlines : (x, y) in px of the mask
    words : what was said of each, see :func:`verdicts_on`
    verdicts : of its slide, in order of time
    source : what it is a mask of
    """
    rejected = [outline for outline, word in zip(outlines, words, strict=True) if word == "reject"]
    then = [verdict for verdict in standing(verdicts) if verdict.verdict == "reject"]
    if not rejected or not then:
        return 0.0
    (side_y, side_x), (scale_y, scale_x) = source.pixel_size_um_yx, source.scale_yx
    tree = shapely.STRtree(shapely.points([(verdict.x / scale_x, verdict.y / scale_y) for verdict in then]))
    more = 0.0
    for outline in rejected:
        held = [then[place].area_mm2 for place in tree.query(outline.polygon, predicate="intersects").tolist()]
        if held and None not in held:
            more += max(0.0, outline.area_px * side_y * side_x / 1e6 - sum(known for known in held if known is not None))
    return more


def _parts(
    lesions: NDArray[np.object_], tree: shapely.STRtree, places: Sequence[Verdict], scale_xy: tuple[float, float]
) -> Iterator[tuple[int, Verdict]]:
    """Yield lesions, by index, that lie within what was judged, and the verdict on that."""
    kept = [verdict for verdict in places if verdict.outline]
    judged = shapely.transform(shapely.make_valid(shapely.from_wkt([verdict.outline for verdict in kept])), lambda xy: xy / scale_xy)
    areas = shapely.area(lesions)
    inside = set(map(tuple, tree.query(judged, predicate="covers").T.tolist()))  # quick, and all but a few
    one, other = tree.query(judged, predicate="intersects")
    rest = [pair for pair in zip(one.tolist(), other.tolist(), strict=True) if pair not in inside]
    rest = [(place, lesion) for place, lesion in rest if INSIDE * areas[lesion] <= shapely.area(judged[place])]
    at, of = (np.array([pair[n] for pair in rest], int) for n in (0, 1))
    common = shapely.area(shapely.intersection(lesions[of], judged[at])).tolist()
    inside |= {pair for pair, area in zip(rest, common, strict=True) if area >= INSIDE * areas[pair[1]]}
    for place, lesion in sorted(inside):
        yield lesion, kept[place]


def verdicts_for(run: RunFolder, source: Source) -> list[Verdict]:
    """Return what a person said of lesions on the slide of a map.

    Raises
    ------
    AnnotationError
        If the table is damaged.
    """
    return [verdict for verdict in read_verdicts(run.verdicts) if verdict.slide == source.slide["name"]]
