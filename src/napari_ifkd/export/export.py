"""Masks out: one map, or all slides of a round, in the formats other programs read."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import Cancelled, ExportError
from napari_ifkd.files import cannot_write, durable, make_folder, scratch_folder, sync_tree, write_aside
from napari_ifkd.inference import ProbabilityMap, open_map
from napari_ifkd.runs.folder import RunFolder

from .formats import FORMATS, check_formats
from .mask import TUMOUR, FinishedMask, bands_of
from .mask_store import MaskStore
from .options import ExportOptions
from .outlines import Outline, OutlineTracer
from .provenance import provenance_of
from .slides import SlideFinder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from .formats import Write
    from .mask import Kind, Source

_MOST_LABELS = 64  # that are outlined


def export_map(
    source: ProbabilityMap,
    out_dir: str | Path,
    formats: Sequence[str],
    *,
    threshold: float,
    sigma_px: float,
    round: int | None = None,
    options: ExportOptions | None = None,
    provenance: dict[str, Any] | None = None,
    slides: SlideFinder | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
    to: Path | None = None,
) -> list[Path]:
    """Write the mask of one map, and beside it ``<slide>_round<k>.provenance.json``.

    Parameters
    ----------
    source : the map
    out_dir : made if it is not there
    formats : of :data:`FORMATS`
    threshold, sigma_px : as in :meth:`ProbabilityMap.mask`
    round : number for the file names; None for a map of no run
    options : what is written, and how
    provenance : added to what the map knows, such as config and seed; must hold no path
    slides : where slides may be found, for formats that show them
    should_stop : asked now and then
    progress : called with steps done and in all
    to : the file for the one format that is asked for, of the one map, in place of a name of ours; then there is no other file

    Returns
    -------
    The files written, the provenance last

    Raises
    ------
    ExportError
        If a format is unknown, the mask too ragged, or the folder cannot be written.
    Cancelled
        If `should_stop` said so; no half file is left.
    """
    steps = Steps(should_stop, progress)
    facts = provenance_of(source, threshold=threshold, sigma_px=sigma_px, round=round, **(provenance or {}))
    stem = Path(str(source.slide["name"])).stem + ("" if round is None else f"_round{round}")
    bands = bands_of(source, threshold, sigma_px, steps)
    return write_mask(
        source,
        bands,
        Path(out_dir),
        stem,
        formats,
        facts,
        options=options,
        slides=slides,
        steps=steps,
        paths=None if to is None else dict.fromkeys(formats, to),
    )


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
            needs_outlines = options.min_area_um2 > 0 or any(FORMATS[name].outlines for name in names)
            outlines, seen_px = _fill(store, source, bands, needs_outlines)
            if options.min_area_um2 > 0:
                least_px = options.min_area_um2 / (source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1])
                store.erase([outline.polygon for outline in outlines if outline.area_px < least_px])
                outlines = [outline for outline in outlines if outline.area_px >= least_px]
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
        raise cannot_write(ExportError, folder, error, "choose another --out") from error
    return written


def export_run(
    source: str | Path | ProbabilityMap,
    formats: Sequence[str],
    out_dir: str | Path,
    *,
    round: int | None = None,
    threshold: float | None = None,
    sigma_px: float | None = None,
    options: ExportOptions | None = None,
    slides: Sequence[str | Path] = (),
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
    to: Path | None = None,
) -> list[Path]:
    """Write the masks of a run's round, or of one map.

    Parameters
    ----------
    source : folder of a run, a map, or its folder
    formats, out_dir, options, should_stop, progress, to : as in :func:`export_map`
    round : None is the accepted round, else the last that was switched in, else the teacher (0)
    threshold : None is the accepted one, else the run's or the map's setting
    sigma_px : None is the run's or the map's setting
    slides : where slides lie, for formats that show them; a run knows where its own were

    Returns
    -------
    The files written

    Raises
    ------
    ExportError
        As :func:`export_map`; also if the run has no map of that round.
    RunError
        If `source` is neither a run nor a map.
    """
    formats = check_formats(formats)
    if threshold is not None and not 0 <= threshold <= 1:
        raise ExportError(f"threshold {threshold}", "is no probability", "Give a number from 0 to 1")
    more: dict[str, Any] = {}
    finder = SlideFinder([Path(path) for path in slides])
    if not isinstance(source, ProbabilityMap) and (Path(source) / "run.yaml").is_file():
        run = RunFolder.open(source)
        accepted = run.accepted
        round = _round(run, round)
        if threshold is None and accepted is not None and accepted.round == round:
            threshold = accepted.threshold
        settings = run.config.inference.model_dump()
        more = {"act": run.act, "config": run.config.model_dump(mode="json"), "seed": run.config.seed}
        maps = [open_map(path) for path in run.maps(round).values()]
        finder.look_in(run)
    else:
        found = source if isinstance(source, ProbabilityMap) else open_map(source)
        round = _round_of(found.path) if round is None else round
        settings = dict(found.attributes.get("settings") or {})
        more = {"config": {"inference": settings}}
        maps = [found]
        own = _run_of(found.path)
        if own is not None:
            finder.look_in(own)
    threshold = float(settings.get("threshold", 0.5)) if threshold is None else threshold
    sigma_px = float(settings.get("sigma_px", 0.0)) if sigma_px is None else sigma_px
    files: list[Path] = []
    for item in maps:
        files += export_map(
            item,
            out_dir,
            formats,
            threshold=threshold,
            sigma_px=sigma_px,
            round=round,
            options=options,
            provenance=more,
            slides=finder,
            should_stop=should_stop,
            progress=progress,
            to=to,
        )
    return files


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


def _fill(store: MaskStore, source: Source, bands: Iterable[NDArray[np.unsignedinteger]], outline: bool) -> tuple[list[Outline], int]:
    """Store the mask; return the outlines of its objects, label by label, and how many px were looked at."""
    width = store.shape[1]
    tracers: dict[int, OutlineTracer] = {}
    y = seen = 0
    for band in store.fill(bands):
        values = source.read(y, 0, len(band), width)
        seen += int(np.count_nonzero(values))
        if outline:
            for label in np.unique(band[band > 0]).tolist():
                if label not in tracers:
                    tracers[label] = OutlineTracer(width, label, y)
            if len(tracers) > _MOST_LABELS:
                raise ExportError("mask", f"has over {_MOST_LABELS} labels, too many to outline", "Write it as ome-tiff or ome-zarr")
            for label, tracer in tracers.items():
                tracer.add(band == label, values)
        y += len(band)
    return [found for label in sorted(tracers) for found in tracers[label].finish()], seen


def _write(path: Path, write: Write, mask: FinishedMask, folder: bool) -> None:
    """Let a writer make a file or folder, which then takes the place of an older one."""
    if not folder:
        with durable(path) as aside:
            write(aside, mask)
        return
    if path.exists() and not (path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", "0.dcm"))):
        raise ExportError(path, "is there, and nothing of this kind", "Move it away, or choose another --out")
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


def _round(run: RunFolder, round: int | None) -> int:
    """Return a round that has maps."""
    accepted = run.accepted
    wanted = round if round is not None else accepted.round if accepted is not None else run.recommended_round()
    if not run.maps(wanted):
        having = ", ".join(map(str, _rounds_with_maps(run)))
        remedy = f"Rounds with maps: {having}; choose one by --round" if having else "It predicted no slide: predict or distil one"
        raise ExportError(run.path, f"has no map of round {wanted}", remedy)
    return wanted


def _rounds_with_maps(run: RunFolder) -> list[int]:
    folders = (path for path in run.path.glob("rounds/[0-9]*") if path.name.isdigit())
    return sorted(index for index in (int(path.name) for path in folders) if run.maps(index))


def _round_of(path: Path) -> int | None:
    """Read the round from where a map lies in a run, None for a map elsewhere."""
    match = re.search(r"rounds[/\\](\d+)[/\\]maps[/\\][^/\\]+$", str(path.absolute()))
    return int(match[1]) if match else None


def _run_of(path: Path) -> RunFolder | None:
    """Return the run a map lies in, None for a map elsewhere."""
    path = path.absolute()
    inside = _round_of(path) is not None and (path.parents[3] / "run.yaml").is_file()
    return RunFolder.open(path.parents[3]) if inside else None


def _folder(out_dir: Path) -> Path:
    try:
        make_folder(out_dir)
    except OSError as error:
        cause = "is a file" if out_dir.exists() and not out_dir.is_dir() else f"cannot be made ({error.strerror})"
        raise ExportError(out_dir, cause, "Choose another --out") from error
    return out_dir
