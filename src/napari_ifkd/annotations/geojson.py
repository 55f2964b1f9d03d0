"""GeoJSON in every flavour, as QuPath and others write it, to regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from shapely.geometry import shape as to_shape

from napari_ifkd.errors import AnnotationError

from .foreign import refuse_foreign
from .region import Region, polygons_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REMEDY = "Give GeoJSON as QuPath writes it (Features with polygons in pixels of the finest level)"


def geojson_regions(path: Path, data: Any) -> tuple[list[Region], int]:
    """Read the polygons of GeoJSON, and count what is left out: points and lines.

    Parameters
    ----------
    path : the file, for messages
    data : decoded JSON: a FeatureCollection, a list of Features, one Feature or a bare geometry

    Raises
    ------
    AnnotationError
        If it is no GeoJSON, or a geometry is broken.
    """
    found = [shaped for index, feature in enumerate(_features(path, data)) for shaped in _regions(path, index, feature)]
    regions = [region for region in found if region is not None]
    return regions, len(found) - len(regions)


def _features(path: Path, data: Any) -> list[dict[str, Any]]:
    """Bring every flavour to a list of Features."""
    if isinstance(data, dict):
        kind = data.get("type")
        if kind == "FeatureCollection" and isinstance(data.get("features"), list):
            data = data["features"]
        elif kind == "Feature":
            data = [data]
        elif "coordinates" in data or "geometries" in data:
            data = [{"type": "Feature", "geometry": data}]
    if isinstance(data, list) and all(isinstance(item, dict) and item.get("type") == "Feature" for item in data):
        return data
    refuse_foreign(path, data)
    raise AnnotationError(path, "is JSON, but no GeoJSON", REMEDY)


def _regions(path: Path, index: int, feature: dict[str, Any]) -> Iterator[Region | None]:
    """Yield the region of a feature, None where it marks no area, and nothing where it is nowhere."""
    geometry = feature.get("geometry")
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if not isinstance(geometry, dict):
        return  # GeoJSON allows null
    try:
        shaped = shapely.force_2d(to_shape(geometry))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise AnnotationError(path, f"feature {index + 1} has a broken geometry ({str(error)[:100]})", REMEDY) from error
    polygons = polygons_of(shaped)
    yield None if polygons is None else Region(polygons, str(properties.get("name") or ""), _classification(properties))


def _classification(properties: dict[str, Any]) -> str | None:
    """Read QuPath's classification: an object with a name or names, or plain text."""
    said = properties.get("classification")
    if isinstance(said, dict):
        names = said.get("names")
        said = said.get("name") or (names[0] if isinstance(names, list) and names else None)
    return str(said) if said else None
