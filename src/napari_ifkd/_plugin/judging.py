"""What the points of the run that is looked at say of its rounds on the active slide."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from psygnal import Signal

from napari_ifkd.annotations.points import read_points
from napari_ifkd.runs.accepted import same_smoothing
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import TOLD_BY, name_of, stands_above

from .answer_writer import AnswerWriter
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_ifkd.runs.judgement import Judgement, RoundFigures
    from napari_ifkd.runs.points import PointEvidence
    from napari_ifkd.session import Session
    from napari_ifkd.slides import Slide

TABLE = "points-asked.csv"
"""Of a run: the places that were asked about, and what was answered."""


class Judged(NamedTuple):
    """What the answers say of a run.

    Attributes
    ----------
    judgement : None where no answer can judge
    notes : to know of it
    answered : when the last answer was given, seconds since 1970
    sigma_px : smoothing of the masks that are judged, px of the map
    by_masks : whether the run was given reference masks too
    places : how many were answered
    """

    judgement: Judgement | None
    notes: list[str]
    answered: float
    sigma_px: float
    by_masks: bool
    places: int


class _Of(NamedTuple):
    slide: Slide | None = None
    run: Path | None = None
    rounds: tuple[int, ...] = ()


class _Task(NamedTuple):
    of: _Of
    work: Callable[[], Judged]
    asked: bool  # for by a person: else what fails is not told
    done: Callable[[], object]


class Judging:
    """Judge the rounds by points, in a thread: as soon as they are answered, and again where such a run is opened or gets rounds.

    Parameters
    ----------
    session : knows the slide, the run and what is accepted

    Attributes
    ----------
    found : None where no points were answered, or it is not known yet what they say
    grows : whether the run is at work, and may have more rounds to come
    waits : whether there are answers, and they are judged once the run has ended
    answers : writes them down
    """

    changed = Signal()  # what is found, or whether it is known, or whether all answers are written

    def __init__(self, session: Session) -> None:
        self._session = session
        self.answers = AnswerWriter(self.changed.emit)
        self.found: Judged | None = None
        self.grows = self.waits = False
        self._of = _Of()  # `found` is of, even where that is None
        self._tasks: list[_Task] = []  # the first is under way
        for name in ("slide", "run", "candidates", "job"):
            session.events[name].connect(self.recall, max_args=0)

    def judge(self, slide: Slide, run: Path, done: Callable[[], object]) -> None:
        """Take the answers of a count, as they are written, into a run, and judge by them; an error is told to the user.

        Parameters
        ----------
        slide, run : that were counted on
        done : called once the answers are the run's
        """

        def work() -> Judged:
            from napari_ifkd.runs.answers import take_answers
            from napari_ifkd.runs.points import opened_evidence

            with opened_evidence(run, slide.path) as evidence:
                take_answers(evidence.folder, evidence.slides, run / TABLE)
                return _judged_by(evidence)

        self._begin(_Task(_Of(slide, run, self._rounds()), work, True, done))

    def recall(self) -> None:
        """Judge by what was answered before; while the run itself is at work that waits for its end."""
        session = self._session
        slide, run, job = session.slide, session.run, session.job
        of = _Of(slide, run, self._rounds())
        grows = job is not None and job.alive and job.out == run
        if grows != self.grows:
            self.grows = grows
            self.changed.emit()
        if of[:2] != self._of[:2] or (grows and of.rounds not in ((), self._of.rounds)):  # another is looked at, or it has more rounds
            self._of = _Of(slide, run)
            waits = grows and run is not None and RunFolder(run).points.is_file()
            if self.found is not None or waits != self.waits:
                self.found, self.waits = None, waits
                self.changed.emit()
        if of == self._of or grows or slide is None or run is None or not of.rounds:
            return
        self._of, self.waits = of, False
        table, name = RunFolder(run).points, slide.name
        if not table.is_file():
            return

        def work() -> Judged:
            from napari_ifkd.runs.points import opened_evidence

            with opened_evidence(run, slide.path) as evidence:
                return _judged_by(evidence)

        def looked(answered: bool) -> None:
            if answered and of == self._of:
                self._begin(_Task(of, work, False, lambda: None))

        in_thread(lambda: any(point.slide == name for point in read_points(table)), looked, lambda _: None)

    def _begin(self, task: _Task) -> None:
        self._tasks.append(task)
        self._of, self.found, self.waits = task.of, None, False
        self.changed.emit()
        if len(self._tasks) == 1:
            self._work()

    def _work(self) -> None:
        task = self._tasks[0]
        in_thread(task.work, partial(self._judged, task), partial(self._failed, task))

    def _judged(self, task: _Task, found: Judged) -> None:
        if task.of == self._of:
            self.found = found
        task.done()
        self._go_on()

    def _failed(self, task: _Task, error: Exception) -> None:
        if task.asked:
            say_error(error, "Review")
            if task.of == self._of:
                self._of = _Of(*task.of[:2])  # what was answered before holds
        self._go_on()

    def _go_on(self) -> None:
        """Begin what waits, but for what nobody looks at any more and nobody asked for."""
        here = self._session.slide, self._session.run
        self._tasks = [task for task in self._tasks[1:] if task.asked or task.of[:2] == here]
        if self._tasks:
            self._work()
        self.changed.emit()
        self.recall()

    def _rounds(self) -> tuple[int, ...]:
        return tuple(c.round for c in self._session.here() if c.act == "distill" and c.run == self._session.run)

    # --- what it says

    @property
    def under_way(self) -> bool:
        """Whether it is not known yet what the points of the run say on the slide."""
        return any(task.of[:2] == (self._session.slide, self._session.run) for task in self._tasks)

    @property
    def judgement(self) -> Judgement | None:
        """The figures of the rounds, None where nothing can judge."""
        return None if self.found is None else self.found.judgement

    @property
    def advised(self) -> RoundFigures | None:
        """The round that the points advise, None where they advise none."""
        return self.judgement.chosen if self.judgement is not None and self.judgement.decides else None

    @property
    def advises(self) -> bool:
        """Whether there is advice that was neither accepted nor overruled."""
        return self.advised is not None and not self.is_accepted and not self._is_overruled

    @property
    def is_accepted(self) -> bool:
        """Whether what the points advise is what is accepted."""
        advised, accepted, found = self.advised, self._session.accepted, self.found
        if advised is None or accepted is None or found is None:
            return False
        return accepted.is_mask(advised.round, advised.threshold.value, found.sigma_px)

    @property
    def outranked(self) -> bool:
        """Whether evidence has chosen that stands above points."""
        accepted = self._session.accepted
        return accepted is not None and accepted.by in TOLD_BY and stands_above(accepted.by, "points")

    @property
    def _is_overruled(self) -> bool:
        """Whether somebody accepted something of their own since the last answer, or better evidence has chosen."""
        accepted, answered = self._session.accepted, 0.0 if self.found is None else self.found.answered
        by_user = accepted is not None and accepted.by == "user" and datetime.fromisoformat(accepted.time).timestamp() >= int(answered)
        return by_user or self.outranked

    def is_advised(self, round: int, threshold: float, sigma_px: float) -> bool:
        """Return whether the points advise the mask of a round of the run, at a threshold and smoothing."""
        advised, found = self.advised, self.found
        if advised is None or found is None:
            return False
        return (round, threshold) == (advised.round, advised.threshold.value) and same_smoothing(found.sigma_px, sigma_px)

    def advice(self) -> str:
        """Return in words what the points advise, and was neither accepted nor overruled, "" where there is no such advice."""
        advised = self.advised
        return f"Points recommend {name_of(advised.round)} at {advised.threshold.value:.3g}" if self.advises and advised is not None else ""


def _judged_by(evidence: PointEvidence) -> Judged:
    """Judge the rounds of a run by its points."""
    judgement, path = evidence.judgement(), evidence.folder.points
    answered = path.stat().st_mtime if path.is_file() else 0.0
    names, points = {slide.name for slide in evidence.slides}, read_points(path) if path.is_file() else []
    return Judged(
        judgement,
        list(evidence.notes),
        answered,
        evidence.config.inference.sigma_px,
        bool(evidence.folder.asked.get("reference")),
        len({(point.slide, point.x, point.y) for point in points if point.slide in names}),
    )
