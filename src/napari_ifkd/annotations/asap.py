"""ASAP's XML, the format of the Camelyon annotations, to regions.

``<ASAP_Annotations><Annotations><Annotation Name Type PartOfGroup><Coordinates><Coordinate Order X Y/>``, in level-0 px, and groups with
their own groups in ``<AnnotationGroups>``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat

import numpy as np
import shapely

from napari_ifkd.errors import AnnotationError

from .region import Region, cut_out, polygons_of

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

_REMEDY = "Give XML as ASAP writes it (ASAP_Annotations with polygons, splines or rectangles in pixels of the finest level)"
_TUMOUR_GROUPS = {"_0", "_1"}  # Camelyon16's
_CUT_GROUPS = {"_2", "exclusion"}
_AREAS = {"polygon", "spline", "rectangle"}


@dataclass
class _Drawn:
    """An annotation as it stands in the file."""

    name: str
    kind: str
    group: str
    points: list[tuple[int, float, float]] = field(default_factory=list)  # order, x, y


def asap_regions(path: Path, data: bytes) -> tuple[list[Region], int]:
    """Read the polygons, splines (by their points, as ASAP's own masks do) and rectangles of an ASAP file, and count dots and lines.

    The classification of a region is its group's, or that of the group's own group. Camelyon16's ``_0`` and ``_1`` are "Tumor". Its ``_2``,
    groups called Exclusion, and in a file with tumour whatever has neither a group nor a telling name, are cut out of it and are "Normal".

    Parameters
    ----------
    path : the file, for messages
    data : its bytes

    Raises
    ------
    AnnotationError
        If it is no XML of ASAP's, or holds a document type definition (whose entities could grow without bounds).
    """
    drawn, parents = _parse(path, data)
    regions = []
    for item in drawn:
        geometry = polygons_of(_shaped(item))
        if geometry is not None:
            regions.append(Region(geometry, item.name, _classification(item.group, parents)))
    left_out = len(drawn) - len(regions)
    if any(region.classification is not None and region.meaning == "tumour" for region in regions):
        regions = [r if r.classification or r.meaning != "other" else Region(r.geometry, r.name, "Normal") for r in regions]
    return cut_out(regions), left_out


def _parse(path: Path, data: bytes) -> tuple[list[_Drawn], dict[str, str]]:
    drawn: list[_Drawn] = []
    parents: dict[str, str] = {}
    depth = 0
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise AnnotationError(path, "holds a document type definition, which ASAP does not write", _REMEDY)

    def start(tag: str, said: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0 and tag != "ASAP_Annotations":
            raise AnnotationError(path, f"is XML, but not ASAP's (it begins with {tag[:40]})", _REMEDY)
        depth += 1
        if tag == "Annotation":
            drawn.append(_Drawn(said.get("Name", ""), said.get("Type", "").lower(), said.get("PartOfGroup", "")))
        elif tag == "Coordinate" and drawn:
            try:
                x, y = (float(said[axis].replace(",", ".")) for axis in "XY")  # some locales write decimals with a comma
                order = int(said.get("Order", len(drawn[-1].points)))
            except (KeyError, ValueError):
                x, y, order = math.nan, math.nan, 0
            if not (math.isfinite(x) and math.isfinite(y)):
                raise AnnotationError(path, f"line {parser.CurrentLineNumber}: a Coordinate without whole Order, X and Y", _REMEDY)
            drawn[-1].points.append((order, x, y))
        elif tag == "Group":
            parents[said.get("Name", "")] = said.get("PartOfGroup", "None")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an encoding that Python does not know
        raise AnnotationError(path, f"is no whole XML ({str(error)[:100]})", _REMEDY) from error
    return drawn, parents


def _shaped(item: _Drawn) -> BaseGeometry:
    """Return what was drawn as a polygon; an empty one if it has no area."""
    points = np.array([(x, y) for _, x, y in sorted(item.points, key=lambda p: p[0])])
    if item.kind == "rectangle" and len(points) == 2:  # opposite corners
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return shapely.Polygon(points) if item.kind in _AREAS and len(points) >= 3 else shapely.Polygon()


def _classification(group: str, parents: dict[str, str]) -> str | None:
    """Name the class of a group: the first among it and its parents that means something, else its own name; None without a group."""
    seen: list[str] = []
    while group not in ("", "None", *seen):
        seen.append(group)
        word = group.strip().lower()
        if word in _TUMOUR_GROUPS:
            return "Tumor"
        if word in _CUT_GROUPS:
            return "Normal"
        if Region(shapely.Polygon(), "", group).meaning != "other":
            return group
        group = parents.get(group, "None")
    return seen[0] if seen else None
