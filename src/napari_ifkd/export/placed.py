"""Outlines where other programs count from, valid after simplifying, with an id that stays."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .mask import FinishedMask
    from .outlines import Outline

_NAMESPACE = uuid.UUID("6f3c1d2e-51a7-5c0b-9a55-0d4b8a3f7e21")


def simplified(polygon: Polygon, mask: FinishedMask) -> Polygon:
    """Return an outline that deviates as much as was asked for, px of the map."""
    pixel_y, pixel_x = mask.source.pixel_size_um_yx
    tolerance_px = mask.options.simplify_um / ((pixel_y + pixel_x) / 2)
    return shapely.simplify(polygon, tolerance_px, preserve_topology=True) if tolerance_px > 0 else polygon


def on_slide(polygon: Polygon, mask: FinishedMask, *, from_bounds: bool) -> Polygon | MultiPolygon | None:
    """Move a polygon from px of the map to level-0 px, valid; None if nothing is left.

    Parameters
    ----------
    polygon : px of the map
    mask : that it is of
    from_bounds : count from the corner of the scanned bounds, as QuPath does, not from the slide's
    """
    scale = np.array(mask.source.scale_yx[::-1])
    origin = np.array(mask.source.bounds_origin_yx_level0[::-1]) * from_bounds - np.array(mask.corner_yx_level0[::-1])
    # hundredths of a px are finer than any pixel of the map, so no two of its edges fall together
    placed = shapely.transform(polygon, lambda xy: np.round(xy * scale - origin, 2))
    if bool(shapely.is_valid(placed)):
        return None if placed.is_empty else placed
    pieces = shapely.get_parts(shapely.get_parts(shapely.make_valid(placed)))
    parts = [piece for piece in pieces if isinstance(piece, Polygon) and piece.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def ids_of(mask: FinishedMask) -> Iterator[tuple[str, Outline]]:
    """Yield a UUID for each outline: the same whenever, and in whatever format, this mask is written."""
    seed = json.dumps([mask.source.slide.get("quick_hash"), mask.facts.get("round"), mask.source.model], sort_keys=True).encode()
    for outline in mask.outlines:
        place = np.ascontiguousarray(shapely.get_coordinates(outline.polygon), "<f8").tobytes()
        yield str(uuid.uuid5(_NAMESPACE, (seed + place).hex())), outline


def perimeter_um(polygon: Polygon, pixel_size_um_yx: tuple[float, float]) -> float:
    """Return the length of an outline and its holes through the midpoints of pixel edges, um.

    Along the edges themselves a slanting line would be up to 1.41 times too long; so it is 1.08 times at most.

    Parameters
    ----------
    polygon : along pixel edges, px
    pixel_size_um_yx : side lengths of a px, um
    """
    side_y, side_x = pixel_size_um_yx
    rings = shapely.get_rings(polygon)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    steps = np.abs(np.diff(xy, axis=0))[ring[1:] == ring[:-1]]  # each along one axis
    corners = len(xy) - len(rings)
    cut = (side_x + side_y) / 2 - np.hypot(side_x, side_y) / 2
    return float(steps[:, 0].sum() * side_x + steps[:, 1].sum() * side_y - corners * cut)
