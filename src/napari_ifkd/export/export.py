"""Masks out: one map, or all slides of a round, in the formats other programs read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import ExportError
from napari_ifkd.inference import ProbabilityMap, open_map
from napari_ifkd.runs.folder import RunFolder

from .corrected import corrected, corrections_for, told
from .excluded import cleared, excluded_facts, exclusion_for, unseen
from .formats import check_formats
from .lesions import verdicts_for
from .mask import bands_of
from .provenance import provenance_of
from .slides import SlideFinder
from .writing import Steps, write_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations import Corrections
    from napari_ifkd.annotations.verdicts import Verdict

    from .options import ExportOptions


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
    corrections: Corrections | None = None,
    verdicts: Sequence[Verdict] = (),
    exclusion: BaseGeometry | None = None,
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
    corrections : pixels that a person painted on the slide; they win over the map
    verdicts : what a person said of lesions of the slide; those that were rejected are left out
    exclusion : (x, y) in level-0 px; it counts as not looked at, and nothing in there is tumour, whoever says so
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
    facts |= told(corrections)
    stem = Path(str(source.slide["name"])).stem + ("" if round is None else f"_round{round}")
    bands = bands_of(source, threshold, sigma_px, steps)
    if corrections is not None:
        bands = corrected(bands, corrections, source.shape)
    if exclusion is not None:
        bands = cleared(bands, exclusion, source.scale_yx)  # corrections too
        facts |= excluded_facts(exclusion, source)
        source = unseen(source, exclusion)
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
        verdicts=verdicts,
        corrections=corrections,
    )


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
    exclude: Sequence[str | Path] = (),
    warnings: Sequence[str] = (),
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
    sigma_px : None is that of the accepted mask where its threshold is taken, else the run's or the map's setting
    slides : where slides lie, for formats that show them; a run knows where its own were
    exclude : files called like their slide, or folders of such, of which all regions are left out, besides what the run excluded
    warnings : told in the provenance, and wherever a file tells of warnings, besides those of the prediction

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
    run: RunFolder | None
    finder = SlideFinder([Path(path) for path in slides])
    if not isinstance(source, ProbabilityMap) and (Path(source) / "run.yaml").is_file():
        run = RunFolder.open(source)
        accepted = run.accepted
        round = _round(run, round)
        if threshold is None and accepted is not None and accepted.round == round:
            threshold = accepted.threshold
            sigma_px = accepted.sigma_px if sigma_px is None else sigma_px
        settings = run.config.inference.model_dump()
        more = {"act": run.act, "config": run.config.model_dump(mode="json"), "seed": run.config.seed}
        maps = [open_map(path) for path in run.maps(round).values()]
    else:
        found = source if isinstance(source, ProbabilityMap) else open_map(source)
        round = _round_of(found.path) if round is None else round
        settings = dict(found.attributes.get("settings") or {})
        more = {"config": {"inference": settings}}
        maps = [found]
        run = _run_of(found.path)
    if run is not None:
        finder.look_in(run)
        more["accepted"] = None if run.accepted is None else run.accepted.record()
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
            provenance={**more, "warnings": [*item.warnings, *warnings]},
            slides=finder,
            corrections=None if run is None else corrections_for(run, item),
            verdicts=() if run is None else verdicts_for(run, item),
            exclusion=exclusion_for(item, run, exclude),
            should_stop=should_stop,
            progress=progress,
            to=to,
        )
    return files


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
