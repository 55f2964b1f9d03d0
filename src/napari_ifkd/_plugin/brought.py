"""What other programs drew, as labels layers in place on the open slide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_ifkd.annotations import rasterize, read_mask, read_regions
from napari_ifkd.annotations.images import is_image, level0_scale
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.errors import InputError

from .layers import KEY, LayerData, label_colours, outlined, placement, tag
from .palette import BOTH, EXCLUSION, INK, NORMAL
from .settings import runs_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_ifkd.slides import Slide

MASK_FILES = "Masks (*.geojson *.json *.gz *.xml *.tif *.tiff *.png);;All files (*)"
_IMAGES = (".tif", ".tiff", ".png", ".zarr")
BROUGHT = "brought"  # folder of the runs folder for regions that were made of label images
MEANINGS = ("tumour", "normal", "exclusion", "other")  # labels 1 to 4
_COLOURS = dict(enumerate((INK, NORMAL, EXCLUSION, BOTH), start=1))
_NAMED = {"reference": " · reference", "regions": " · weak regions"}
_LONGEST_PX = 4096  # that regions are drawn on


def brought_layer(path: Path, slide: Slide | None) -> LayerData:
    """Return a file of another program as a labels layer; in it 1 is tumour, 2 normal, 3 excluded, 4 any other class.

    The docks show its outlines: the predictions below are of like colours, and are to be seen through it.

    Parameters
    ----------
    path : regions (GeoJSON, ASAP's XML, NCRF's JSON) or a label image, of which every value but 0 is tumour
    slide : what it lies on; a label image that knows its resolution needs none

    Raises
    ------
    InputError
        If it cannot be read, does not fit the slide, or needs one.
    """
    options: dict[str, Any] = {
        "name": path.name,
        "metadata": {KEY: {"kind": "brought", "path": str(path), **({} if slide is None else {"of": str(slide.path), "mpp": slide.mpp})}},
        "colormap": label_colours(_COLOURS),
        "opacity": 0.9,
    }
    if slide is not None:
        check_slide(path, slide)
    if is_image(path):
        with read_mask(path) as mask:
            step = max(1, -(-max(mask.shape) // (2 * _LONGEST_PX)))
            values = np.vstack([_thinned(mask, y, step) for y in range(0, mask.shape[0], step * 512)])
            if slide is not None:
                scale = level0_scale(mask, slide.identity())
                return _layer(values, options, placement(slide.mpp, (scale[0] * step, scale[1] * step)))
            if mask.mpp is None:
                raise InputError(path, "does not say its resolution", "Open its slide first")
            return _layer(values, options, placement(mask.mpp, (step, step)))
    if slide is None:
        raise InputError(path, "is drawn in pixels of a slide", "Open its slide first")
    regions = read_regions(path, slide)
    options["metadata"][KEY]["left_out"] = regions.left_out
    factor = max(1.0, max(slide.shape_level0) / _LONGEST_PX)
    shape = max(1, round(slide.shape_level0[0] / factor)), max(1, round(slide.shape_level0[1] / factor))
    each = slide.shape_level0[0] / shape[0], slide.shape_level0[1] / shape[1]
    values = np.zeros(shape, np.uint8)
    for label, geometry in reversed(list(enumerate((regions.tumour, regions.normal, regions.exclusion, regions.other), start=1))):
        values[rasterize(geometry, shape, each)] = label
        parts = shapely.get_parts(shapely.get_parts(geometry))
        small = shapely.point_on_surface(parts[shapely.area(parts) < each[0] * each[1]])  # which are to be seen too
        rows, columns = (shapely.get_coordinates(small)[:, ::-1] // each).astype(int).T
        on_it = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        values[rows[on_it], columns[on_it]] = label
    return _layer(values, options, placement(slide.mpp, each))


def _layer(values: Any, options: dict[str, Any], place: dict[str, Any]) -> LayerData:
    data, several = outlined(values)
    return data, {**options, **several, **place}, "labels"


def lay(viewer: Any, layer: LayerData, use: str, *, visible: bool = True) -> None:
    """Add a layer of :func:`brought_layer`, in the place of one of the same use, and of the same file where it was only to look at.

    Parameters
    ----------
    viewer : napari's viewer
    layer : data, options and kind
    use : what the file was brought in for: "look", or a use of :class:`napari_ifkd.session_records.Given`
    visible : whether it is seen
    """
    data, options, _ = layer
    known, olds = options["metadata"][KEY], []
    for old in [layer for layer in viewer.layers if (tag(layer).get("kind"), tag(layer).get("of")) == ("brought", known.get("of"))]:
        former, same_file = tag(old).get("use", "look"), tag(old)["path"] == known["path"]
        if use == "look" and former != "look" and same_file:  # it is seen as what it was given for, as it is by now
            use, visible = former, visible or old.visible
        if (use == former and use != "look") or (former == "look" and same_file):
            olds.append(old)
    new = viewer.add_labels(data, **{**options, "metadata": {KEY: {**known, "use": use}}}, visible=visible)
    _take_place(viewer, new, olds)


def merge(viewer: Any, layer: Any) -> None:
    """Let a file that napari's reader brought be what it was laid as before, if it was, and be seen as it is by now."""
    known = tag(layer)
    file = "brought", known.get("of"), known["path"]
    olds = [old for old in viewer.layers if old is not layer and (tag(old).get("kind"), tag(old).get("of"), tag(old).get("path")) == file]
    uses = [use for old in olds if (use := tag(old).get("use", "look")) != "look"]
    if olds:
        layer.metadata = {**layer.metadata, KEY: {**known, "use": uses[0] if uses else "look"}}
        _take_place(viewer, layer, olds)


def _take_place(viewer: Any, layer: Any, olds: Iterable[Any]) -> None:
    """Let a layer take the place of others; it is there first, so that what they were given for is given on."""
    for old in olds:
        viewer.layers.remove(old)
    layer.name = f"{Path(tag(layer)['path']).name}{_NAMED.get(tag(layer)['use'], '')}"


def laid(viewer: Any, slide: Slide, *uses: str) -> list[Any]:
    """Return the layers of files that were brought in for a slide, for these uses."""
    ours = [layer for layer in viewer.layers if tag(layer).get("kind") == "brought" and tag(layer).get("of") == str(slide.path)]
    return [layer for layer in ours if tag(layer).get("use", "look") in uses]


def called(path: Path) -> str:
    """Return the name of a file that was brought in as whoever brought it knows it: that of the label image, not of regions made of it."""
    ours = path.parent.parent == runs_folder() / BROUGHT
    return path.stem if ours and Path(path.stem).suffix.lower() in _IMAGES else path.name


def _thinned(mask: Any, y: int, step: int) -> Any:
    """Return every so many-th row and column of a band of a mask, as labels."""
    rows = min(step * 512, mask.shape[0] - y)
    return np.ascontiguousarray(mask.read(y, 0, rows, mask.shape[1])[::step, ::step]).astype(np.uint8)
