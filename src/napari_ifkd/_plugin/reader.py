"""napari's reader: slides, run folders, probability maps and masks of other programs as layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.annotations.zarr_labels import holds_labels, is_zarr_group
from napari_ifkd.config import Config
from napari_ifkd.errors import InputError
from napari_ifkd.slides.dicom import is_dicom

from .layers import LayerData, heat_layer, mask_layer, slide_layer, tag
from .words import in_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRAWN = (".geojson", ".geojson.gz", ".xml")
_NOTHING: Any = (None,)  # napari's word for what was read and is no layer
SLIDES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".qptiff")


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return what reads `path`, None if we do not know such a thing."""
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    if all(p.suffix.lower() == ".png" for p in paths) and not all(_is_mask(p) for p in paths):
        from napari_builtins.io import napari_get_reader  # type: ignore[import-untyped]

        builtin: Callable[[str | list[str]], list[LayerData]] | None = napari_get_reader(path)
        return builtin  # a picture is napari's own business
    return read if all(_known(p) for p in paths) else None


def named(error: InputError) -> InputError:
    """Return an error that calls a file by its name: a notification shows one line, and a path would fill it."""
    what = Path(error.what).name if Path(error.what).is_absolute() else error.what
    return type(error)(what, in_window(error.cause), in_window(error.remedy))


def read(path: str | list[str]) -> list[LayerData]:
    """Read slides, run folders, maps and masks. Where docks are open they tell of an error, and nothing is read.

    Raises
    ------
    InputError
        If one of them cannot be read, and no docks are open.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    viewer = _viewer_with_docks()
    try:
        return _in_units_there([layer for p in paths for layer in _read(p)], viewer)
    except InputError as error:
        if viewer is None:
            raise named(error) from error
        from .worker import say_error

        say_error(error)  # napari would ask for another reader, with a stack trace
        return [_NOTHING]


def _viewer_with_docks() -> Any | None:
    from napari import current_viewer

    from .bench import has_bench

    viewer = current_viewer()
    return viewer if viewer is not None and has_bench(viewer) else None


def _in_units_there(layers: list[LayerData], viewer: Any | None) -> list[LayerData]:
    """Give layers the units of those that are open: where some differ napari warns of it; where docks are, they set them for all."""
    if viewer is None:
        return layers
    units = next((layer.units for layer in viewer.layers if tag(layer)), None)
    return layers if units is None else [(data, {**options, "units": units}, kind) for data, options, kind in layers]


def _read(path: Path) -> list[LayerData]:
    if (path / "run.yaml").is_file():
        return _run(path)
    if _is_mask(path):
        from .brought import brought_layer
        from .writer import slide_in_front

        slide = slide_in_front()
        try:
            return [brought_layer(path, slide)]
        finally:
            if slide is not None:
                slide.close()
    return _map(path) if path.is_dir() and not is_dicom(path) else _slide(path)


def run_slides(run: Path) -> Iterator[tuple[Path, float | None]]:
    """Yield path and overriding resolution of those slides of a run that still are where they were."""
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.runs.inputs import mpp_of

    asked: dict[str, Any] = RunFolder.open(run).about["data"]
    for value in (*(asked.get("slides") or ()), *(asked.get("data") or ())):
        path = Path(str(value))
        if path.is_file() or is_dicom(path):
            yield path, mpp_of(asked.get("mpp"), path.name)


def _known(path: Path) -> bool:
    if path.is_dir():
        return is_dicom(path) or (path / "run.yaml").is_file() or (path.suffix == ".zarr" and is_zarr_group(path))
    return path.suffix.lower() in SLIDES or path.name.lower().endswith(DRAWN) or (path.suffix.lower() == ".png" and _is_mask(path))


def _is_mask(path: Path) -> bool:
    """Tell a mask: by its ending, by labels in a zarr, as a TIFF of this program, or as an image of labels that fits the open slide."""
    if path.name.lower().endswith(DRAWN):
        return True
    if path.is_dir():
        return is_zarr_group(path) and holds_labels(path)
    from napari_ifkd.annotations.told import provenance_in

    if path.suffix.lower() not in (".tif", ".tiff", ".png") or not path.is_file():
        return False
    told = provenance_in(path) if path.name.lower().endswith((".ome.tif", ".ome.tiff")) else None
    if told is not None:
        return "values" not in told  # values: of a probability
    return _labels_of_the_slide(path)


def _labels_of_the_slide(path: Path) -> bool:
    """Tell whether an image has one channel of whole numbers and the proportions of the slide in front, and is not that slide."""
    from napari_ifkd.annotations.images import level0_scale, open_image

    from .writer import slide_in_front

    try:
        slide = slide_in_front()
        if slide is None:
            return False
        with slide, open_image(path, "uib") as image:
            level0_scale(image, slide.identity())
            return image.channels == 1 and path.resolve() != slide.path.resolve()
    except InputError:
        return False


def _slide(path: Path, mpp: float | None = None) -> list[LayerData]:
    from napari_ifkd.slides import open_slide

    return [slide_layer(open_slide(path, mpp))]


def _run(path: Path) -> list[LayerData]:
    from napari_ifkd.session_story import RunStory

    candidates = RunStory.read(path).candidates
    layers = [layer for slide, mpp in run_slides(path) for layer in _slide(slide, mpp)]
    for candidate in candidates:
        for data, options, kind in _prediction(candidate):
            last = candidate == candidates[-1]
            layers.append((data, {**options, "visible": last}, kind))
    if not layers:
        raise InputError(path, "has neither maps nor slides to show", "Wait for its first map, or resume it")
    return layers


def _map(path: Path) -> list[LayerData]:
    from napari_ifkd.inference import open_map
    from napari_ifkd.session_records import Candidate

    found = open_map(path)
    name = str(found.slide.get("name", path.stem))
    run = path.parents[3] if len(path.parents) > 3 and (path.parents[3] / "run.yaml").is_file() else path.parent
    candidate = Candidate(run, "predict", 0, name, found)
    return _prediction(candidate)


def _prediction(candidate: Any) -> list[LayerData]:
    from napari_ifkd.session import Session

    defaults, opacity = Config().inference, Session().opacity
    return [
        heat_layer(candidate, opacity),
        mask_layer(candidate, defaults.threshold, defaults.sigma_px, opacity),
    ]
