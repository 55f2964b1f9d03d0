"""Camelyon16 lesions as NCRF's JSON: ``{"positive": [{"name", "vertices"}], "negative": [...]}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import shapely

from napari_ifkd.errors import AnnotationError

from .region import Region, cut_out, polygons_of

if TYPE_CHECKING:
    from pathlib import Path

_REMEDY = 'Give {"positive": [{"name": ..., "vertices": [[x, y], ...]}], "negative": [...]}, in pixels of the finest level'


def is_ncrf(data: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether decoded JSON is of this kind, rather than GeoJSON."""
    return isinstance(data, dict) and "type" not in data and isinstance(data.get("positive", data.get("negative")), list)


def ncrf_regions(path: Path, data: dict[str, Any]) -> list[Region]:
    """Read positive polygons as tumour, with the negative ones cut out, and these as normal.

    Parameters
    ----------
    path : the file, for messages
    data : decoded JSON

    Raises
    ------
    AnnotationError
        If a polygon is broken.
    """
    regions = []
    for sign in ("positive", "negative"):
        listed = data.get(sign, [])
        if not isinstance(listed, list):
            raise AnnotationError(path, f"{sign} is no list", _REMEDY)
        for index, item in enumerate(listed):
            try:
                shaped = shapely.Polygon(np.asarray(item["vertices"], np.float64).reshape(-1, 2))
            except (ValueError, TypeError, KeyError, shapely.errors.ShapelyError) as error:
                raise AnnotationError(path, f"{sign} polygon {index + 1} is broken ({str(error)[:100]})", _REMEDY) from error
            geometry = polygons_of(shaped)
            if geometry is not None:
                regions.append(Region(geometry, str(item.get("name") or ""), sign))
    return cut_out(regions)
