"""Layers of slides, tissue and predictions: data, place, colours. A layer of ours is known by its metadata, never by its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dask.array
import numpy as np
from scipy.ndimage import binary_dilation

from napari_ifkd.annotations import rasterize

from .palette import BOTH, EDGE, NORMAL, SAID_TUMOUR, STUDENT, TEACHER, TISSUE, heat_colours, rgba, unsure_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide, Tissue

da: Any = dask.array  # dask tells types of half of its functions only
LayerData = tuple[Any, dict[str, Any], str]
KEY = "napari_ifkd"
_MOST_PIXELS = 4_000_000  # a level of a map up to this size is kept in memory
_SPARE_PX = 256
_OUTLINED_PX = 400
OUTLINE = 2  # width, px of a level
_OUTLINE_PX, _WIDEST = 2.0, 8  # of a mask: width on the screen, and at most, px of a level
_MOST_SIDE_PX = 4096  # of corrections that are shown
_LINE = 3  # value of the line around them
SPARE_NAMES = {"mask": "Next mask · being made", "heat": "Next heat map · being made"}
SECOND_SPARE = "Mask to compare it with · being made"
MICROMETRES, PIXELS = ("um", "um"), ("pixel", "pixel")
_LONG_NAMES = {"um": "micrometer", "pixel": "pixel"}  # as napari tells them


def placement(mpp: float | None, scale_yx: tuple[float, float] = (1.0, 1.0)) -> dict[str, Any]:
    """Return scale, translate and units of a layer whose pixels are blocks of level-0 pixels.

    Parameters
    ----------
    mpp : resolution of the slide's level 0, um/px; None leaves the layer in pixels
    scale_yx : level-0 px per px of the layer

    Notes
    -----
    napari places pixel centres: the first centre of a layer reduced by f lies (f - 1) / 2 level-0 px inside.
    """
    unit = 1.0 if mpp is None else mpp
    return {
        "scale": tuple(unit * f for f in scale_yx),
        "translate": tuple(unit * (f - 1) / 2 for f in scale_yx),
        "units": PIXELS if mpp is None else MICROMETRES,
    }


def put(layer: Any, place: dict[str, Any]) -> None:
    """Put a layer where :func:`placement` says."""
    layer.scale, layer.translate, layer.units = place["scale"], place["translate"], place["units"]


def follow_mpp(layer: Any, slide: Slide) -> None:
    """Let a layer whose tag tells at which resolution it was made lie where it was on a slide whose resolution is another by now."""
    known = tag(layer)
    grown = (slide.mpp or 1.0) / (known["mpp"] or 1.0)
    layer.scale, layer.translate = np.asarray(layer.scale) * grown, np.asarray(layer.translate) * grown
    layer.units = PIXELS if slide.mpp is None else MICROMETRES
    layer.metadata = {**layer.metadata, KEY: {**known, "mpp": slide.mpp}}


def as_data(levels: Sequence[Any]) -> Any:
    """Return what napari takes for a pyramid: the list, or the one array there is."""
    return list(levels) if len(levels) > 1 else levels[0]


def _pyramid(levels: Sequence[Any]) -> dict[str, Any]:
    return {"multiscale": len(levels) > 1}


def slide_layer(slide: Slide) -> LayerData:
    """Return the image of a slide."""
    metadata = {KEY: {"kind": "slide", "path": str(slide.path), "mpp": slide.mpp if slide.mpp_source == "override" else None}}
    options = {"name": slide.name, "rgb": True, "metadata": metadata, **_pyramid(slide.levels), **placement(slide.mpp)}
    return as_data(slide.levels), options, "image"


def tissue_layer(slide: Slide, tissue: Tissue) -> LayerData:
    """Return the outline of the tissue of a slide."""
    options = {
        "name": f"Tissue outline · {slide.name}",
        "metadata": {KEY: {"kind": "tissue", "path": str(slide.path)}},
        "colormap": label_colours({1: TISSUE}),
        "opacity": 0.9,
        **placement(slide.mpp, tissue.scale_yx),
    }
    data, several = outlined(tissue.mask.astype(np.uint8))
    return data, {**options, **several}, "labels"


def outlined(labels: Any) -> tuple[Any, dict[str, Any]]:
    """Return labels as data of a layer whose outlines are lines from afar too, and its options: lines are as wide as px of a level."""
    levels = [labels]
    while max(levels[-1].shape) > _OUTLINED_PX:
        levels.append(levels[-1][::2, ::2])
    return as_data(levels), _pyramid(levels)


def heat_layer(candidate: Candidate, opacity: float) -> LayerData:
    """Return the probability map as a heat map: see-through where nothing is found."""
    return heat_levels(candidate.found), {**heat_look(opacity), **_of_candidate(candidate, "heat")}, "image"


def mask_layer(candidate: Candidate, threshold: float, sigma_px: float, opacity: float) -> LayerData:
    """Return the pseudo-mask of a prediction."""
    return mask_levels(candidate.found, threshold, sigma_px), mask_options(candidate, opacity), "labels"


def mask_options(candidate: Candidate, opacity: float) -> dict[str, Any]:
    """Return how and where the pseudo-mask of a prediction is seen."""
    return {**_mask_look(colour_of(candidate), opacity), **_of_candidate(candidate, "mask")}


def disagreement_layer(a: Candidate, b: Candidate, levels: list[Any], opacity: float) -> LayerData:
    """Return where A and B differ, with levels of :func:`disagreement_levels`."""
    options = {
        "name": f"{a.label} against {b.label}",
        "metadata": {KEY: {"kind": "disagreement", "path": f"{a.path}|{b.path}"}},
        "colormap": label_colours({1: TEACHER, 2: STUDENT, 3: BOTH}),
        "opacity": opacity,
        "cache": False,
        "multiscale": True,
        **placement(a.found.slide.get("mpp"), a.found.scale_yx),
    }
    return levels, options, "labels"


def uncertainty_layer(candidate: Candidate, levels: list[Any], opacity: float) -> LayerData:
    """Return how unsure a prediction is of its mask, with levels of :func:`uncertainty_levels`."""
    options = {
        **heat_look(opacity),
        **_of_candidate(candidate, "uncertainty"),
        "colormap": {"colors": unsure_colours(), "name": "IFKD uncertainty"},
    }
    return levels, options, "image"


def twin_layer(slide: Slide) -> LayerData:
    """Return the image of a slide once more, for the right of two pictures side by side."""
    data, options, kind = slide_layer(slide)
    return data, {**options, "name": f"{slide.name} (right)", "metadata": {KEY: {"kind": "twin", "path": str(slide.path)}}}, kind


def corrections_layer(corrections: Corrections, slide: Slide, painted: tuple[int, int, int, int] | None = None) -> LayerData:
    """Return what a person corrected on a slide, thinned to at most 4096 px a side: 1 normal, 2 tumour, and a line around both.

    Parameters
    ----------
    corrections : all of them
    slide : which they are of
    painted : row, column, height and width, px of the corrections, of the field that is painted on now: its own layer shows what is there
    """
    step = max(1, -(-max(corrections.shape) // _MOST_SIDE_PX))
    height, width = (-(-n // step) for n in corrections.shape)
    values = np.zeros((height, width), np.uint8)
    for y, x, rows, columns in corrections.boxes().tolist():
        top, left = -(-y // step), -(-x // step)
        window = corrections.read(y, x, rows, columns)[top * step - y :: step, left * step - x :: step]
        values[top : top + window.shape[0], left : left + window.shape[1]] = window
    values = edged(values)
    if painted is not None:
        y, x, rows, columns = painted
        values[-(-y // step) : -(-(y + rows) // step), -(-x // step) : -(-(x + columns) // step)] = 0
    options = {
        "name": f"Corrections · {slide.name}",
        "metadata": {KEY: {"kind": "corrections", "path": str(corrections.path)}},
        "colormap": label_colours({1: NORMAL, 2: SAID_TUMOUR, _LINE: EDGE}),
        "opacity": 0.8,  # as while it is painted
        **placement(slide.mpp, (corrections.scale_yx[0] * step, corrections.scale_yx[1] * step)),
    }
    return values, options, "labels"


def edged(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what was painted with a line around it: on a mask of nearly its colour it would not be seen."""
    painted = (values > 0) & (values != _LINE)
    around = binary_dilation(painted, np.ones((3, 3), bool)) & ~painted
    return np.where(around, np.uint8(_LINE), np.where(painted, values, np.uint8(0)))


def spare_layer(kind: str, slide: Slide, opacity: float) -> LayerData:
    """Return a layer with nothing in it yet, "mask" or "heat", as large as a slide: to make one takes napari long, to fill it not."""
    height, width = slide.shape_level0
    factor = max(1.0, max(height, width) / _SPARE_PX)
    empty = _several([np.zeros((max(1, round(height / factor)), max(1, round(width / factor))), np.uint8)])
    look = heat_look(opacity) if kind == "heat" else _mask_look(STUDENT, opacity)
    options = {**look, "name": SPARE_NAMES[kind], "metadata": {KEY: {"kind": kind, "path": ""}}, **placement(slide.mpp, (factor, factor))}
    return empty, options, "image" if kind == "heat" else "labels"


def is_spare(layer: Any) -> bool:
    """Tell whether one of our layers shows nothing and waits to be used."""
    return tag(layer).get("path") == ""


def heat_look(opacity: float) -> dict[str, Any]:
    """Return how a heat map of several levels looks."""
    return {
        "colormap": {"colors": heat_colours(), "name": "IFKD heat"},
        "contrast_limits": (0, 255),
        "interpolation2d": "linear",
        "blending": "translucent",
        "opacity": opacity,
        "multiscale": True,  # also where there is one level: so that a layer can show any map
    }


def _mask_look(colour: str, opacity: float) -> dict[str, Any]:
    # without napari's cache: with it a new threshold leaves stale tiles
    return {"colormap": label_colours({1: colour}), "opacity": opacity, "cache": False, "multiscale": True}


def _of_candidate(candidate: Candidate, kind: str) -> dict[str, Any]:
    found = candidate.found
    name = named(candidate, {"heat": "heat map", "uncertainty": "unsure"}.get(kind, kind))
    return {"name": name, "metadata": tagged(candidate, kind), **placement(found.slide.get("mpp"), found.scale_yx)}


def heat_levels(found: ProbabilityMap) -> list[Any]:
    """Return the probability at every level, two at least, as uint8: in memory what :func:`prepare` has read, else lazily."""
    ready = _READY.get(found)
    return ready.heat if ready is not None else _several([da.from_zarr(level) for level in found.levels])


def mask_levels(found: ProbabilityMap, threshold: float, sigma_px: float) -> list[Any]:
    """Return the mask at every level, two at least, as uint8: in memory what :func:`prepare` has made, else lazily."""
    ready = _READY.get(found)
    if ready is not None and (ready.threshold, ready.sigma_px) == (threshold, sigma_px):
        return ready.mask
    levels: list[Any] = list(found.mask_levels(threshold, sigma_px))
    return _several([level.astype(np.uint8) for level in levels])


def _several(levels: list[Any]) -> list[Any]:
    """Return a pyramid: napari's labels take none of one level, and a layer made with levels takes nothing without."""
    return levels if len(levels) > 1 else [levels[0], levels[0][::2, ::2]]


def prepare(found: ProbabilityMap, threshold: float, sigma_px: float) -> None:
    """Read a map and make its mask, as far as memory allows; in a thread, so that the window need not wait for it."""
    mask = [_in_memory(level) for level in mask_levels(found, threshold, sigma_px)]
    heat = [_in_memory(level) for level in heat_levels(found)]
    _READY[found] = _Ready(threshold, sigma_px, mask, heat)


@dataclass(frozen=True)
class _Ready:
    threshold: float
    sigma_px: float
    mask: list[Any]
    heat: list[Any]


_READY: WeakKeyDictionary[ProbabilityMap, _Ready] = WeakKeyDictionary()


def _in_memory(level: Any) -> Any:
    if level.size > _MOST_PIXELS:
        return level
    return level if isinstance(level, np.ndarray) else computed(level, "threads")


def computed(lazy: Any, scheduler: str = "synchronous") -> Any:
    """Compute what dask holds, in a thread beside the window.

    Notes
    -----
    Without callbacks: napari's cache is one, is not made for threads, and fails for whoever computes at the same time; in the picture
    that leaves a layer half made (dask issue 10396).
    """
    return lazy.compute(scheduler=scheduler, callbacks=())


def without(levels: Sequence[Any], found: ProbabilityMap, geometry: BaseGeometry) -> list[Any]:
    """Return levels of a mask without a geometry, (x, y) in px of the map; a pixel is where its centre is."""
    if geometry.is_empty:
        return list(levels)
    rows, columns = found.shape
    return [_cleared(level, geometry, (rows / level.shape[0], columns / level.shape[1])) for level in levels]


def _cleared(level: Any, geometry: BaseGeometry, scale_yx: tuple[float, float]) -> Any:
    if not isinstance(level, np.ndarray):

        def clear(block: Any, block_info: Any = None) -> Any:
            (top, _), (left, _) = block_info[0]["array-location"]
            return np.where(rasterize(geometry, block.shape, scale_yx, (top, left)), np.uint8(0), block)

        return level.map_blocks(clear, dtype=level.dtype)
    left, top, right, bottom = geometry.bounds
    y0, x0 = max(0, int(top / scale_yx[0])), max(0, int(left / scale_yx[1]))
    y1, x1 = min(level.shape[0], ceil(bottom / scale_yx[0])), min(level.shape[1], ceil(right / scale_yx[1]))
    made = level.copy()
    if y1 > y0 and x1 > x0:
        made[y0:y1, x0:x1][rasterize(geometry, (y1 - y0, x1 - x0), scale_yx, (y0, x0))] = 0
    return made


def disagreement_levels(a: Sequence[Any], b: Sequence[Any], parts: Sequence[ProbabilityMap] = ()) -> list[Any]:
    """Return 1 only A, 2 only B, 3 both, of the levels of two masks on the same grid; lazily where they are lazy.

    Parameters
    ----------
    a, b : levels of the masks
    parts : maps of a region only: elsewhere, where nobody knows what they would mark, there is 0
    """
    differ = [first + 2 * second for first, second in zip(a, b, strict=True)]
    for part in parts:
        differ = [classes * (looked > 0) for classes, looked in zip(differ, heat_levels(part), strict=True)]
    return differ


def uncertainty_levels(found: ProbabilityMap, threshold: float) -> list[Any]:
    """Return 255 where the probability is the threshold, down to 0 where it is 0 or 1, and where nobody looked."""
    table = np.array([255 * uncertainty(value / 255, threshold) for value in range(256)]).astype(np.uint8)
    table[0] = 0
    return [
        table[level] if isinstance(level, np.ndarray) else level.map_blocks(table.__getitem__, dtype=np.uint8)
        for level in heat_levels(found)
    ]


def uncertainty(p: float, threshold: float) -> float:
    """Return 1 where a probability is the threshold, down to 0 where it is 0 or 1."""
    return min(1.0, p / max(threshold, 1e-6) if p < threshold else (1 - p) / max(1 - threshold, 1e-6))


def colour_of(candidate: Candidate) -> str:
    """Return the colour of a prediction: teachers orange, students blue."""
    return TEACHER if candidate.round == 0 else STUDENT


def label_colours(colours: dict[int, str]) -> Any:
    """Return a colormap of labels: these, and nothing elsewhere."""
    from napari.utils.colormaps import DirectLabelColormap

    clear = np.zeros(4, np.float32)
    table: dict[int | None, Any] = {0: clear, None: clear}
    table.update({value: rgba(colour) for value, colour in colours.items()})
    return DirectLabelColormap(color_dict=table)


def refill(layer: Any, data: Any, options: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Yield what lets a layer show other data elsewhere, in steps; all of them take napari much less time than a new layer."""
    if layer.visible:
        yield partial(setattr, layer, "visible", False)
    if not np.array_equal(layer.translate, options["translate"]):
        yield partial(setattr, layer, "translate", options["translate"])
    if tuple(map(str, layer.units)) != tuple(_LONG_NAMES[unit] for unit in options["units"]):
        yield partial(setattr, layer, "units", options["units"])
    yield partial(_fill, layer, data, options)


def _fill(layer: Any, data: Any, options: dict[str, Any]) -> None:
    layer.data = data
    layer.scale = options["scale"]  # even if it is the same: napari keeps the extent of a hidden layer else
    layer.name, layer.metadata = options["name"], options["metadata"]


def outline_of(layer: Any, zoom: float) -> int:
    """Return how wide the outline of a mask is to be, px of the level that is drawn, so that it is as wide on the screen whatever the zoom.

    Parameters
    ----------
    layer : of the mask
    zoom : screen px per unit of the world
    """
    across = layer.scale[-1] * (layer.downsample_factors[layer.data_level][-1] if layer.multiscale else 1.0)
    return int(min(_WIDEST, max(1, round(_OUTLINE_PX / (across * zoom)))))


def unlike(layer: Any, look: dict[str, Any]) -> bool:
    """Return whether a layer does not look so yet: `visible`, `opacity`, `contour`, and `colour` of a mask."""
    return any(
        not np.array_equal(layer.colormap.color_dict[1], rgba(value)) if name == "colour" else getattr(layer, name) != value
        for name, value in look.items()
    )


def style(layer: Any, look: dict[str, Any]) -> None:
    """Let a layer look so; only what changes is set, for each costs napari a new slice."""
    for name, value in sorted(look.items(), key=lambda item: item[0] == "visible"):
        if unlike(layer, {name: value}):
            if name == "colour":
                layer.colormap = label_colours({1: value})
            else:
                setattr(layer, name, value)


def named(candidate: Candidate, kind: str) -> str:
    """Return the name of a layer of a prediction, with a sign where there is a warning of it."""
    sign = "⚠ wrong tissue · " if candidate.found.domain_warning else "⚠ " if candidate.warnings else ""  # first: ends are cut off
    label = "Prediction" if candidate.act == "predict" else candidate.label  # a slide has one
    return f"{sign}{label} · {kind}"


def tagged(candidate: Candidate, kind: str) -> dict[str, Any]:
    """Return the metadata of a layer of a prediction."""
    return {
        KEY: {
            "kind": kind,
            "path": str(candidate.path),
            "run": str(candidate.run),
            "act": candidate.act,
            "round": candidate.round,
            "slide": candidate.slide,
            "warnings": list(candidate.warnings),
        }
    }


def tag(layer: Any) -> dict[str, Any]:
    """Return what one of our layers says of itself, empty for any other."""
    return dict(layer.metadata.get(KEY, {}))
