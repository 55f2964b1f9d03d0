"""Answered points as evidence in a run: which round, and from which probability."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations.points import Point, points_on, read_points
from napari_ifkd.evidence import (
    FRAME_PIXELS,
    Answers,
    Choice,
    Frame,
    Incumbent,
    Place,
    choose,
    draw_places,
    probability_at,
    propose,
)
from napari_ifkd.inference import open_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_ifkd.annotations.points import Answer
    from napari_ifkd.config import Config
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide

    from .folder import RunFolder

ENOUGH = 10
"""Answered points from which they decide."""


_BATCH = "batch "


@dataclass(frozen=True, slots=True)
class Asked:
    """A place a person is asked about.

    Attributes
    ----------
    place : on a slide
    probability : with which it came into its batch
    stratum : name of the batch
    """

    place: Place
    probability: float
    stratum: str

    def answered(self, answer: Answer) -> Point:
        """Return the point, with its answer."""
        return Point(self.place.slide, self.place.x, self.place.y, answer, self.probability, self.stratum)


class PointEvidence:
    """The points and rounds of a run.

    Parameters
    ----------
    folder : the run, with the maps of its rounds and ``points.csv``
    slides : that have maps
    config : smoothing, threshold and seed count

    Attributes
    ----------
    notes : what the user should know
    """

    def __init__(self, folder: RunFolder, slides: Sequence[Slide], config: Config) -> None:
        self.folder, self.config = folder, config
        self.notes: list[str] = []
        self.rounds = [index for index in folder.rounds() if all(slide.name in folder.maps(index) for slide in slides)]
        self.slides = list(slides)

    @cached_property
    def places(self) -> list[Place]:
        """Those of the frame: the same whatever the rounds are, but for what no map looked at."""
        return self._seen(draw_places(self.slides, FRAME_PIXELS, self.config.seed))

    def answered(self) -> list[Point]:
        """Return the points that can judge: drawn with a known probability, sure, on the slides, not learnt from, where maps looked."""
        if not self.folder.points.is_file() or not self.rounds:
            return []
        points = read_points(self.folder.points)
        own = [point for slide in self.slides for point in points_on(points, slide) if point.answer != "unsure"]
        if self.config.rounds.points_as_labels and own:
            self.notes.append("The points taught the students (rounds.points_as_labels), so they cannot judge them: they do not decide.")
            return []
        drawn = [point for point in own if point.probability is not None]
        if len(drawn) < len(own):
            lacking = len(own) - len(drawn)
            self.notes.append(f"{lacking} answered points were drawn with nobody knows which probability, and do not decide.")
        seen = set(self._seen([_place(point) for point in drawn]))
        return [point for point in drawn if _place(point) in seen]

    def choice(self) -> Choice | None:
        """Choose among the teacher and the rounds; the teacher at the threshold of the settings stays unless something speaks against it.

        Returns
        -------
        None where there are too few points to decide
        """
        points = self.answered()
        if len(points) < ENOUGH or not self.places:
            if points:
                self.notes.append(f"{len(points)} points that can judge are too few to decide; from {ENOUGH} on they do.")
            return None
        return choose(self._frame(), self._answers(points), Incumbent(0, self.config.inference.threshold))

    def proposals(self, count: int, rng: np.random.Generator) -> list[Asked]:
        """Return the next places to ask about, which follow from the answers so far; none where the slides hold no tissue."""
        if not self.places:
            return []
        points = self.answered()
        got = propose(self._frame(), self._answers(points), count, rng)
        batch = _BATCH + str(1 + max((int(p.stratum.removeprefix(_BATCH)) for p in points if _is_batch(p.stratum)), default=0))
        return [Asked(self.places[i], float(p), batch) for i, p in zip(got.index, got.inclusion, strict=True)]

    def _frame(self) -> Frame:
        names = tuple("the teacher" if index == 0 else f"round {index}" for index in self.rounds)
        return Frame(names, self._probability(self.places))

    def _answers(self, points: list[Point]) -> Answers:
        # each batch of ours stands for all tissue; the strata of another design only do together
        batches = [point.stratum if _is_batch(point.stratum) else "" for point in points]
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

    def _seen(self, places: list[Place]) -> list[Place]:
        """Leave out places where a map did not look."""
        if not places:
            return []
        seen: NDArray[np.bool_] = np.all(self._probability(places) > 0, axis=0)
        return [place for place, there in zip(places, seen.tolist(), strict=True) if there]


def _is_batch(stratum: str) -> bool:
    return stratum.startswith(_BATCH) and stratum.removeprefix(_BATCH).isdecimal()


def _place(point: Point) -> Place:
    return Place(point.slide, point.x, point.y)
