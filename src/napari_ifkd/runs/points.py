"""Answered points as evidence in a run: which round, and from which probability; and where to look next."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_ifkd.annotations.points import Point, points_on, read_points
from napari_ifkd.errors import InputError, RunError
from napari_ifkd.evidence import FRAME_PIXELS, Answers, Drawn, Frame, Place, draw_places, estimate, probability_at, propose
from napari_ifkd.inference import open_map
from napari_ifkd.pace import Pace
from napari_ifkd.slides.dicom import is_dicom

from .folder import RunFolder
from .inputs import check_same_slides, mpp_of, opened_slides
from .judgement import judge, name_of
from .regions import exclusions_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.events import Event
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide

    from .judgement import Judgement

ENOUGH = 10
"""Answered points from which they decide."""

_BATCH = re.compile(r"batch (\d+)(?: of (.+))?")  # ours; of the slide where it was drawn on one alone


def stands_for(stratum: str, slides: Sequence[str]) -> bool:
    """Tell whether a batch of points stands for all of some slides, by name.

    One that was drawn on several does for each of them, not vice versa.
    """
    found = _BATCH.fullmatch(stratum)
    return found is None or found[2] is None or [found[2]] == list(slides)


class PointEvidence:
    """The points and rounds of a run.

    Parameters
    ----------
    folder : the run, with the maps of its rounds and ``points.csv``
    slides : of the run, all or some; points elsewhere neither count nor are asked for
    config : smoothing, threshold and seed count

    Attributes
    ----------
    rounds : that have maps of all the slides
    notes : what the user should know of the last judgement or proposal
    """

    def __init__(self, folder: RunFolder, slides: Sequence[Slide], config: Config) -> None:
        self.folder, self.config = folder, config
        self.notes: list[str] = []
        self._unsure = 0  # answers that say so
        self.rounds = [index for index in folder.rounds() if all(slide.name in folder.maps(index) for slide in slides)]
        self.slides = list(slides)
        self._said: dict[int, NDArray[np.float32]] = {}  # of each round, at the places that were drawn

    def look(self) -> Iterator[Event]:
        """Read the maps at the places of the frame, which may take a minute; else that is done when first needed."""
        pace = Pace("points", len(self.rounds), "rounds")
        for index in self.rounds:
            self._of_round(index)
            if (event := pace.add(1)) is not None:
                yield event

    @property
    def area_um2(self) -> float | None:
        """Area that the points stand for: tissue where all maps looked, without exclusions."""
        area = self._drawn.area_um2
        return None if area is None else area * float(self._looked.mean())

    @cached_property
    def places(self) -> list[Place]:
        """Those of the frame: the same whatever the rounds are, but for what no map looked at."""
        return [place for place, looked in zip(self._drawn.places, self._looked.tolist(), strict=True) if looked]

    def answered(self) -> list[Point]:
        """Return the points that can judge: sure, not learnt from, in the frame, drawn there with a known probability."""
        if not self.folder.points.is_file() or not self.rounds:
            return []
        points = read_points(self.folder.points)
        there = [point for slide in self.slides for point in points_on(points, slide)]
        own = [point for point in there if point.answer != "unsure"]
        self._unsure = len(there) - len(own)
        if self.config.rounds.points_as_labels and own:
            self.notes.append("The points taught the students (rounds.points_as_labels), so they cannot judge them: they do not decide.")
            return []
        kept = self._left(own, [p.probability is not None for p in own], "drawn with nobody knows which probability")
        kept = self._left(
            kept,
            [stands_for(p.stratum, [slide.name for slide in self.slides]) for p in kept],
            "drawn on one of the slides alone (it is that slide they judge: --slide, or Review, Points in the window)",
        )
        excluded = [p.slide in self._exclusions and bool(shapely.contains_xy(self._exclusions[p.slide], p.x, p.y)) for p in kept]
        kept = self._left(kept, [not out for out in excluded], "in an excluded region")
        if kept:
            looked = np.all(self._probability([_place(point) for point in kept]) > 0, axis=0)
            kept = self._left(kept, looked, "where a map did not look")
        return kept

    def judgement(self) -> Judgement | None:
        """Judge the teacher and the rounds by the answers so far.

        Returns
        -------
        None where no point can judge; fewer than ENOUGH do not decide, nor those of which none is tumour, nor where the best mask is no
            better than all tissue
        """
        self.notes = []
        points = self.answered()
        if not points or not self.places:
            return None
        few = self._too_few(len(points)) if len(points) < ENOUGH else ""
        if not few and all(point.answer != "tumour" for point in points):
            few = f"None of {len(points)} points that can judge is tumour, so nobody knows what the rounds miss. Answer more points."
        found = estimate(self.frame, self._answers(points))
        if self._unsure:
            found = replace(found, evidence=f"{found.evidence}, and {self._unsure} unsure")
        return judge("points", self.rounds, self.frame, found, self.config.inference.threshold, self.area_um2, few)

    def _too_few(self, judging: int) -> str:
        unsure = f" ({self._unsure} unsure besides)" if self._unsure else ""
        points = f"{judging} points that can judge{unsure} are" if judging > 1 else f"1 point that can judge{unsure} is"
        return f"{points} too few to decide; from {ENOUGH} on they do."

    def proposals(self, count: int) -> list[Point]:
        """Return the next places to ask about, as points without an answer; none where the slides hold no tissue.

        They follow from the answers so far, and are the same until there are more. They come in random order, so that whoever stops early
        has answered a random part of them. A place that was answered in an earlier batch brings its answer along, and counts again.
        """
        self.notes = []
        if not self.places:
            return []
        points = self.answered()
        strata = [point.stratum for point in read_points(self.folder.points)] if self.folder.points.is_file() else []
        number = 1 + max((int(found[1]) for stratum in strata if (found := _BATCH.fullmatch(stratum))), default=0)
        name = f"batch {number}" + (f" of {self.slides[0].name}" if len(self.slides) == 1 else "")
        known = {_place(point): point.answer for point in points}
        rng = np.random.default_rng([self.config.seed, number])
        got = propose(self.frame, self._answers(points), count, rng)
        order = rng.permutation(len(got.index))
        asked = ((self.places[index], float(inclusion)) for index, inclusion in zip(got.index[order], got.inclusion[order], strict=True))
        return [Point(place.slide, place.x, place.y, known.get(place, ""), inclusion, name) for place, inclusion in asked]

    @cached_property
    def frame(self) -> Frame:
        """What the rounds say at the places."""
        return Frame(tuple(name_of(index) for index in self.rounds), self._at_drawn[:, self._looked])

    @cached_property
    def _exclusions(self) -> dict[str, BaseGeometry]:
        return exclusions_of(self.folder, self.slides)

    @cached_property
    def _drawn(self) -> Drawn:
        return draw_places(self.slides, FRAME_PIXELS, self.config.seed, self._exclusions)

    @cached_property
    def _at_drawn(self) -> NDArray[np.float32]:
        return np.stack([self._of_round(index) for index in self.rounds])

    def _of_round(self, index: int) -> NDArray[np.float32]:
        if index not in self._said:
            self._said[index] = probability_at(self._drawn.places, self._maps(index), self.config.inference.sigma_px)
        return self._said[index]

    @cached_property
    def _looked(self) -> NDArray[np.bool_]:
        looked: NDArray[np.bool_] = np.all(self._at_drawn > 0, axis=0)
        return looked

    def _answers(self, points: list[Point]) -> Answers:
        # each batch of ours stands for all tissue; the strata of another design only do together
        batches = [point.stratum if _BATCH.fullmatch(point.stratum) else "" for point in points]
        names = sorted(set(batches))
        return Answers(
            self._probability([_place(point) for point in points]),
            np.array([point.answer == "tumour" for point in points], bool),
            np.array([point.probability for point in points], np.float64),
            np.array([names.index(batch) for batch in batches], np.int64),
        )

    def _probability(self, places: list[Place]) -> NDArray[np.float32]:
        sigma = self.config.inference.sigma_px
        return np.stack([probability_at(places, self._maps(index), sigma) for index in self.rounds])

    def _maps(self, index: int) -> dict[str, ProbabilityMap]:
        return {name: open_map(path) for name, path in self.folder.maps(index).items()}

    def _left(self, points: list[Point], good: Sequence[bool] | NDArray[np.bool_], why_not: str) -> list[Point]:
        """Keep the good ones, and note how many are not."""
        kept = [point for point, is_good in zip(points, good, strict=True) if is_good]
        if lacking := len(points) - len(kept):
            self.notes.append(f"{lacking} answered point{'s do' if lacking > 1 else ' does'} not decide: {why_not}.")
        return kept


@contextmanager
def opened_evidence(run: str | Path, slide: str | Path | None = None) -> Iterator[PointEvidence]:
    """Open the points and rounds of a run on disk for the length of a ``with`` block.

    Parameters
    ----------
    run : folder of a distill run with slides
    slide : one of its slides alone, by name, or by where its file lies now; None is all of them, where they lay

    Raises
    ------
    RunError
        If the run has no slide, no such slide, or no maps yet; or a slide is gone or another.
    InputError
        If slides or regions of the run cannot be read.
    """
    folder = RunFolder.open(run)
    if folder.act != "distill":
        raise RunError(run, f"is a {folder.act} run, and points judge the rounds of a distill run", "Give one of those")
    lay = {Path(path).name: Path(path) for path in folder.about["data"]["data"] if not Path(path).is_dir() or is_dicom(Path(path))}
    names = [str(identity["name"]) for identity in folder.about["slides"]]
    if not names:
        cause = "learnt from patches alone, and points are places on slides"
        raise RunError(run, cause, "Judge its rounds by masks of some patches: `napari-ifkd distill --reference`")
    if slide is not None:
        if Path(slide).name not in names:
            raise RunError(run, f"has no slide {Path(slide).name}", f"It has {', '.join(names[:8])}")
        names = [Path(slide).name]
        lay |= {Path(slide).name: Path(slide)} if Path(slide).exists() else {}
    for name in names:
        if name not in lay or not lay[name].exists():
            where = f" (it lay at {lay[name]})" if name in lay else ""
            raise RunError(run, f"its slide {name} is gone{where}", "Put it back, or tell by --slide where its file lies")
    given = folder.about["data"].get("mpp")
    own = {name: mpp for name in names if (mpp := mpp_of(given, name)) is not None}
    with opened_slides([lay[name] for name in names], own) as slides:
        check_same_slides(folder, slides)
        evidence = PointEvidence(folder, slides, folder.config)
        if not evidence.rounds:
            raise RunError(run, "has no map of its slides yet", "Let it run first: `napari-ifkd resume`")
        yield evidence


def points_of(path: Path, slides: Sequence[Slide], option: str = "--points") -> list[Point]:
    """Read answered points, of which some must lie on the slides.

    Raises
    ------
    InputError
        If none does.
    AnnotationError
        If the table cannot be read, or a point lies beside its slide.
    """
    points = read_points(path)
    if not [point for slide in slides for point in points_on(points, slide)]:
        named = ", ".join(sorted({point.slide for point in points})[:3]) or "no slide"
        cause = f"none of its {len(points)} answered points lies on a slide of this run (they name {named})"
        raise InputError(option, cause, "Name its slides in the column slide, and fill in the column answer")
    return points


def _place(point: Point) -> Place:
    return Place(point.slide, point.x, point.y)
