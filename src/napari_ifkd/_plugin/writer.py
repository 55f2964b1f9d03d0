"""napari's writer: labels layers, ours and others on an open slide, as masks for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.config import Config
from napari_ifkd.errors import ExportError

from .layers import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.export.labels import LabelImage
    from napari_ifkd.slides import Slide

_MICROMETRE = ("micrometer", "um", "µm")


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer; the ending tells the format.

    A mask of ours is written as the Export dock would: from its map, with corrections and verdicts. Any other layer is written as it is,
    at its place on the slide that is open.

    Parameters
    ----------
    path : .ome.tif, .ome.zarr, .geojson, .geojson.gz or .xml
    data : of the layer, ``(y, x)`` or a pyramid of such
    meta : its attributes

    Raises
    ------
    ExportError
        If it has more dimensions, is turned, or has no resolution; or the file cannot be written.
    """
    from napari_ifkd.export.formats import format_of

    place = Path(path)
    format = format_of(place)
    known = dict(meta.get("metadata", {}).get(KEY, {}))
    if known.get("kind") == "mask":
        return [str(written) for written in _write_mask(place, format, known)]
    from napari_ifkd.export.labels import export_labels, facts_of_labels

    image = _image(data[0] if meta.get("multiscale") else data, meta)
    facts = facts_of_labels(image, str(meta.get("name", "labels")))
    return [str(written) for written in export_labels(image, place, format, facts, _colours(meta))]


def _write_mask(path: Path, format: str, known: dict[str, Any]) -> list[Path]:
    from napari_ifkd.export import export_run

    session = _session()
    settings = Config().inference  # what a reader without docks shows
    threshold, sigma_px = (settings.threshold, settings.sigma_px) if session is None else (session.threshold, session.sigma_px)
    shown = None if session is None else next((c for c in session.candidates if str(c.path) == known["path"]), None)
    old = "" if session is None else session.outdated(shown)
    return export_run(
        known["path"],
        [format],
        path.parent,
        round=known.get("round"),
        threshold=threshold,
        sigma_px=sigma_px,
        warnings=[old] if old else [],
        to=path,
    )


def _image(array: Any, meta: dict[str, Any]) -> LabelImage:
    from napari_ifkd.export.labels import LabelImage

    name = str(meta.get("name", "labels"))
    if len(array.shape) != 2:
        raise ExportError(name, f"has {len(array.shape)} dimensions", "Save a layer of two")
    if not (np.allclose(meta.get("rotate", np.eye(2)), np.eye(2)) and not np.any(meta.get("shear", 0)) and _plain(meta.get("affine"))):
        raise ExportError(name, "is turned or sheared", "Save a layer that lies straight on its slide")
    scale, translate = (np.asarray(meta.get(key, default), float)[-2:] for key, default in (("scale", (1, 1)), ("translate", (0, 0))))
    physical = all(str(unit) in _MICROMETRE for unit in meta.get("units") or ("pixel",))
    slide = slide_in_front()
    if slide is None and not physical:
        raise ExportError(name, "has no resolution and lies on no slide", "Open its slide, or give the layer a scale in um")
    if slide is None:
        identity = {"name": name, "quick_hash": None, "shape_level0": list(array.shape), "mpp": float(scale.mean())}
        return LabelImage(array, identity, _pair(scale))
    with slide:
        mpp = slide.mpp if physical and slide.mpp else 1.0  # a slide without a resolution is shown in px
        corner = (translate - scale / 2) / mpp + 0.5  # napari places the centres of pixels
        side = _pair(scale / mpp * slide.require_mpp())
        return LabelImage(array, slide.identity(), side, _pair(scale / mpp), _pair(corner), slide.bounds_origin_yx_level0)


def _plain(affine: Any) -> bool:
    matrix = np.eye(3) if affine is None else np.asarray(affine, float)
    return bool(np.allclose(matrix, np.eye(len(matrix))))


def _pair(values: Any) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _colours(meta: dict[str, Any]) -> Callable[[int], tuple[int, int, int]]:
    def colour(label: int) -> tuple[int, int, int]:
        red, green, blue = np.rint(255 * np.asarray(meta["colormap"].map(np.array([label])))[0, :3]).astype(int).tolist()
        return red, green, blue

    return colour


def _session() -> Any:
    """Return the session of the viewer in front, None where no dock is open."""
    import napari

    from .bench import _benches

    viewer = napari.current_viewer()
    bench = None if viewer is None else _benches.get(id(getattr(viewer, "__wrapped__", viewer)))
    return None if bench is None else bench.session


def slide_in_front() -> Slide | None:
    """Open the slide that layers lie on once more: the active one, or the only one in the viewer; None if there is none."""
    import napari

    from napari_ifkd.slides import open_slide

    session, viewer = _session(), napari.current_viewer()
    if session is not None and session.slide is not None:
        return open_slide(session.slide.path, session.slide.mpp)
    tags = [] if viewer is None else [layer.metadata.get(KEY, {}) for layer in viewer.layers]
    slides = [tag for tag in tags if tag.get("kind") == "slide"]
    if len(slides) > 1:
        raise ExportError("slide", "several are open, and none is the active one", "Open the Slide dock and choose one")
    return open_slide(slides[0]["path"], slides[0].get("mpp")) if slides else None
