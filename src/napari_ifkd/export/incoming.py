"""Masks back: what another program drew or painted, checked against its slide, as a mask or as corrections of a run."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import mapping

from napari_ifkd.annotations import Corrections, Region, Regions, read_mask, read_regions
from napari_ifkd.annotations.corrections import LEAVE, NORMAL, TUMOUR
from napari_ifkd.annotations.images import is_image, level0_scale
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.bags import annotated
from napari_ifkd.bags.annotated import Drawn, Labels
from napari_ifkd.errors import AnnotationError, ExportError, RunError
from napari_ifkd.files import cannot_write, write_aside
from napari_ifkd.inference import open_map

from . import mask
from .formats import ENDINGS, format_of
from .labels import LabelImage, export_labels, facts_of_labels
from .provenance import made_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_ifkd.annotations import Mask
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.slides import Slide

_MARK = "Say which of its classes mean tumour by --tumour CLASS, or classify them as Tumor or Normal"
_COLOURS = {"tumour": mask.TUMOUR.colour, "normal": (0, 150, 80), "exclusion": (120, 120, 120), "other": (90, 90, 200)}
_NAMES = {"tumour": mask.TUMOUR.name, "normal": "Normal", "exclusion": "Exclusion"}


class Incoming:
    """A file from elsewhere, as it lies on a slide. Use it in a ``with`` block.

    Parameters
    ----------
    path : regions (GeoJSON, ASAP's XML, NCRF's JSON) or a label image (OME-TIFF, OME-Zarr, PNG, ...), tumour where it is not 0
    slide : what it was drawn on
    tumour : classes, or names of regions without one, that mean tumour; without any, those that are called so, and if no region has a class
        at all every region does

    Attributes
    ----------
    notes : what was assumed, for people
    regions : of a file with regions, else None

    Raises
    ------
    AnnotationError
        If it cannot be read, does not fit the slide, or says nothing.
    """

    def __init__(self, path: str | Path, slide: Slide, tumour: Sequence[str] = ()) -> None:
        self.path, self.slide = Path(path), slide
        self.notes: list[str] = []
        self.regions: Regions | None = None
        self._mask: Mask | None = None
        check_slide(self.path, slide)
        if not is_image(self.path):
            self.regions = self._classified(read_regions(self.path, slide), tumour)
            return
        if tumour:
            raise AnnotationError(self.path, "is a label image, whose tumour is what is not 0", "Leave --tumour out")
        self._mask = read_mask(self.path)
        try:
            self._step = level0_scale(self._mask, slide.identity())
        except BaseException:
            self._mask.close()
            raise

    def _classified(self, regions: Regions, tumour: Sequence[str]) -> Regions:
        """Let the classes that were named mean tumour; where there are none, everything."""
        called = sorted({region.classification or region.name or "without a class" for region in regions})
        if tumour:
            wanted = {name.strip().casefold() for name in tumour}
            meant = [(region.classification or region.name).strip().casefold() in wanted for region in regions]
            if not any(meant):
                cause = f"has no region of class {', '.join(tumour)} (its classes are: {', '.join(called[:8])})"
                raise AnnotationError(self.path, cause, "Name one of these by --tumour")
            named = (
                replace(region, classification=_NAMES["tumour"]) if yes else region for region, yes in zip(regions, meant, strict=True)
            )
            return Regions(tuple(named))
        if any(region.meaning != "other" for region in regions):
            return regions
        if any(region.classification for region in regions):
            raise AnnotationError(self.path, f"marks neither tumour nor normal tissue (its classes are: {', '.join(called[:8])})", _MARK)
        self.notes.append(
            f"no region has a class: {'all ' + str(len(regions)) if len(regions) > 1 else 'the one there is'} taken for tumour"
        )
        return Regions(tuple(replace(region, classification=_NAMES["tumour"]) for region in regions))

    def grid(self, mpp: float) -> tuple[tuple[int, int], tuple[float, float]]:
        """Return shape and level-0 px per px of the grid it is best written on: an image's own, or that of a resolution in um/px."""
        if self._mask is not None:
            return self._mask.shape, self._step
        mpp = max(mpp, self.slide.require_mpp())
        return self.slide.working_shape(mpp), self.slide.working_scale(mpp)

    def on_grid(self, scale_yx: tuple[float, float]) -> Painted:
        """Return it as it is read on a grid of so many level-0 px per px, by the centres of its px; notes tell of what it cannot hold."""
        if self._mask is not None:
            step = scale_yx[0] / self._step[0], scale_yx[1] / self._step[1]
            return Painted(Labels(self._mask, step), None)
        assert self.regions is not None  # the one or the other
        others = [region.classification or region.name or "without a class" for region in self.regions if region.meaning == "other"]
        if others:
            which = f"{len(others)} regions are" if len(others) > 1 else "1 region is"
            self.notes.append(f"{which} left out, neither tumour nor normal: {', '.join(sorted(set(others))[:8])}")
        normal = self.regions.normal
        drawn = None if normal.is_empty else Drawn(Regions((Region(normal, "", _NAMES["tumour"]),)), scale_yx)
        return Painted(Drawn(self.regions, scale_yx), drawn)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._mask is not None:
            self._mask.close()


@dataclass(frozen=True, slots=True)
class Painted:
    """What a file says of the pixels of a grid."""

    marked: Drawn | Labels
    normal: Drawn | None

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return a window ``(height, width)``: TUMOUR, NORMAL, or LEAVE where it says nothing. Exclusions say nothing."""
        said = self.marked.read(y0, x0, height, width)
        window = np.full((height, width), LEAVE, np.uint8)
        if self.normal is not None:
            window[self.normal.read(y0, x0, height, width) == annotated.TUMOUR] = NORMAL
        window[said == annotated.TUMOUR] = TUMOUR
        window[said == annotated.EXCLUDED] = LEAVE
        return window


class _Rows:
    """The tumour of a file as an array of which whole rows are cut."""

    def __init__(self, painted: Painted, shape: tuple[int, int]) -> None:
        self._painted, self.shape = painted, shape

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        top, bottom, _ = rows.indices(self.shape[0])
        if bottom <= top:
            return np.zeros((0, self.shape[1]), np.uint8)
        tumour: NDArray[np.uint8] = (self._painted.read(top, 0, bottom - top, self.shape[1]) == TUMOUR).astype(np.uint8)
        return tumour


def import_mask(path: str | Path, slide: Slide, out: str | Path, *, mpp: float, tumour: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Write what another program drew as a mask of a slide, and ``<out>.provenance.json`` beside it.

    Parameters
    ----------
    path, slide, tumour : as in :class:`Incoming`
    out : .ome.tif, .ome.zarr, .geojson, .geojson.gz or .xml. Regions written as GeoJSON keep their corners and classes; anything else
        holds the tumour alone
    mpp : um/px on which regions are drawn; a label image keeps its own

    Returns
    -------
    The files written, and what was assumed

    Raises
    ------
    AnnotationError
        If the file will not do.
    ExportError
        If `out` cannot be written, or its ending tells no format.
    """
    path, out = Path(path), Path(out)
    format = format_of(out)
    with Incoming(path, slide, tumour) as incoming:
        more = {"imported": _told(path, tumour), "notes": incoming.notes}
        written = [out]
        if incoming.regions is not None and format in ("geojson", "geojson.gz"):
            facts = {**made_now(), "slide": slide.identity(), **more}
            _write_regions(out, incoming.regions, slide, facts)
        else:
            shape, scale = incoming.grid(mpp)
            sides = (slide.require_mpp() * scale[0], slide.require_mpp() * scale[1])
            image = LabelImage(
                _Rows(incoming.on_grid(scale), shape), slide.identity(), sides, scale, (0.0, 0.0), slide.bounds_origin_yx_level0
            )
            if incoming.regions is not None and not incoming.regions.exclusion.is_empty:
                incoming.notes.append("exclusions are no tumour in this format; GeoJSON keeps them")
            facts = facts_of_labels(image, path.name, **more)
            written = export_labels(image, out, format, facts)
        sidecar = out.with_name(out.name[: -_length_of_ending(out)] + ".provenance.json")
        _write(sidecar, json.dumps({**facts, "files": [file.name for file in written]}, indent=2, ensure_ascii=False) + "\n")
        return [*written, sidecar], incoming.notes


def import_corrections(
    path: str | Path,
    slide: Slide,
    run: RunFolder,
    *,
    tumour: Sequence[str] = (),
    rest_is_normal: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Corrections, list[str]]:
    """Paint what another program drew into the corrections of a run.

    Parameters
    ----------
    path, slide, tumour : as in :class:`Incoming`
    run : with a map of the slide
    rest_is_normal : whether the file is the whole truth: then wherever the run looked, and it marks no tumour, is normal.
        Else what it does not mark is left as it is
    progress : called with rows done and in all

    Returns
    -------
    The corrections, and what was assumed

    Raises
    ------
    AnnotationError
        If the file, or the corrections that are there, will not do.
    RunError
        If the run has no map of this slide.
    """
    looked_at = _map_of(run, slide)
    where = run.corrections_path(slide.name)
    with Incoming(path, slide, tumour) as incoming:
        corrections = Corrections.open(where) if where.is_dir() else Corrections.create(where, slide, looked_at.mpp)
        corrections.check(slide)
        painted = incoming.on_grid(corrections.scale_yx)
        step = tuple(own / of_map for own, of_map in zip(corrections.scale_yx, looked_at.scale_yx, strict=True))
        for y, rows, x, columns in _blocks(corrections.shape):
            if progress is not None and x == 0:
                progress(y, corrections.shape[0])
            window = painted.read(y, x, rows, columns)
            if rest_is_normal:
                own_rows = np.minimum(((np.arange(y, y + rows) + 0.5) * step[0]).astype(int), looked_at.shape[0] - 1)
                own_columns = np.minimum(((np.arange(x, x + columns) + 0.5) * step[1]).astype(int), looked_at.shape[1] - 1)
                seen = looked_at.read(
                    int(own_rows[0]), int(own_columns[0]), int(own_rows[-1] - own_rows[0]) + 1, int(own_columns[-1] - own_columns[0]) + 1
                )[np.ix_(own_rows - own_rows[0], own_columns - own_columns[0])]
                window[(window == LEAVE) & (seen > 0)] = NORMAL
            if (window != LEAVE).any():
                corrections.paint(y, x, window)
        return corrections, incoming.notes


def _blocks(shape: tuple[int, int], side: int = 2048) -> Iterator[tuple[int, int, int, int]]:
    """Yield the blocks of a grid, whole chunks each: y, rows, x, columns."""
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            yield y, min(side, shape[0] - y), x, min(side, shape[1] - x)


def _map_of(run: RunFolder, slide: Slide) -> Any:
    found = run.maps(0).get(slide.name) or next((m for k in range(run.recommended_round() + 1) if (m := run.maps(k).get(slide.name))), None)
    if found is None:
        having = ", ".join(sorted(run.maps(0))) or "none"
        raise RunError(run.path, f"has no map of {slide.name} (its slides: {having})", "Give the run that predicted this slide")
    opened = open_map(found)
    if opened.slide.get("quick_hash") != slide.quick_hash:
        raise RunError(run.path, f"predicted another slide called {slide.name}, of other contents", "Give the slide that was predicted")
    return opened


def _write_regions(out: Path, regions: Regions, slide: Slide, facts: dict[str, Any]) -> None:
    """Write regions as QuPath does: px from the corner of the scanned bounds."""
    dy, dx = slide.bounds_origin_yx_level0
    features = []
    for number, region in enumerate(regions):
        name = _NAMES.get(region.meaning, region.classification)
        seed = f"{slide.quick_hash} {number} {shapely.to_wkb(region.geometry, hex=True)}"
        properties: dict[str, Any] = {"objectType": "annotation", "isLocked": False}
        if region.name:
            properties["name"] = region.name
        if name:
            properties["classification"] = {"name": name, "color": list(_COLOURS[region.meaning])}
        placed = mapping(translate(region.geometry, -dx, -dy))
        features.append({"type": "Feature", "id": str(uuid.uuid5(uuid.NAMESPACE_OID, seed)), "geometry": placed, "properties": properties})
    text = json.dumps({"type": "FeatureCollection", "napari_ifkd": facts, "features": features})
    data = text.encode()
    _write(out, gzip.compress(data, 6, mtime=0) if out.name.lower().endswith(".gz") else data)


def _write(path: Path, content: str | bytes) -> None:
    try:
        write_aside(path, content)
    except OSError as error:
        raise cannot_write(ExportError, path, error, "choose another folder (--out)") from error


def _length_of_ending(out: Path) -> int:
    return max(len(end) for end in ENDINGS if out.name.lower().endswith(end))


def _told(path: Path, tumour: Sequence[str]) -> dict[str, Any]:
    """Return what the provenance says of the file that was brought in: its name and contents, never its folder."""
    told: dict[str, Any] = {"file": path.name}
    if path.is_file():
        with path.open("rb") as file:
            told["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return told | ({"tumour": list(tumour)} if tumour else {})
