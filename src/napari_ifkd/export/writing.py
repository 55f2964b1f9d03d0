"""One mask into files: computed once, kept aside, written format by format, each whole or not at all."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import Cancelled, ExportError
from napari_ifkd.files import cannot_write, durable, make_folder, scratch_folder, sync_tree, write_aside

from .corrected import painted_in
from .formats import FORMATS, check_formats
from .lesions import verdicts_on
from .mask import TUMOUR, FinishedMask, labels_in
from .mask_store import MaskStore
from .options import ExportOptions
from .outlines import Outline, OutlineTracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.annotations.verdicts import Verdict

    from .formats import Write
    from .mask import Kind, Source
    from .slides import SlideFinder

_MOST_LABELS = 64  # that are outlined


class Steps:
    """How far an export is: parts of about equal length, each told in steps of its own; also asks whether to stop.

    Parameters
    ----------
    should_stop : asked at every step
    progress : called with thousandths of parts done and in all
    """

    def __init__(self, should_stop: Callable[[], bool] = lambda: False, progress: Callable[[int, int], None] | None = None) -> None:
        self.parts, self.part = 1, 0
        self._should_stop, self._progress = should_stop, progress

    def __call__(self, done: int, total: int) -> None:
        """Take note of a step of the present part; Cancelled if it shall stop."""
        if self._should_stop():
            raise Cancelled
        if self._progress is not None:
            self._progress(1000 * self.part + 1000 * done // max(1, total), 1000 * self.parts)

    def next(self) -> None:
        """Begin the next part."""
        self.part += 1
        self(0, 1)


def write_mask(
    source: Source,
    bands: Iterable[NDArray[np.unsignedinteger]],
    out_dir: Path,
    stem: str,
    formats: Sequence[str],
    facts: dict[str, Any],
    *,
    options: ExportOptions | None = None,
    slides: SlideFinder | None = None,
    steps: Steps | None = None,
    kinds: Mapping[int, Kind] | None = None,
    dtype: Any = np.uint8,
    paths: Mapping[str, Path] | None = None,
    corner_yx_level0: tuple[float, float] = (0.0, 0.0),
    verdicts: Sequence[Verdict] = (),
    corrections: Corrections | None = None,
) -> list[Path]:
    """Write a mask that comes in bands, and its provenance.

    Parameters
    ----------
    source : what it is a mask of
    bands : labels, 512 rows at a time from top to bottom
    out_dir : made if it is not there
    stem : how the names of the files begin
    formats : of :data:`FORMATS`
    facts : its provenance
    options, kinds, corner_yx_level0 : as in :class:`FinishedMask`
    slides : as in :func:`export_map`
    steps : told how far it is
    dtype : of the labels
    verdicts : what a person said of its lesions; those that were rejected are left out
    corrections : what a person painted, which is in the bands already: the provenance tells how much of it is left
    paths : file for a format, where it is not to be ``out_dir/stem`` with the format's ending; no provenance is written then

    Returns
    -------
    The files written
    """
    names = check_formats(formats)
    options, kinds = options or ExportOptions(), {1: TUMOUR} if kinds is None else kinds
    folder, steps = _folder(out_dir), steps or Steps()
    steps.parts = 1 + sum(len(FORMATS[name].files) for name in names)
    facts = {**facts, **{name: value for name, value in asdict(options).items() if value is not None}}
    written: list[Path] = []
    try:
        with ExitStack() as stack:
            store = MaskStore(stack.enter_context(scratch_folder(folder / "mask")), source.shape, dtype)
            needs_outlines = options.min_area_um2 > 0 or bool(verdicts) or any(FORMATS[name].outlines for name in names)
            outlines, seen_px, marked_px = _fill(store, source, bands, needs_outlines)
            if verdicts:
                said, unused = verdicts_on(outlines, verdicts, source)
                rejected = [outline for outline, word in zip(outlines, said, strict=True) if word == "reject"]
                store.erase([outline.polygon for outline in rejected])
                outlines = [outline for outline, word in zip(outlines, said, strict=True) if word != "reject"]
                mm2 = sum(outline.area_px for outline in rejected) * source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1] / 1e6
                told = {"reject_mm2": round(mm2, 9), "of_no_lesion": unused}
                facts = {**facts, "verdicts": {**{word: said.count(word) for word in ("accept", "reject")}, **told}}
            if options.min_area_um2 > 0:
                least_px = options.min_area_um2 / (source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1])
                small = [outline.polygon for outline in outlines if outline.area_px < least_px]
                store.erase(small)
                outlines = [outline for outline in outlines if outline.area_px >= least_px]
                facts = {**facts, "smaller_left_out": len(small)}
            if corrections is not None:
                mm2 = painted_in(store, corrections) * source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1] / 1e6
                facts = {**facts, "corrections": {**facts["corrections"], "tumour_in_mask_mm2": round(mm2, 9)}}
            if needs_outlines or not marked_px:
                facts = {**facts, "lesions": len(outlines)}
            if kinds == {1: TUMOUR}:
                covered_px = sum(outline.area_px for outline in outlines) if needs_outlines else marked_px
                facts = {**facts, "mask_mm2": round(covered_px * source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1] / 1e6, 9)}
            image = store
            if options.mpp is not None:
                shape = _shape_at(source, options.mpp)
                image = store.resampled(stack.enter_context(scratch_folder(folder / "image")), shape, steps)
            slide, dicom = (
                (None, None) if slides is None else slides.find(source.slide, stack, dicom="dicom-seg" in names, shown="png" in names)
            )
            mask = FinishedMask(source, store, image, outlines, facts, options, seen_px, slide, steps, dicom, kinds, corner_yx_level0)
            for name in names:
                for end, write in FORMATS[name].files:
                    steps.next()
                    path = (paths or {}).get(name, folder / (stem + end))
                    _write(path, write, mask, FORMATS[name].folder)
                    written.append(path)
        if paths is None:
            sidecar = folder / f"{stem}.provenance.json"
            text = json.dumps({**facts, "files": [path.name for path in written]}, indent=2, ensure_ascii=False)
            write_aside(sidecar, text + "\n")
            written.append(sidecar)
    except OSError as error:
        raise cannot_write(ExportError, folder, error, "choose another folder (--out)") from error
    return written


def _fill(store: MaskStore, source: Source, bands: Iterable[NDArray[np.unsignedinteger]], outline: bool) -> tuple[list[Outline], int, int]:
    """Store the mask; return the outlines of its objects, label by label, how many px were looked at, and how many are marked."""
    width = store.shape[1]
    tracers: dict[int, OutlineTracer] = {}
    y = seen = marked = 0
    for band in store.fill(bands):
        values = source.read(y, 0, len(band), width)
        seen += int(np.count_nonzero((values > 0) | (band > 0)))  # a person may mark where the network did not look
        marked += int(np.count_nonzero(band))
        if outline:
            for label in labels_in(band):
                if label not in tracers:
                    tracers[label] = OutlineTracer(width, label, y)
            if len(tracers) > _MOST_LABELS:
                raise ExportError("mask", f"has over {_MOST_LABELS} labels, too many to outline", "Write it as ome-tiff or ome-zarr")
            for label, tracer in tracers.items():
                tracer.add(band == label, values)
        y += len(band)
    return [found for label in sorted(tracers) for found in tracers[label].finish()], seen, marked


def _write(path: Path, write: Write, mask: FinishedMask, folder: bool) -> None:
    """Let a writer make a file or folder, which then takes the place of an older one."""
    if not folder:
        with durable(path) as aside:
            write(aside, mask)
        return
    if path.exists() and not (path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", "0.dcm"))):
        raise ExportError(path, "is there, and nothing of this kind", "Move it away, or choose another folder (--out)")
    with scratch_folder(path) as aside:
        write(aside, mask)
        sync_tree(aside)
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)


def _shape_at(source: Source, mpp: float) -> tuple[int, int]:
    height, width = (max(1, int(np.rint(n * side / mpp))) for n, side in zip(source.shape, source.pixel_size_um_yx, strict=True))
    if height * width > 2**36:
        raise ExportError(f"resolution {mpp} um/px", f"gives an image of {width} x {height} px", "Choose a coarser one")
    return height, width


def _folder(out_dir: Path) -> Path:
    try:
        make_folder(out_dir)
    except OSError as error:
        cause = "is a file" if out_dir.exists() and not out_dir.is_dir() else f"cannot be made in {out_dir.parent} ({error.strerror})"
        raise ExportError(out_dir, cause, "Choose another folder (--out)") from error
    return out_dir
