"""Outlines as GeoJSON for QuPath, written feature by feature."""

from __future__ import annotations

import gzip
import io
import json
from typing import IO, TYPE_CHECKING, Any

import shapely
from shapely.geometry import MultiPolygon, Polygon

from .placed import ids_of, on_slide, perimeter_um, simplified

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .mask import FinishedMask


def write_geojson(path: Path, mask: FinishedMask) -> None:
    """Write a FeatureCollection, one annotation an object.

    Coordinates are (x, y) in level-0 px from the corner of the slide's scanned bounds, where QuPath begins to count. The member
    ``napari_ifkd`` holds the provenance; its ``warning``, if any, also goes into every object.
    """
    with path.open("w", encoding="utf-8") as file:
        _write(file, mask)


def write_geojson_gz(path: Path, mask: FinishedMask) -> None:
    """Write the same, compressed; the same bytes whenever it is written."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as file:
        _write(file, mask)


def _write(file: IO[str], mask: FinishedMask) -> None:
    pixel_y, pixel_x = mask.source.pixel_size_um_yx
    file.write('{"type":"FeatureCollection","napari_ifkd":' + json.dumps(mask.facts) + ',"features":[')
    count = 0
    for identity, outline in ids_of(mask):
        if count % 256 == 0:
            mask.check(count, len(mask.outlines))
        geometry = on_slide(simplified(outline.polygon, mask), mask, from_bounds=True)
        if geometry is None:
            continue
        kind = mask.kinds[outline.label]
        properties: dict[str, Any] = {
            "objectType": "annotation",
            "name": mask.name_of(outline.label),
            "classification": {"name": kind.name, "color": list(kind.colour)},
            "isLocked": False,
            "measurements": {
                "Area mm2": round(outline.area_px * pixel_y * pixel_x / 1e6, 9),
                "Perimeter mm": round(perimeter_um(outline.polygon, mask.source.pixel_size_um_yx) / 1e3, 6),
                "Mean probability": round(outline.mean_probability, 6),
            },
        }
        if mask.warning:
            properties["metadata"] = {"warning": mask.warning}
        head = json.dumps({"type": "Feature", "id": identity})
        text = "".join(_geometry(geometry))
        file.write(("," if count else "") + "\n" + head[:-1] + ', "geometry": ' + text + ', "properties": ' + json.dumps(properties) + "}")
        count += 1
    file.write("\n]}\n")


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
