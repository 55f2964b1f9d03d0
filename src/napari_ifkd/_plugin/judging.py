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
    places : that were answered, (x, y) in level-0 px
    """

    judgement: Judgement | None
    notes: list[str]
    answered: float
    sigma_px: float
    by_masks: bool
    places: frozenset[tuple[float, float]]


class Of(NamedTuple):
    """What is judged: a slide, a run, and those of its rounds that are looked at there."""

    slide: Slide | None = None
    run: Path | None = None
    rounds: tuple[int, ...] = ()


class _Task(NamedTuple):
    of: Of
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

    changed = Signal()  # what is found, or whether it is known

    def __init__(self, session: Session) -> None:
        self._session = session
        self.answers = AnswerWriter()
        self.found: Judged | None = None
        self.grows = self.waits = False
        self._asked: Of | None = None  # whether there are answers
        self._of = Of()  # `found` is of, even where that is None
        self._tasks: list[_Task] = []  # the first is under way
        for name in ("slide", "run", "candidates", "job"):
            session.events[name].connect(self.recall, max_args=0)

    def here(self) -> Of:
        """Return what is looked at now."""
        session = self._session
        rounds = tuple(c.round for c in session.here() if c.act == "distill" and c.run == session.run)
        return Of(session.slide, session.run, rounds)

    def judge(self, of: Of, done: Callable[[], object]) -> None:
        """Take the answers of a count, as they are written, into a run, and judge by them; an error is told to the user.

        Parameters
        ----------
        of : what was counted on
        done : called once the answers are the run's
        """
        slide, run = of.slide, of.run
        assert slide is not None  # else nothing was counted
        assert run is not None

        def work() -> Judged:
            from napari_ifkd.runs.answers import take_answers
            from napari_ifkd.runs.points import opened_evidence

            with opened_evidence(run, slide.path) as evidence:
                take_answers(evidence.folder, evidence.slides, run / TABLE)
                return _judged_by(evidence)

        self._begin(_Task(of, work, True, done))

    def recall(self) -> None:
        """Judge by what was answered before; while the run itself is at work that waits for its end."""
        of, job = self.here(), self._session.job
        slide, run = of.slide, of.run
        grows = job is not None and job.alive and job.out == run
        more = grows and bool(of.rounds) and of not in (self._of, self._asked)
        stale = of[:2] != self._of[:2] or more  # another is looked at, or it has more rounds
        if stale:
            self._of, self._asked = Of(slide, run), None
        self._set(None if stale else self.found, grows=grows, waits=self.waits and grows and not stale)
        if of in (self._of, self._asked if grows else None) or slide is None or run is None or not of.rounds:
            return
        self._asked = of
        if not grows:
            self._of = of
        table, name = RunFolder(run).points, slide.name
        in_thread(
            lambda: table.is_file() and any(point.slide == name for point in read_points(table)),
            partial(self._looked, of, slide, run),
            lambda _: None,  # whoever counts is told
        )

    def _looked(self, of: Of, slide: Slide, run: Path, answered: bool) -> None:
        """Judge, now that it is known that there are answers; or say that they wait."""
        if not answered or of[:2] != self.here()[:2]:
            return
        if self.grows:
            self._set(self.found, grows=True, waits=self.found is None)
        elif of == self._of and all(task.of != of for task in self._tasks):

            def work() -> Judged:
                from napari_ifkd.runs.points import opened_evidence

                with opened_evidence(run, slide.path) as evidence:
                    return _judged_by(evidence)

            self._begin(_Task(of, work, False, lambda: None))

    def _set(self, found: Judged | None, *, grows: bool, waits: bool) -> None:
        before = self.found, self.grows, self.waits
        self.found, self.grows, self.waits = found, grows, waits
        if (found, grows, waits) != before:
            self.changed.emit()

    def _begin(self, task: _Task) -> None:
        self._tasks.append(task)
        if task.of[:2] == self.here()[:2]:  # else somebody looks at another by now
            self._of, self.found, self.waits = task.of, None, False
        self.changed.emit()
        if len(self._tasks) == 1:
            self._work()

    def _work(self) -> None:
        task = self._tasks[0]
        in_thread(task.work, partial(self._judged, task), partial(self._failed, task))

    def _judged(self, task: _Task, found: Judged) -> None:
        if task.of == self._of and task.of[:2] == self.here()[:2]:
            self.found = found
        task.done()
        self._go_on()

    def _failed(self, task: _Task, error: Exception) -> None:
        if task.asked:
            say_error(error, "Review")
            if task.of == self._of:
                self._of = Of(*task.of[:2])  # what was answered before holds
        self._go_on()

    def _go_on(self) -> None:
        """Begin what waits, but for what nobody looks at any more and nobody asked for."""
        here = self.here()[:2]
        self._tasks = [task for task in self._tasks[1:] if task.asked or task.of[:2] == here]
        if self._tasks:
            self._work()
        self.changed.emit()
        self.recall()

    # --- what it says

    @property
    def under_way(self) -> bool:
        """Whether it is not known yet what the points of the run say on the slide."""
        return any(task.of[:2] == self.here()[:2] for task in self._tasks)

    @property
    def takes(self) -> bool:
        """Whether answers of the run are still to be taken into it, on whichever of its slides they were given."""
        return any(task.of.run == self._session.run and task.asked for task in self._tasks)

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
        """Whether there is advice that was neither accepted nor overruled, and no more rounds are to come."""
        return self.advised is not None and not self.grows and not self.is_accepted and not self._is_overruled

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
        frozenset((point.x, point.y) for point in points if point.slide in names),
    )
