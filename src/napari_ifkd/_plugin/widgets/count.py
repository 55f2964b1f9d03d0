"""The point count: thirty places, one key each, and then which round to accept and how good it is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_ifkd._plugin import layers as made
from napari_ifkd._plugin.judging import TABLE
from napari_ifkd._plugin.look import go_to
from napari_ifkd._plugin.side_by_side import divided_by
from napari_ifkd._plugin.words import acceptance, accepted_mask
from napari_ifkd.annotations.points import read_points
from napari_ifkd.runs.accepted import same_smoothing
from napari_ifkd.runs.judgement import TOLD_BY

from .page import Page
from .parts import button, emphasise, keep_room, row, shortcut, text
from .points_card import is_loose, points_card

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_ifkd._plugin.judging import Judged
    from napari_ifkd.annotations.points import Answer, Point
    from napari_ifkd.slides import Slide

    from .dock import Dock

COUNT = 30
ACROSS_UM = 250.0
ANSWERS: dict[Answer, tuple[str, str]] = {"tumour": ("Tumour", "T"), "normal": ("Not tumour", "N"), "unsure": ("Unsure", "U")}
_KIND = "counting"
_RING, _RING_PX = 0.08, 34  # width of the ring's line, of its size; and its size on the screen


class CountPage(Page):
    """Ask about places, one after the other, and tell what the answers say.

    Parameters
    ----------
    dock : it is part of

    Attributes
    ----------
    points, at : the places asked about, none while nothing is counted, and which of them is next
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self._judging = dock.bench.judging
        self.points: list[Point] = []
        self.at = 0
        self._choosing: tuple[Slide, Path] | None = None  # what places are chosen on
        self._slide: Slide | None = None  # that is counted on
        self._run: Path | None = None
        self._lacking = ""  # why nothing could be asked
        self._left: tuple[Slide, tuple[float, ...], float] | None = None  # where the camera was before
        self._answered: int | None = None  # the place answered last, unless one went back since
        self._begun = 0  # places answered of a count that was left
        self._late = False  # whether it is still to be looked for such a count
        self._ended: tuple[Slide, Path, list[Point]] | None = None  # the last count that came to its end
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
        self.mend = button("Back to the last place (B)", "Mend the last answer; what it says is judged anew. Key B", self._back)
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
        self.fill(self.what, self.start, self.asking, self.accept, self.card, self.mend)
        self.keys = {key: shortcut(self.asking, key, partial(self._answer, answer)) for answer, (_, key) in ANSWERS.items()}
        self.keys |= {key: shortcut(self, key, self._back) for key in ("B", "Backspace")}
        dock.listen("slide", "run", "shown", "accepted", "sigma_px", "given", to=self._show)
        dock.hear(dock.bench.verdicts.settled_down, self._show)
        dock.hear(self._judging.changed, self._show)
        dock.hear(self._judging.answers.rested, self._hear)  # no other dock is to show all anew at each answer
        dock.listen("slide", "run", to=self._look_for_begun)

    def showEvent(self, event: Any) -> None:
        """Hide what predictions say, while places are asked about."""
        super().showEvent(event)
        if self.points:
            self._show_ring(True)
            self._next()

    def hideEvent(self, event: Any) -> None:
        """Show them to who looks at something else meanwhile."""
        super().hideEvent(event)
        if self.points:
            self._dock.bench.layers.hide_predictions(False)
            self._show_ring(False)  # who sees what is predicted there would not answer freely

    def _show_ring(self, seen: bool) -> None:
        for ring in self._dock.bench.layers.ours(_KIND):
            ring.visible = seen

    # --- asking

    def _start(self) -> None:
        slide, run = self._session.slide, self._session.run
        if slide is None or run is None:
            return

        slides = self._session.slides

        def work() -> list[Point]:
            from napari_ifkd.runs.answers import ask, take_answers
            from napari_ifkd.runs.points import opened_evidence

            table = run / TABLE
            if unfinished := _unfinished(table, slide.name):
                return unfinished
            with opened_evidence(run, slide.path) as evidence:
                named = {point.slide for point in read_points(table)} if table.is_file() else set()
                if there := [one for one in slides if one.name in named]:  # a count on another slide may have been left
                    take_answers(evidence.folder, there, table)
                asked = evidence.proposals(COUNT)
                ask(evidence.folder, asked, table)
                return asked

        of = self._choosing = slide, run
        self._lacking = ""
        self._show()
        self._dock.in_thread(work, partial(self._asked, of), partial(self._failed, of))

    def _asked(self, of: tuple[Slide, Path], points: list[Point]) -> None:
        if of != self._choosing or self.points:
            return
        self._choosing = None
        if of != (self._session.slide, self._session.run):  # nobody waits for them any more
            self._show()
            return
        if points:
            self._go_through(*of, points)
            self.at = self._next_place()
        else:
            self._lacking = "There is no tissue on which all rounds looked."
        self._next()

    def _go_through(self, slide: Slide, run: Path, points: list[Point]) -> None:
        camera = self._viewer.scene.camera
        self._left = slide, tuple(camera.center), float(camera.zoom) * divided_by(self._viewer)
        self._slide, self._run, self.points, self._ended = slide, run, points, None

    def _next_place(self) -> int:
        return _first_open(self.points)

    def _next(self) -> None:
        """Go to the place that is asked about; at the end, judge."""
        self._show()
        if self.points and self.at >= len(self.points):
            self._finish()
            return
        if not self.points or self._slide is None or not self.isVisible():  # once somebody looks at the page
            return
        self._dock.bench.layers.hide_predictions(True)
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
        if self.at >= len(self.points) or self._run is None:
            return
        self.points[self.at] = replace(self.points[self.at], answer=answer)
        self._answered = self.at
        self.at = self._next_place()  # who went back to mend one goes on where it was
        self._judging.answers.write(self._run / TABLE, self.points)
        self._next()

    def _back(self) -> None:
        if not self.points and self._may_mend and self._ended is not None:  # the last answer ended the count
            self._go_through(*self._ended)
            self.at = len(self.points)
        if self.points and self.at > 0:
            self.at, self._answered = self.at - 1, None
            self._next()

    @property
    def _may_mend(self) -> bool:
        """Whether the last count on the slide came to its end, and was judged."""
        ended = None if self._ended is None else self._ended[:2]
        free = self._choosing is None and self._judging.found is not None and self._judging.answers.idle
        return free and ended == (self._session.slide, self._session.run)

    def _finish(self) -> None:
        """End the count, and judge once all is written."""
        slide, run, points, judging = self._slide, self._run, list(self.points), self._judging
        of = judging.here()
        self._stop()
        if slide is not None and run is not None and any(point.answer for point in points):
            self._ended = None if self._begun else (slide, run, points)
            judging.answers.write(run / TABLE, points, partial(judging.judge, of, self._dock.bench.judged.emit))

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
        self.points, self.at, self._answered, self._left, self._slide, self._run = [], 0, None, None, None, None
        for layer in list(self._dock.bench.layers.ours(_KIND)):
            self._viewer.layers.remove(layer)
        self._show()

    def _hear(self) -> None:
        if self._late:
            self._look_for_begun()
        self._show()

    def _look_for_begun(self) -> None:
        """Look, in a thread, for a count that was left on the slide, once all is written."""
        self._late = not self._judging.answers.idle
        if self.points or self._late:
            return
        slide, run = here = self._session.slide, self._session.run
        self._begun, self._lacking = 0, ""
        if slide is None or run is None:
            return
        table, name = run / TABLE, slide.name

        def begun(answered: int) -> None:
            if here == (self._session.slide, self._session.run) and not self.points:
                self._begun = answered
                self._show()

        self._dock.in_thread(lambda: _first_open(_unfinished(table, name)), begun, lambda _: None)

    def _failed(self, of: tuple[Slide, Path], error: Exception) -> None:
        if of == self._choosing:
            self._choosing = None
            self._show()
            self._dock.say_error(error)

    # --- what is advised

    def _accept(self) -> None:
        found, advised, session = self._judging.found, self._judging.advised, self._session
        if found is None or advised is None or found.judgement is None:
            return
        chosen = next((c for c in session.here() if c.act == "distill" and c.round == advised.round), None)
        if chosen is not None:
            session.look(threshold=advised.threshold.value, sigma_px=found.sigma_px)
            session.show(chosen)
            session.accept(chosen, found.judgement.by, found.judgement.reason)

    def _card(self, found: Judged) -> str:
        """Return the card of what the answers say, with what to know of it now."""
        session, accepted, notes = self._session, self._session.accepted, found.notes
        if self._judging.grows:
            notes = [*notes, "The run is at work: its further rounds are judged once it has ended."]
        if self._judging.outranked and accepted is not None:
            chosen = accepted_mask(accepted, session.sigma_px)
            notes = [*notes, f"{TOLD_BY[accepted.by].capitalize()} have chosen {chosen}, and stand above points."]
        elif accepted is not None and accepted.by == "user" and self._judging.advised is not None and not self._judging.is_accepted:
            notes = [*notes, f"You accepted {accepted_mask(accepted, session.sigma_px)}: that stands unless you accept the advice."]
        elif accepted is None and not found.by_masks and "reference" in session.given_here():
            notes = [*notes, "The reference mask of this slide came after these rounds: it has not judged them."]
        if session.shown is not None and self._dock.bench.verdicts.rejected(session.shown):  # what is accepted leaves them out
            notes = [*notes, "Lesions were rejected: what is told here is of the masks with them."]
        same = same_smoothing(found.sigma_px, session.sigma_px)
        return points_card(found.judgement, self._pair(), notes, None if same else found.sigma_px)

    def _pair(self) -> tuple[int, ...]:
        """Return the rounds of A and B."""
        return tuple(dict.fromkeys(c.round for c in (self._session.a, self._session.b) if c is not None and c.act == "distill"))

    # --- showing

    def _show(self) -> None:
        session, judging = self._session, self._judging
        if self.points and (session.slide, session.run) != (self._slide, self._run):
            self._stop()
            return
        counting = bool(self.points) and self.at < len(self.points)
        keep_room(self.what, [])
        ready = any(c.act == "distill" and c.run == session.run for c in session.here())  # and not on another slide alone
        self.start.setVisible(not counting)
        more = f"Count {COUNT} points" if judging.found is None and not judging.under_way and not judging.waits else "Count more points"
        self.start.setText(f"Go on counting at place {self._begun + 1}" if self._begun else more)
        choosing = self._choosing is not None and self._choosing == (session.slide, session.run)
        self.start.setEnabled(ready and not choosing and not judging.under_way and not judging.takes and judging.answers.idle)
        self.asking.setVisible(counting)
        self.back.setEnabled(self.at > 0)
        self.bar.setRange(0, max(1, len(self.points)))
        self.bar.setValue(sum(bool(point.answer) for point in self.points))
        before = 0 if judging.found is None else len(judging.found.places - {(point.x, point.y) for point in self.points})
        self.bar.setFormat(f"%v of %m answered{f', {before} before' if before else ''}")
        advised, accepted = judging.advised, judging.is_accepted
        self.accept.setVisible(advised is not None and not counting and not judging.grows)
        unsure = judging.advises and advised is not None and is_loose(advised)  # then more points come before any advice
        emphasise(self.start, advised is None or unsure)
        emphasise(self.accept, judging.advises and not unsure)
        if advised is not None:
            self.accept.setEnabled(not accepted)
            self.accept.setText(
                "The advice is accepted" if accepted else acceptance(advised.round, advised.threshold.value, "the advice: ")
            )
        self.card.setText("" if counting else self._told())
        self.mend.setVisible(not counting and self._may_mend)
        if counting:
            asked = "Is the middle of the ring <b>tumour</b>? Predictions are hidden on this page.<br>"
            keep_room(self.what, [f"{asked}Place 30, you said: <b>not tumour</b>. An answer here leads on to place 30."])  # buttons stay
            self.what.setText(f"{asked}{self._said()}")
        elif ready and judging.judgement is not None:
            self.what.setText("What the points say so far; more of them make the intervals narrower.")
        elif ready and judging.outranked:
            self.what.setText(f"{COUNT} places, a key each: how good are the masks? {TOLD_BY['reference'].capitalize()} chose the round.")
        elif ready:
            told = f"{COUNT} places, a key each: a minute says which round to accept, and how good it is."
            self.what.setText(told + " The run is at work: all its rounds are judged once it has ended." * judging.grows)
        else:
            self.what.setText("Distil first: points judge the rounds of a run.")

    def _told(self) -> str:
        """Return what is told below the buttons while nothing is asked."""
        if self._choosing is not None and self._choosing == (self._session.slide, self._session.run):
            return "Reading the maps and choosing places …"
        if self._judging.under_way or not self._judging.answers.idle:
            return "Judging the rounds by the answers …"
        if self._judging.waits:
            return "What was answered is judged once the run has ended."
        return self._lacking if self._judging.found is None else self._card(self._judging.found)

    def _said(self) -> str:
        """Tell which place it is and the answer there, where one was given before; else that at the place before."""
        at, here = self.at + 1, self.points[self.at].answer
        if here:
            on = f"leads on to place {self._next_place() + 1}" if self._next_place() < len(self.points) else "ends the count"
            return f"Place {at}, you said: <b>{ANSWERS[here][0].lower()}</b>. An answer here {on}."
        last = self.at - 1 if self._answered is None else self._answered
        before, now = self.points[last].answer if last >= 0 else "", " now" if last != self.at - 1 else ""
        return f"Place {at}." + (f" At place {last + 1} you{now} said: {ANSWERS[before][0].lower()}." if before else "")


def _first_open(points: Sequence[Point]) -> int:
    """Return the first place without an answer, their number where there is none; a table may have been filled in by hand."""
    return next((index for index, point in enumerate(points) if not point.answer), len(points))


def _unfinished(table: Path, slide: str) -> list[Point]:
    """Return the places of a count on a slide that was left and goes on, none if there is no such count."""
    asked = read_points(table, unanswered=True) if table.is_file() else []
    left = {point.slide for point in asked} == {slide} and any(not point.answer for point in asked)
    return asked if left else []
