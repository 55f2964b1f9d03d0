"""Outlines as GeoJSON for QuPath, written feature by feature."""

from __future__ import annotations

import json
import uuid
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_ifkd.inference import ProbabilityMap

    from .outlines import Outline

NOT_VALID = "phantom teacher: not valid on this slide"
CLASS_NAME, CLASS_COLOUR = "Tumor", (200, 0, 0)  # QuPath's own name and colour
_NAMESPACE = uuid.UUID("6f3c1d2e-51a7-5c0b-9a55-0d4b8a3f7e21")


def write_geojson(
    file: IO[str], outlines: Iterable[Outline], source: ProbabilityMap, provenance: dict[str, Any], simplify_um: float = 0.0
) -> int:
    """Write a FeatureCollection, one annotation an object, and return how many.

    Coordinates are (x, y) in level-0 px from the corner of the slide's scanned bounds, where QuPath begins to count.

    Parameters
    ----------
    file : open for writing
    outlines : of the mask, in px of the map
    source : the map, for its place on the slide
    provenance : written as the member ``napari_ifkd``; its ``warning``, if any, also goes into the name of every object
    simplify_um : outlines may deviate so much, um; 0 keeps every pixel's edge
    """
    warning = provenance.get("warning")
    pixel_y, pixel_x = source.pixel_size_um_yx
    seed = json.dumps([source.slide.get("quick_hash"), provenance.get("round"), provenance.get("model")], sort_keys=True)
    file.write('{"type":"FeatureCollection","napari_ifkd":' + json.dumps(provenance) + ',"features":[')
    count = 0
    for outline in outlines:
        geometry = _on_slide(outline.polygon, source, simplify_um / ((pixel_y + pixel_x) / 2))
        if geometry is None:
            continue
        text = "".join(_geometry(geometry))
        properties: dict[str, Any] = {
            "objectType": "annotation",
            "name": f"{CLASS_NAME} ({NOT_VALID})" if warning else CLASS_NAME,
            "classification": {"name": CLASS_NAME, "color": list(CLASS_COLOUR)},
            "isLocked": False,
            "measurements": {
                "Area mm2": round(outline.area_px * pixel_y * pixel_x / 1e6, 9),
                "Mean probability": round(outline.mean_probability, 6),
            },
        }
        if warning:
            properties["metadata"] = {"warning": warning}
        head = json.dumps({"type": "Feature", "id": str(uuid.uuid5(_NAMESPACE, seed + text))})
        file.write(("," if count else "") + "\n" + head[:-1] + ', "geometry": ' + text + ', "properties": ' + json.dumps(properties) + "}")
        count += 1
    file.write("\n]}\n")
    return count


def _on_slide(polygon: Polygon, source: ProbabilityMap, tolerance_px: float) -> Polygon | MultiPolygon | None:
    """Simplify, and move to where QuPath counts from; None if nothing is left."""
    if tolerance_px > 0:
        polygon = shapely.simplify(polygon, tolerance_px, preserve_topology=True)
    scale = np.array(source.scale_yx[::-1])
    origin = np.array(source.bounds_origin_yx_level0[::-1])
    # hundredths of a px are finer than any pixel of the map, so no two of its edges fall together
    placed = shapely.transform(polygon, lambda xy: np.round(xy * scale - origin, 2))
    if not bool(shapely.is_valid(placed)):
        pieces = shapely.get_parts(shapely.get_parts(shapely.make_valid(placed)))
        parts = [piece for piece in pieces if isinstance(piece, Polygon) and piece.area > 0]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return None if placed.is_empty else placed


def _geometry(geometry: Polygon | MultiPolygon) -> Iterator[str]:
    if isinstance(geometry, Polygon):
        yield '{"type": "Polygon", "coordinates": '
        yield _polygon(geometry)
    else:
        yield '{"type": "MultiPolygon", "coordinates": ['
        yield ",".join(_polygon(part) for part in geometry.geoms)
        yield "]"
    yield "}"


def _polygon(polygon: Polygon) -> str:
    # shells anticlockwise and holes clockwise, as RFC 7946 asks
    rings = enumerate([polygon.exterior, *polygon.interiors])
    return "[" + ",".join(_ring(ring if ring.is_ccw == (index == 0) else ring.reverse()) for index, ring in rings) + "]"


def _ring(ring: shapely.LinearRing) -> str:
    return "[" + ",".join([f"[{x:.10g},{y:.10g}]" for x, y in shapely.get_coordinates(ring).tolist()]) + "]"
