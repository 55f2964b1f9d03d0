"""Where to predict: the whole tissue, the visible field, or the shapes of a layer; as a geometry in level-0 px (x, y)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import make_valid, union_all
from shapely.geometry import Polygon, box

from napari_ifkd.errors import AnnotationError

from .layers import tag
from .look import field_px
from .words import area

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session_records import RegionKind
    from napari_ifkd.slides import Slide


def region_geometry(kind: RegionKind, slide: Slide, viewer: Any) -> BaseGeometry | None:
    """Return the region, None for the whole tissue.

    Raises
    ------
    AnnotationError
        If the visible field misses the slide, or there is no shapes layer with a closed shape.
    """
    if kind == "tissue":
        return None
    height, width = slide.shape_level0
    whole = box(0, 0, width, height)
    region = box(*field_px(slide, viewer)) if kind == "field" else union_all(_shapes(slide, viewer))
    cut = region.intersection(whole)
    if cut.is_empty:
        raise AnnotationError("region", "lies beside the slide", "Pan back to the slide, or choose Whole tissue")
    return cut


def lacking_shape(kind: RegionKind, slide: Slide | None, viewer: Any) -> str:
    """Return what to do first where shapes are the region and there is none, else ""."""
    if kind == "shapes" and slide is not None:
        try:
            _shapes(slide, viewer)
        except AnnotationError as error:
            return f"{error.cause}. {error.remedy}"
    return ""


def shapes_told(slide: Slide, viewer: Any) -> str:
    """Tell which shapes are the region: how many, of which layer, and of what area.

    Raises
    ------
    AnnotationError
        If there are none.
    """
    closed = _shapes(slide, viewer)
    size = "" if slide.mpp is None else f", {area(union_all(closed).area * slide.mpp**2 / 1e6)}"
    return f"Predict looks in {len(closed)} closed shape{'s' * (len(closed) > 1)} of the layer {_layer(slide, viewer).name}{size}."


def _shapes(slide: Slide, viewer: Any) -> list[BaseGeometry]:
    layer = _layer(slide, viewer)
    closed = closed_shapes(layer, slide)
    if not closed:
        raise AnnotationError(f"shapes layer {layer.name}", "has no closed shape", "Draw a polygon, rectangle or ellipse")
    return closed


def _layer(slide: Slide, viewer: Any) -> Any:
    """Return the layer whose shapes are the region: the one picked, else the one that is made for it, else the last."""
    chosen = viewer.layers.selection.active
    layers = [layer for layer in viewer.layers if type(layer).__name__ == "Shapes" and len(layer.data) and _may_be(layer, slide)]
    if not layers:
        raise AnnotationError("region", "nothing is drawn yet", "Press Draw the region in the Slide dock, and draw it")
    return max(reversed(layers), key=lambda layer: (layer is chosen, tag(layer).get("kind") == "drawn region"))


def _may_be(layer: Any, slide: Slide) -> bool:
    """Return whether the shapes of a layer may be a region of a slide: drawn for it, or of the user's own while it was the active one."""
    known = tag(layer)
    return not known or str(slide.path) == {"own": known.get("of"), "drawn region": known.get("path")}.get(known["kind"])


def closed_shapes(layer: Any, slide: Slide) -> list[BaseGeometry]:
    """Return the closed shapes of a shapes layer, (x, y) in level-0 px of a slide, valid."""
    mpp, closed = slide.mpp or 1.0, []
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    axes = np.stack([layer.data_to_world(unit) for unit in np.eye(layer.ndim)]) - origin
    for vertices, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind not in ("polygon", "rectangle", "ellipse") or len(vertices) < 3:
            continue
        points = _ellipse(vertices) if kind == "ellipse" else vertices
        world = (np.asarray(points) @ axes + origin)[:, -2:]
        shape = make_valid(Polygon((world / mpp + 0.5)[:, ::-1]))
        if shape.area > 0:  # else it is being drawn
            closed.append(shape)
    return closed


def _ellipse(corners: Any) -> Any:
    corners = np.asarray(corners, float)
    centre, along, across = corners.mean(0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    return centre + np.cos(angles) * along + np.sin(angles) * across
