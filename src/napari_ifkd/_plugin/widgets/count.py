"""The point count: thirty places, one key each, and then which round to accept and how good it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from psygnal import Signal
from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.look import go_to
from napari_ifkd._plugin.side_by_side import divided_by
from napari_ifkd._plugin.words import acceptance, accepted_mask
from napari_ifkd.annotations.points import read_points, write_points
from napari_ifkd.runs.accepted import same_smoothing
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import TOLD_BY, stands_above

from .page import Page
from .parts import button, emphasise, keep_room, row, shortcut, text
from .points_card import is_loose, points_card

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_ifkd.annotations.points import Answer, Point
    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.runs.judgement import Judgement, RoundFigures
    from napari_ifkd.runs.points import PointEvidence
    from napari_ifkd.slides import Slide

    from .dock import Dock

COUNT = 30
ACROSS_UM = 250.0
TABLE = "points-asked.csv"
ANSWERS: dict[Answer, tuple[str, str]] = {"tumour": ("Tumour", "T"), "normal": ("Not tumour", "N"), "unsure": ("Unsure", "U")}
_KIND = "counting"
_RING, _RING_PX = 0.08, 34  # width of the ring's line, of its size; and its size on the screen


class _Found(NamedTuple):
    """What the answers say of a run; `notes` to know of it, when the last of them was `answered`, and the smoothing of its masks."""

    judgement: Judgement | None
    notes: list[str]
    answered: float
    sigma_px: float


class CountPage(Page):
    """Ask about places, one after the other; judge the rounds by the answers.

    Parameters
    ----------
    dock : it is part of

    Attributes
    ----------
    points, at : the places asked about, none while nothing is counted, and which of them is next
    advises : whether there is advice that was neither accepted nor overruled; `told` says that it may have changed
    """

    told = Signal()

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self.points: list[Point] = []
        self.advises = False
        self.at, self._busy, self._writing, self._unwritten = 0, False, False, False
        self._slide: Slide | None = None
        self._run: Path | None = None
        self._recalled: tuple[Slide | None, Path | None] = (None, None)
        self._found: _Found | None = None
        self._judging: tuple[Slide | None, Path | None] | None = None  # whose answers are looked at
        self._left: tuple[Slide, tuple[float, ...], float] | None = None  # where the camera was before
        self._begun = 0  # places answered of a count that was left
        self.what = text("What the count is for")
        self.start = button(
            f"Count {COUNT} points",
            f"Go through {COUNT} places that tell most, a key each; answers are kept at once",
            self._start,
            main=True,
        )
        self.answers = {
            answer: button(
                f"{title} ({key})", f"Answer: {title.lower()} in the middle of the ring. Key {key}", partial(self._answer, answer)
            )
            for answer, (title, key) in ANSWERS.items()
        }
        self.back = button("Back (B)", "Return to the place before. Key B", self._back)
        self.finish = button("Finish now", "Judge by the answers so far", self._finish)
        self.bar = QProgressBar()
        self.bar.setToolTip("Places answered")
        self.bar.setFormat("%v of %m answered")
        self.card = text("What the answers say of each round, with 95 % intervals")
        self.accept = button("Accept the advice", "Write down the round and threshold that the points recommend", self._accept, main=True)
        self.asking = QWidget()
        inside = QVBoxLayout(self.asking)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(row(*self.answers.values()))
        inside.addWidget(row(self.back, self.finish))
        inside.addWidget(self.bar)
        self.fill(self.what, self.start, self.asking, self.accept, self.card)
        acts: dict[str, Callable[[], object]] = {key: partial(self._answer, answer) for answer, (_, key) in ANSWERS.items()}
        self.keys = {key: shortcut(self.asking, key, act) for key, act in {**acts, "B": self._back, "Backspace": self._back}.items()}
        dock.listen("slide", "run", "shown", "accepted", "sigma_px", to=self._show)
        dock.hear(dock.bench.verdicts.settled_down, self._show)
        dock.listen("slide", "run", "job", to=self.recall)

    def showEvent(self, event: Any) -> None:
        """Hide what predictions say, while places are asked about."""
        super().showEvent(event)
        if self.points:
            self._dock.bench.layers.hide_predictions(True)
        self.recall()

    def hideEvent(self, event: Any) -> None:
        """Show them to who looks at something else meanwhile."""
        super().hideEvent(event)
        if self.points:
            self._dock.bench.layers.hide_predictions(False)

    # --- asking

    def _start(self) -> None:
        slide, run = self._session.slide, self._session.run
        if slide is None or run is None:
            return

        def work() -> list[Point]:
            from napari_ifkd.runs.answers import ask, take_answers
            from napari_ifkd.runs.points import opened_evidence

            table = run / TABLE
            if there := _unfinished(table, slide.name):
                return there
            with opened_evidence(run, slide.path) as evidence:
                if table.is_file() and read_points(table):
                    take_answers(evidence.folder, evidence.slides, table)
                asked = evidence.proposals(COUNT)
                ask(evidence.folder, asked, table)
                return asked

        self._busy, self._slide, self._run, self._found = True, slide, run, None
        camera = self._viewer.scene.camera
        self._left = slide, tuple(camera.center), float(camera.zoom) * divided_by(self._viewer)
        self.card.setText("Reading the maps and choosing places …")
        self._show()
        self._dock.in_thread(work, self._asked, self._failed)

    def _asked(self, points: list[Point]) -> None:
        self._busy, self.points = False, points
        if not points:
            self.card.setText("There is no tissue on which all rounds looked.")
            self._left = None
        else:
            self.card.setText("")
        self.at = self._next_place()
        self._next()

    def _next_place(self) -> int:
        return _first_open(self.points)

    def _next(self) -> None:
        """Go to the place that is asked about; at the end, judge."""
        self._show()
        if self.points and self.isVisible():
            self._dock.bench.layers.hide_predictions(True)
        if self.points and self.at >= len(self.points):
            self._finish()
            return
        if not self.points or self._slide is None:
            return
        point, mpp = self.points[self.at], self._slide.mpp or 1.0
        go_to(self._slide, self._viewer, point.x, point.y, ACROSS_UM)
        place = ((point.y - 0.5) * mpp, (point.x - 0.5) * mpp)
        ring = next(iter(self._dock.bench.layers.ours(_KIND)), None)
        if ring is None:
            image = self._dock.bench.layers.find("slide", self._slide.path)
            active = self._viewer.layers.selection.active
            ring = self._viewer.add_points(
                [place],
                name="Place asked about",
                symbol="disc",
                face_color="transparent",
                border_color="black",
                size=ACROSS_UM,  # so that the upper limit holds, and the ring is as large and thin at every zoom
                border_width=_RING,
                canvas_size_limits=(2, _RING_PX),
                metadata={made.KEY: {"kind": _KIND, "path": str(self._slide.path)}},
                units=None if image is None else image.units,
            )
            self._viewer.layers.selection.active = active
        else:
            ring.data = [place]

    def _answer(self, answer: Answer) -> None:
        if self._busy or self.at >= len(self.points) or self._run is None:
            return
        self.points[self.at] = replace(self.points[self.at], answer=answer)
        self.at = self._next_place()  # who went back to mend one goes on where it was
        self._keep()
        self._next()

    def _back(self) -> None:
        if not self._busy and self.points and self.at > 0:
            self.at -= 1
            self._next()

    def _keep(self) -> None:
        """Write the answers down in a thread, one write after the other: not one is lost if anything ends."""
        if self._writing:
            self._unwritten = True
            return
        run, points = self._run, list(self.points)
        assert run is not None  # there are points
        self._writing, self._unwritten = True, False

        def written(_: object) -> None:
            self._writing = False
            if self._unwritten and self.points:
                self._keep()

        def failed(error: Exception) -> None:
            self._writing = False
            self._failed(error)

        self._dock.in_thread(lambda: write_points(run / TABLE, points), written, failed)

    # --- judging

    def _finish(self) -> None:
        slide, run, points = self._slide, self._run, list(self.points)
        if slide is None or run is None or not any(point.answer for point in points):
            self._stop()
            return

        def work() -> _Found:
            from napari_ifkd.runs.answers import take_answers
            from napari_ifkd.runs.points import opened_evidence

            with opened_evidence(run, slide.path) as evidence:
                write_points(run / TABLE, points)
                take_answers(evidence.folder, evidence.slides, run / TABLE)
                return _judged_by(evidence)

        def judged(found: _Found) -> None:
            self._judged(found)
            self._dock.bench.judged.emit()

        self._stop()
        self._judge(work, judged)

    def recall(self) -> None:
        """Show again what was answered of this run before, once it has ended: its maps are read for it."""
        session = self._session
        slide, run, job = session.slide, session.run, session.job
        here = slide, run
        if here == self._recalled or self._busy or self.points or (job is not None and job.alive):
            return
        self._recalled, self._begun = here, 0
        if slide is not None and run is not None:
            table, name = run / TABLE, slide.name

            def begun(answered: int) -> None:
                if here == (session.slide, session.run) and not self.points:
                    self._begun = answered
                    self._show()

            self._dock.in_thread(lambda: _first_open(_unfinished(table, name)), begun, lambda _: None)
        if slide is None or run is None or not RunFolder(run).points.is_file():
            return

        def work() -> _Found | None:
            from napari_ifkd.runs.points import opened_evidence

            if not any(point.slide == slide.name for point in read_points(RunFolder(run).points)):
                return None
            with opened_evidence(run, slide.path) as evidence:
                return _judged_by(evidence)

        def recalled(found: object) -> None:  # an error too: nobody asked
            if isinstance(found, _Found) and here == (session.slide, session.run):
                self._judged(found)
            else:
                self._busy, self._judging = False, None
                self.card.setText("")
                self._show()
            self.recall()  # another may be looked at by now

        self._slide, self._run = here
        self._judge(work, recalled, recalled)

    def _judge(self, work: Callable[[], Any], judged: Callable[[Any], None], failed: Callable[[Exception], None] | None = None) -> None:
        self._busy, self._judging = True, (self._slide, self._run)
        self.card.setText("Judging the rounds by the answers …")
        self._show()
        self._dock.in_thread(work, judged, failed or self._failed)

    def leave(self) -> None:
        """End the count; what was answered is kept, and the next count goes on where it was."""
        if self.points:
            self._stop()

    def _stop(self) -> None:
        if self.points:
            self._dock.bench.layers.hide_predictions(False)
        begun = self._next_place()
        self._begun = begun if begun < len(self.points) else 0
        if self._left is not None:  # back to where it began
            slide, centre, zoom = self._left
            if self._session.slide is slide:
                self._viewer.scene.camera.center, self._viewer.scene.camera.zoom = centre, zoom / divided_by(self._viewer)
            else:  # once somebody turns to it again
                self._dock.bench.memory.notes.recentre(slide, centre, zoom)
        self.points, self.at, self._left = [], 0, None
        for layer in list(self._dock.bench.layers.ours(_KIND)):
            self._viewer.layers.remove(layer)
        self._show()

    def _judged(self, found: _Found) -> None:
        self._busy, self._judging, self._found = False, None, found
        self._show()

    def _card(self, found: _Found) -> str:
        """Return the card of what the answers say, with what to know of it now."""
        shown, accepted, notes = self._session.shown, self._accepted, found.notes
        if self._outranked and accepted is not None:
            chosen = accepted_mask(accepted, self._session.sigma_px)
            notes = [*notes, f"{TOLD_BY[accepted.by].capitalize()} have chosen {chosen}, and stand above points."]
        if shown is not None and self._dock.bench.verdicts.rejected(shown):  # what is accepted leaves them out
            notes = [*notes, "Lesions were rejected: what is told here is of the masks with them."]
        same = same_smoothing(found.sigma_px, self._session.sigma_px)
        return points_card(found.judgement, self._pair(), notes, None if same else found.sigma_px)

    def _pair(self) -> tuple[int, ...]:
        """Return the rounds of A and B."""
        return tuple(dict.fromkeys(c.round for c in (self._session.a, self._session.b) if c is not None and c.act == "distill"))

    def _accept(self) -> None:
        found, judgement, session = self._found, self._judgement, self._session
        if found is None or judgement is None:
            return
        chosen = next((c for c in session.here() if c.act == "distill" and c.round == judgement.chosen.round), None)
        if chosen is not None:
            session.look(threshold=judgement.chosen.threshold.value, sigma_px=found.sigma_px)
            session.show(chosen)
            session.accept(chosen, judgement.by, judgement.reason)

    def _failed(self, error: Exception) -> None:
        self._busy, self._judging = False, None
        self.card.setText("")
        self._stop()
        self._dock.say_error(error)

    # --- showing

    def _show(self) -> None:
        session = self._session
        if self._slide is not None and (session.slide, session.run) != (self._slide, self._run) and not self._busy:
            self._slide = self._run = self._found = None
            self._recalled = None, None
            self.card.setText("")
            self._stop()
            return
        counting = bool(self.points) and self.at < len(self.points)
        keep_room(self.what, [])
        ready = any(c.act == "distill" and c.run == session.run for c in session.here())  # and not on another slide alone
        self.start.setVisible(not counting)
        more = f"Count {COUNT} points" if self._judgement is None else "Count more points"
        self.start.setText(f"Go on counting at place {self._begun + 1}" if self._begun else more)
        self.start.setEnabled(ready and not self._busy)
        self.asking.setVisible(counting)
        self.back.setEnabled(self.at > 0)
        self.bar.setRange(0, max(1, len(self.points)))
        self.bar.setValue(sum(bool(point.answer) for point in self.points))
        advised = self.advised
        self.accept.setVisible(advised is not None)
        accepted = self.advice_is_accepted
        self.advises = advised is not None and not accepted and not self._is_overruled()
        unsure = self.advises and advised is not None and is_loose(advised)  # then more points come before any advice
        emphasise(self.start, advised is None or unsure)
        emphasise(self.accept, self.advises and not unsure)
        self.told.emit()
        if advised is not None:
            self.accept.setEnabled(not accepted)
            self.accept.setText(
                "The advice is accepted" if accepted else acceptance(advised.round, advised.threshold.value, "the advice: ")
            )
        if self._found is not None and not self._busy and not self.points:
            self.card.setText(self._card(self._found))
        if counting:
            asked = "Is the middle of the ring <b>tumour</b>? Predictions are hidden on this page.<br>"
            keep_room(self.what, [f"{asked}Place 30, you said: <b>not tumour</b>. An answer here leads on to place 30."])  # buttons stay
            self.what.setText(f"{asked}{self._said()}")
        elif ready and self._judgement is not None:
            self.what.setText("What the points say so far; more of them make the intervals narrower.")
        elif ready and self._outranked:
            self.what.setText(f"{COUNT} places, a key each: how good are the masks? {TOLD_BY['reference'].capitalize()} chose the round.")
        elif ready:
            self.what.setText(f"{COUNT} places, a key each: a minute says which round to accept, and how good it is.")
        else:
            self.what.setText("Distil first: points judge the rounds of a run.")

    @property
    def _judgement(self) -> Judgement | None:
        return None if self._found is None else self._found.judgement

    @property
    def _accepted(self) -> Accepted | None:
        """What is accepted of the run that was judged, or is looked at."""
        return self._session.accepted if self._run in (None, self._session.run) else None

    @property
    def _outranked(self) -> bool:
        """Whether evidence has chosen that stands above points."""
        accepted = self._accepted
        return accepted is not None and accepted.by in TOLD_BY and stands_above(accepted.by, "points")

    @property
    def advised(self) -> RoundFigures | None:
        """The round that the points advise, None where they advise none."""
        return self._judgement.chosen if self._judgement is not None and self._judgement.decides else None

    @property
    def judged(self) -> Path | None:
        """The run of which it is known what its points say; None where nothing is."""
        return None if self._judgement is None else self._run

    @property
    def judging(self) -> bool:
        """Whether it is not known yet what the points of the run say."""
        return self._judging is not None and self._judging == (self._session.slide, self._session.run)

    @property
    def advice_is_accepted(self) -> bool:
        """Whether what the points advise is what is accepted."""
        advised, accepted, found = self.advised, self._accepted, self._found
        if advised is None or accepted is None or found is None:
            return False
        return accepted.is_mask(advised.round, advised.threshold.value, found.sigma_px)

    def is_advised(self, round: int, threshold: float, sigma_px: float) -> bool:
        """Return whether the points advise the mask of a round, at a threshold and smoothing."""
        advised, found = self.advised, self._found
        if advised is None or found is None:
            return False
        return (round, threshold) == (advised.round, advised.threshold.value) and same_smoothing(found.sigma_px, sigma_px)

    def _is_overruled(self) -> bool:
        """Return whether somebody accepted something of their own since the last answer, or better evidence has chosen."""
        accepted, answered = self._accepted, 0.0 if self._found is None else self._found.answered
        by_user = accepted is not None and accepted.by == "user" and datetime.fromisoformat(accepted.time).timestamp() >= int(answered)
        return by_user or self._outranked

    def _said(self) -> str:
        """Tell which place it is and the answer there, where one was given before; else that at the place before."""
        at, here = self.at + 1, self.points[self.at].answer
        if here:
            return f"Place {at}, you said: <b>{ANSWERS[here][0].lower()}</b>. An answer here leads on to place {self._next_place() + 1}."
        before = self.points[self.at - 1].answer if self.at else ""
        return f"Place {at}." + (f" At place {at - 1} you said: {ANSWERS[before][0].lower()}." if before else "")


def _judged_by(evidence: PointEvidence) -> _Found:
    """Judge the rounds of a run by its points."""
    judgement, path = evidence.judgement(), evidence.folder.points
    answered = path.stat().st_mtime if path.is_file() else 0.0
    return _Found(judgement, list(evidence.notes), answered, evidence.config.inference.sigma_px)


def _first_open(points: Sequence[Point]) -> int:
    """Return the first place without an answer, their number where there is none; a table may have been filled in by hand."""
    return next((index for index, point in enumerate(points) if not point.answer), len(points))


def _unfinished(table: Path, slide: str) -> list[Point]:
    """Return the places of a count on a slide that was left and goes on, none if there is no such count."""
    asked = read_points(table, unanswered=True) if table.is_file() else []
    left = {point.slide for point in asked} == {slide} and any(not point.answer for point in asked)
    return asked if left else []
