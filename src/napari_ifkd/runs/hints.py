"""What the user corrected, handed to the rounds of a run: each round learns from the state at its beginning."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from napari_ifkd.annotations.corrections import Corrections
from napari_ifkd.annotations.points import Point, points_on, read_points, write_points
from napari_ifkd.annotations.verdicts import Verdict, read_verdicts, standing, write_verdicts
from napari_ifkd.bags import join_bags
from napari_ifkd.bags.bags import image_store
from napari_ifkd.bags.hints import Hints, hinted_bags
from napari_ifkd.errors import AnnotationError
from napari_ifkd.files import cannot_write, durable_folder

from .points import stands_for
from .stop import never

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.slides import Slide

    from .folder import RunFolder

_TRIES = 5  # to copy corrections while somebody paints
_PAUSE_S = 0.1
_Said = TypeVar("_Said", Point, Verdict)


class RoundHints:
    """The hints of each round of a run; call it with the round's index at its beginning.

    The first call for a round puts what the user painted and answered so far into ``rounds/NN/hints``. Later calls read that, so that a
    resumed round learns from what it began with, and anybody can see what a round knew.

    Parameters
    ----------
    folder : the run
    slides : its slides; hints on others count for nothing
    config : ``tiles``, ``rounds`` and the seed are used; points count where ``rounds.points_as_labels`` says so
    exclusions : level-0 px, by the slide's name; tiles that touch them are left out, as among the bags
    should_stop : asked at least once a second

    Attributes
    ----------
    notes : what was found, a line a slide and round; for whoever calls to tell, and to clear

    Raises
    ------
    AnnotationError
        If corrections or points cannot be used: told before the run begins, not in its middle.
    """

    def __init__(
        self,
        folder: RunFolder,
        slides: Sequence[Slide],
        config: Config,
        *,
        exclusions: Mapping[str, BaseGeometry] | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self.folder, self.slides, self.config = folder, list(slides), config
        self.exclusions, self.should_stop = exclusions or {}, should_stop
        self.notes: list[str] = []
        for slide in self.slides:
            if (path := folder.corrections_path(slide.path)).exists():
                Corrections.open(path).check(slide)
        points = self._points(folder.points)
        if points and not any(points_on(points, slide) for slide in self.slides):
            named = ", ".join(sorted({point.slide for point in points})[:3])
            slides_here = ", ".join(slide.name for slide in self.slides[:3]) or "none"
            raise AnnotationError(
                folder.points, f"no point lies on a slide of this run (they name {named}; the run's: {slides_here})", "Name its slides"
            )

    def __call__(self, index: int) -> Hints | None:
        """Return the hints of a round (1-based), None where there are none.

        Raises
        ------
        AnnotationError
            If corrections or points cannot be used; the round can be resumed once they can.
        SlideError
            If a slide is damaged there.
        Cancelled
            If the run shall stop.
        """
        if not self.slides:
            return None
        kept = self.folder.round_dir(index) / "hints"
        if not kept.is_dir():
            self._keep(kept)
        points = self._points(kept / "points.csv")
        parts = []
        for slide in self.slides:
            path = kept / "corrections" / self.folder.corrections_path(slide.path).name
            corrections = Corrections.open(path) if path.is_dir() else None
            part = hinted_bags(
                slide,
                self.config.tiles,
                corrections,
                points,
                self.config.rounds.point_radius_um,
                self.exclusions.get(slide.name),
                seed=self.config.seed,
                should_stop=self.should_stop,
            )
            self._note(index, slide, part, corrections, points)
            if part is not None:
                parts.append(part)
        return _joined(parts)

    def _keep(self, place: Path) -> None:
        """Copy the present state, whole or not at all."""
        with durable_folder(place) as aside:
            for slide in self.slides:
                path = self.folder.corrections_path(slide.path)
                if path.is_dir():
                    copy_corrections(path, aside / "corrections" / path.name).check(slide)
            if points := self._points(self.folder.points):
                write_points(aside / "points.csv", points)

    def _points(self, path: Path) -> list[Point]:
        return read_points(path) if self.config.rounds.points_as_labels and path.is_file() else []

    def _note(self, index: int, slide: Slide, part: Hints | None, corrections: Corrections | None, points: list[Point]) -> None:
        sure = sum(point.answer != "unsure" for point in points if point.slide == slide.name)
        sources = [f"{corrections.area_mm2():.3g} mm² painted"] if corrections is not None and not corrections.is_empty else []
        sources += [f"{sure} answered point{'s' * (sure != 1)}"] if sure else []
        if not sources:
            return
        tiles = 0 if part is None else len(part.bags)
        count = f"{tiles} corrected tile{'s' * (tiles != 1)} of {slide.name} count" + "s" * (tiles == 1)
        drawn = ", drawn at random: tiles.max_tiles" if tiles == self.config.tiles.max_tiles else ""
        self.notes.append(f"Round {index}: {count} ({' and '.join(sources)}{drawn})")


def copy_corrections(source: Path, out: Path) -> Corrections:
    """Copy corrections while somebody may be painting.

    Parameters
    ----------
    source : their folder
    out : the folder to make

    Raises
    ------
    AnnotationError
        If they are damaged.
    """
    for attempt in range(_TRIES):
        shutil.rmtree(out, ignore_errors=True)
        for file in sorted(source.rglob("*")):
            if file.is_file() and file.suffix != ".partial":  # zarr's halves of a write
                target = out / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # taken back meanwhile
                    shutil.copyfile(file, target)
        copied = Corrections.open(out)
        try:
            copied.area_mm2()  # decodes every chunk
        except AnnotationError as error:  # caught in the middle of a write, by a zarr that does not write aside
            if attempt == _TRIES - 1:
                raise AnnotationError(source, error.cause, error.remedy) from error
            time.sleep(_PAUSE_S)
        else:
            break
    return copied


def inherit(from_runs: Sequence[RunFolder], to_run: RunFolder) -> None:
    """Hand what the user corrected, answered and said of lesions in runs on to another one, for slides it has too (by their contents).

    What it has already stays as it is; of a slide, each comes from the first of the runs that has any.

    Raises
    ------
    RunError
        If a run cannot be read.
    AnnotationError
        If corrections, points or verdicts are damaged.
    """
    runs = [run for run in from_runs if run.path.resolve() != to_run.path.resolve()]
    for run in runs:
        _inherit_corrections(run, to_run)
    if not to_run.points.exists():
        points = _of_first(runs, to_run, lambda run: read_points(run.points) if run.points.is_file() else [])
        if points:
            write_points(to_run.points, points)
    if not to_run.verdicts.exists():
        verdicts = _of_first(runs, to_run, lambda run: read_verdicts(run.verdicts))
        if verdicts:
            write_verdicts(to_run.verdicts, verdicts)


def _of_first(from_runs: Sequence[RunFolder], to_run: RunFolder, read: Callable[[RunFolder], Iterable[_Said]]) -> list[_Said]:
    """Return what was said of the slides of a run: of each what the first of other runs has."""
    found: dict[str, list[_Said]] = {}
    for run in from_runs:
        here, said = _same_slides(run, to_run), dict[str, list[_Said]]()
        for each in read(run):
            if (name := here.get(each.slide)) is not None:
                said.setdefault(name, []).append(replace(each, slide=name))
        found = {**said, **found}
    return [each for told in found.values() for each in told]


def _same_slides(from_run: RunFolder, to_run: RunFolder) -> dict[str, str]:
    """Return what slides of one run are called in another, by what they are called in the first."""
    here = {str(s.get("quick_hash")): str(s["name"]) for s in to_run.about["slides"]}
    return {str(s["name"]): name for s in from_run.about["slides"] if (name := here.get(str(s.get("quick_hash")))) is not None}


def _inherit_corrections(from_run: RunFolder, to_run: RunFolder) -> None:
    here = {str(s.get("quick_hash")): str(s["name"]) for s in to_run.about["slides"]}
    for path in sorted(from_run.corrections.glob("*.zarr")):
        corrections = Corrections.open(path)
        name = here.get(str(corrections.slide.get("quick_hash")))
        if name is None or corrections.is_empty or (target := to_run.corrections_path(name)).exists():
            continue
        try:
            with durable_folder(target) as aside:
                copy_corrections(path, aside)
        except OSError as error:
            raise cannot_write(AnnotationError, target, error, "choose another --out") from error


def is_corrected(run: RunFolder, slide: str) -> bool:
    """Return whether anything of a slide was corrected in a run; what is damaged counts, so that somebody tells of it."""
    path = run.corrections_path(slide)
    try:
        return path.is_dir() and not Corrections.open(path).is_empty
    except AnnotationError:
        return True


def is_told_of(run: RunFolder, slide: str) -> bool:
    """Return whether a person said something of a run: of a slide by painting, or by points or verdicts."""
    judged = run.verdicts.is_file() and run.verdicts.read_bytes().count(b"\n") > 1  # below the heads of columns
    return judged or run.points.is_file() or is_corrected(run, slide)


def known_of(run: RunFolder, slide: Slide, slides: Sequence[str]) -> str:
    """Tell what of a slide would count in a run on some slides, by name, such as "corrections and 12 answered points", "" if nothing.

    Points that were drawn on one slide alone judge that one, and do not decide over several.

    Raises
    ------
    AnnotationError
        If corrections, points or verdicts are damaged.
    """
    path, known = run.corrections_path(slide.name), []
    if path.is_dir() and not Corrections.open(path).is_empty:
        known.append("corrections")
    if run.points.is_file():
        answers = [point.answer for point in read_points(run.points) if point.slide == slide.name and stands_for(point.stratum, slides)]
        unsure = answers.count("unsure")
        answered = len(answers) - unsure
        besides = f" ({unsure} more unsure)" if unsure else ""
        known += [f"{answered} answered point{'s' * (answered > 1)}{besides}"] if answered else []
    said = len(standing([verdict for verdict in read_verdicts(run.verdicts) if verdict.slide == slide.name]))
    known += [f"{said} judged lesion{'s' * (said > 1)}"] if said else []
    return " and ".join(", ".join(known).rsplit(", ", 1))


def _joined(parts: list[Hints]) -> Hints | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    bags = join_bags([part.bags for part in parts])
    labels, start = image_store(bags.images.shape[:3]), 0
    for part in parts:
        for k in range(len(part.bags)):  # one by one: a mapped array is never in memory whole
            labels[start + k] = part.labels[k]
        start += len(part.bags)
    return Hints(bags, labels)
