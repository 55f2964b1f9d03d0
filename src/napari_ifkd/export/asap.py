"""Outlines as ASAP's XML: level-0 px of the whole slide, holes as polygons of a group of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely

from .placed import on_slide, simplified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shapely.geometry import Polygon

    from .mask import FinishedMask

CUT_OUT = "Exclusion"
_CUT_COLOUR = "#000000"


def write_asap(path: Path, mask: FinishedMask) -> None:
    """Write ASAP's XML, one annotation a ring.

    Whoever reads it cuts every polygon of the group Exclusion out of all others. So a hole with tumour inside is not written as one:
    the polygon around it is cut in two along a pixel's edge.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?>\n')
        told = json.dumps(mask.facts).replace("--", "-\\u002d")  # two dashes end a comment
        file.write(f"<!-- napari_ifkd {told} -->\n<ASAP_Annotations>\n\t<Annotations>\n")
        count = 0
        for number, (label, piece) in enumerate(_pieces(mask)):
            if number % 256 == 0:
                mask.check(min(number, len(mask.outlines)), len(mask.outlines))
            placed = on_slide(simplified(piece, mask), mask, from_bounds=False)
            kind = mask.kinds[label]
            for part in shapely.get_parts(placed):
                for index, ring in enumerate((part.exterior, *part.interiors)):
                    name = f"{mask.name_of(label) if index == 0 else CUT_OUT} {count}"
                    group, colour = (kind.name, _hex(kind.colour)) if index == 0 else (CUT_OUT, _CUT_COLOUR)
                    file.write(f'\t\t<Annotation Name={quoteattr(name)} Type="Polygon" PartOfGroup={quoteattr(group)} Color="{colour}">\n')
                    file.write("\t\t\t<Coordinates>\n")
                    points = shapely.get_coordinates(ring)[:-1].tolist()  # ASAP closes rings itself
                    file.writelines(
                        f'\t\t\t\t<Coordinate Order="{order}" X="{x:.10g}" Y="{y:.10g}" />\n' for order, (x, y) in enumerate(points)
                    )
                    file.write("\t\t\t</Coordinates>\n\t\t</Annotation>\n")
                    count += 1
        file.write("\t</Annotations>\n\t<AnnotationGroups>\n")
        groups = [(kind.name, _hex(kind.colour)) for kind in mask.kinds.values()] + [(CUT_OUT, _CUT_COLOUR)]
        for name, colour in dict(groups).items():
            file.write(f'\t\t<Group Name={quoteattr(name)} PartOfGroup="None" Color="{colour}">\n\t\t\t<Attributes />\n\t\t</Group>\n')
        file.write("\t</AnnotationGroups>\n</ASAP_Annotations>\n")


def _pieces(mask: FinishedMask) -> Iterator[tuple[int, Polygon]]:
    """Yield label and polygon of every object, none with a hole that holds another object."""
    tree = shapely.STRtree([outline.polygon for outline in mask.outlines])
    for outline in mask.outlines:
        waiting = [outline.polygon]
        while waiting:
            polygon = waiting.pop()
            full = next((hole for hole in polygon.interiors if _holds_another(hole, tree)), None)
            if full is None:
                yield outline.label, polygon
                continue
            left, top, right, bottom = polygon.bounds
            x = float(np.floor((full.bounds[0] + full.bounds[2]) / 2))
            x = min(max(x, full.bounds[0] + 1), full.bounds[2] - 1)  # inside the hole, which is 3 px wide at least
            for half in (shapely.box(left, top, x, bottom), shapely.box(x, top, right, bottom)):
                parts = shapely.get_parts(shapely.intersection(polygon, half))
                waiting += [part for part in parts if part.geom_type == "Polygon" and part.area > 0]


def _holds_another(hole: shapely.LinearRing, tree: shapely.STRtree) -> bool:
    inner = shapely.polygons(hole)
    return bool(len(tree.query(inner, predicate="contains")))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02X}" for part in colour)
