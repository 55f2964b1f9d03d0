"""What the points of the run that is looked at say of its rounds on the active slide."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from psygnal import Signal

from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.runs.accepted import same_smoothing
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import TOLD_BY, name_of, stands_above

from .worker import in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_ifkd.annotations.points import Point
    from napari_ifkd.runs.judgement import Judgement, RoundFigures
    from napari_ifkd.runs.points import PointEvidence
    from napari_ifkd.session import Session
    from napari_ifkd.slides import Slide

TABLE = "points-asked.csv"
"""Of a run: the places that were asked about, and what was answered."""


class Judged(NamedTuple):
    """What the answers say of a run; `notes` to know of it, when the last of them was `answered`, and the smoothing of its masks."""

    judgement: Judgement | None
    notes: list[str]
    answered: float
    sigma_px: float


class _Of(NamedTuple):
    slide: Slide | None = None
    run: Path | None = None
    rounds: tuple[int, ...] = ()


class Judging:
    """Judge the rounds by points, in a thread: as soon as they are answered, and again where such a run is opened or gets rounds.

    Parameters
    ----------
    session : knows the slide, the run and what is accepted

    Attributes
    ----------
    found : None where no points were answered, or it is not known yet what they say
    """

    changed = Signal()  # what is found, or whether it is known

    def __init__(self, session: Session) -> None:
        self._session = session
        self.found: Judged | None = None
        self._of = _Of()  # `found` is of, even where that is None
        self._under_way: _Of | None = None
        for name in ("slide", "run", "candidates", "job"):
            session.events[name].connect(self.recall, max_args=0)

    def judge(self, slide: Slide, run: Path, points: Sequence[Point], done: Callable[[], object]) -> None:
        """Take the answers of a count into a run, and judge by them; an error is told to the user.

        Parameters
        ----------
        slide, run : that were counted on
        points : of the count, answered or not
        done : called once they are kept
        """

        def work() -> Judged:
            from napari_ifkd.runs.answers import take_answers
            from napari_ifkd.runs.points import opened_evidence

            with opened_evidence(run, slide.path) as evidence:
                write_points(run / TABLE, points)
                take_answers(evidence.folder, evidence.slides, run / TABLE)
                return _judged_by(evidence)

        def judged(of: _Of, found: Judged) -> None:
            self._take(of, found)
            done()

        def failed(of: _Of, error: Exception) -> None:
            self._take(of, None)
            say_error(error, "Review")

        self._begin(_Of(slide, run, self._rounds()), work, judged, failed)

    def recall(self) -> None:
        """Judge by what was answered before, once the run has ended: its maps are read for it."""
        session = self._session
        slide, run, job = session.slide, session.run, session.job
        of = _Of(slide, run, self._rounds())
        at_work = job is not None and job.alive
        if of[:2] != self._of[:2] or (at_work and job is not None and job.out == run):  # more rounds come than it is of
            self._of = _Of()
            if self.found is not None:
                self.found = None
                self.changed.emit()
        if of == self._of or self._under_way is not None or at_work:
            return
        self._of = of
        if slide is None or run is None or not RunFolder(run).points.is_file():
            return
        path, name = run, slide

        def work() -> Judged | None:
            from napari_ifkd.runs.points import opened_evidence

            if not any(point.slide == name.name for point in read_points(RunFolder(path).points)):
                return None
            with opened_evidence(path, name.path) as evidence:
                return _judged_by(evidence)

        self._begin(of, work, self._take, lambda of, _: self._take(of, None))  # an error is not told: nobody asked

    def _begin(
        self, of: _Of, work: Callable[[], object], done: Callable[[_Of, Judged], None], failed: Callable[[_Of, Exception], None]
    ) -> None:
        self._under_way, self._of, self.found = of, of, None
        self.changed.emit()
        in_thread(work, partial(done, of), partial(failed, of))

    def _take(self, of: _Of, found: Judged | None) -> None:
        self._under_way = None
        if of[:2] == (self._session.slide, self._session.run):
            self.found = found
        self.changed.emit()
        self.recall()  # another may be looked at by now, or there are more rounds

    def _rounds(self) -> tuple[int, ...]:
        return tuple(c.round for c in self._session.here() if c.act == "distill" and c.run == self._session.run)

    # --- what it says

    @property
    def under_way(self) -> bool:
        """Whether it is not known yet what the points of the run say on the slide."""
        return self._under_way is not None and self._under_way[:2] == (self._session.slide, self._session.run)

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
        """Return whether the points advise the mask of a round, at a threshold and smoothing."""
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
    return Judged(judgement, list(evidence.notes), answered, evidence.config.inference.sigma_px)
