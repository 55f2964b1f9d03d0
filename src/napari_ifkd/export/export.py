"""Masks out: one map, or all slides of a round, in the formats other programs read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import Cancelled, ExportError
from napari_ifkd.files import cannot_write, durable, make_folder, scratch_folder, write_aside
from napari_ifkd.inference import ProbabilityMap, open_map
from napari_ifkd.runs.folder import RunFolder

from .geojson import write_geojson
from .mask_store import MaskStore
from .ome_tiff import write_ome_tiff
from .outlines import Outline, OutlineTracer
from .provenance import provenance_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORMATS = {"geojson": ".geojson", "ome-tiff": ".ome.tif"}
"""Known formats and how their files end."""


def export_map(
    source: ProbabilityMap,
    out_dir: str | Path,
    formats: Sequence[str],
    *,
    threshold: float,
    sigma_px: float,
    round: int | None = None,
    min_area_um2: float = 0.0,
    simplify_um: float = 0.0,
    provenance: dict[str, Any] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the mask of one map, and beside it ``<slide>_round<k>.provenance.json``.

    Parameters
    ----------
    source : the map
    out_dir : made if it is not there
    formats : of :data:`FORMATS`
    threshold, sigma_px : as in :meth:`ProbabilityMap.mask`
    round : number for the file names; None for a map of no run
    min_area_um2 : smaller objects are left out of all formats, um2
    simplify_um : outlines of GeoJSON may deviate so much, um; 0 keeps every pixel's edge
    provenance : added to what the map knows, such as config and seed; must hold no path
    should_stop : asked now and then
    progress : called with rows done and in all

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
    formats = check_formats(formats)
    folder = _folder(out_dir)
    stem = Path(str(source.slide["name"])).stem + ("" if round is None else f"_round{round}")
    facts = provenance_of(source, threshold=threshold, sigma_px=sigma_px, round=round, min_area_um2=min_area_um2, **(provenance or {}))

    def check(done: int, total: int) -> None:
        if should_stop():
            raise Cancelled
        if progress is not None:
            progress(done, total)

    written: list[Path] = []
    try:
        with scratch_folder(folder / "mask") as scratch:
            store = MaskStore(scratch, source.shape)
            needs_outlines = "geojson" in formats or min_area_um2 > 0
            outlines = _fill(store, source, threshold, sigma_px, check, needs_outlines)
            if min_area_um2 > 0:
                least_px = min_area_um2 / (source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1])
                store.erase([outline.polygon for outline in outlines if outline.area_px < least_px])
                outlines = [outline for outline in outlines if outline.area_px >= least_px]
            for name in formats:
                path = folder / (stem + FORMATS[name])
                with durable(path) as aside:
                    if name == "geojson":
                        with aside.open("w", encoding="utf-8") as file:
                            write_geojson(file, outlines, source, {**facts, "simplify_um": simplify_um}, simplify_um)
                    else:
                        store.build_levels()
                        write_ome_tiff(aside, store.levels, source.pixel_size_um_yx, facts, check)
                written.append(path)
        sidecar = folder / f"{stem}.provenance.json"
        files = [path.name for path in written]
        text = json.dumps({**facts, "simplify_um": simplify_um, "files": files}, indent=2, ensure_ascii=False)
        write_aside(sidecar, text + "\n")
    except OSError as error:
        raise cannot_write(ExportError, folder, error, "choose another --out") from error
    return [*written, sidecar]


def export_run(
    source: str | Path | ProbabilityMap,
    formats: Sequence[str],
    out_dir: str | Path,
    *,
    round: int | None = None,
    threshold: float | None = None,
    sigma_px: float | None = None,
    min_area_um2: float = 0.0,
    simplify_um: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the masks of a run's round, or of one map.

    Parameters
    ----------
    source : folder of a run, a map, or its folder
    formats, out_dir, min_area_um2, simplify_um, should_stop, progress : as in :func:`export_map`
    round : None is the accepted round, else the last that was switched in, else the teacher (0)
    threshold : None is the accepted one, else the run's or the map's setting
    sigma_px : None is the run's or the map's setting

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
    if not isinstance(source, ProbabilityMap) and (Path(source) / "run.yaml").is_file():
        run = RunFolder.open(source)
        accepted = run.accepted
        round = _round(run, round)
        if threshold is None and accepted is not None and accepted.round == round:
            threshold = accepted.threshold
        settings = run.config.inference.model_dump()
        more = {"act": run.act, "config": run.config.model_dump(mode="json"), "seed": run.config.seed}
        maps = [open_map(path) for path in run.maps(round).values()]
    else:
        found = source if isinstance(source, ProbabilityMap) else open_map(source)
        round = _round_of(found.path) if round is None else round
        settings = dict(found.attributes.get("settings") or {})
        more = {"config": {"inference": settings}}
        maps = [found]
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
            min_area_um2=min_area_um2,
            simplify_um=simplify_um,
            provenance=more,
            should_stop=should_stop,
            progress=progress,
        )
    return files


def check_formats(formats: Sequence[str]) -> list[str]:
    """Return the formats, each once, in the order given.

    Raises
    ------
    ExportError
        If one is unknown, or there is none.
    """
    names = list(dict.fromkeys(name.strip().lower() for name in formats if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        cause = f"unknown: {', '.join(unknown)}" if unknown else "none was given"
        raise ExportError("format", cause, f"Known formats: {', '.join(FORMATS)}")
    return names


def _fill(
    store: MaskStore, source: ProbabilityMap, threshold: float, sigma_px: float, check: Callable[[int, int], None], outline: bool
) -> list[Outline]:
    tracer = OutlineTracer(source.shape[1]) if outline else None
    for mask, values in store.fill(source, threshold, sigma_px, check):
        if tracer is not None:
            tracer.add(mask, values)
    return [] if tracer is None else list(tracer.finish())


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


def _folder(out_dir: str | Path) -> Path:
    folder = Path(out_dir)
    try:
        make_folder(folder)
    except OSError as error:
        cause = "is a file" if folder.exists() and not folder.is_dir() else f"cannot be made ({error.strerror})"
        raise ExportError(folder, cause, "Choose another --out") from error
    return folder
