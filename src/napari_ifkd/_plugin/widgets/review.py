"""The Review dock: look at any round and accept one; its pages compare, count points, list lesions and correct."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import QSizePolicy, QSlider, QTabWidget

from napari_ifkd._plugin.measure import same_grid
from napari_ifkd._plugin.words import acceptance, accepted_mask, points_undecided
from napari_ifkd.errors import InputError
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.judgement import TOLD_BY, name_of

from .compare import ComparePage
from .correct import CorrectPage
from .count import CountPage
from .dock import Dock
from .lesions import LesionsPage
from .look_sliders import LookSliders
from .parts import Notice, allow, button, column, decided, emphasise, form, keep_room, link, offer, resolved, room_for, shortcut, text

if TYPE_CHECKING:
    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.session_records import Candidate, Compare
    from napari_ifkd.slides import Slide


_LINES = 11  # of what is usually told of a prediction at most: there is room for so many, and what lies below stays
_FURTHER = "Take it as the next teacher"


class ReviewDock(Dock):
    """Look, compare, accept."""

    holds = True

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.shown = ComboBox(choices=[("none", None)], label="Show", tooltip="The prediction looked at: the teacher's or that of a round")
        self.steps = QSlider(Qt.Orientation.Horizontal)
        self.steps.setToolTip("From the teacher through the rounds. Keys , and .")
        self.steps.setPageStep(1)
        self.steps.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.about = text("What is known of this round")
        self._why: set[str] = set()  # which reasons are told: "why" of the round, "because" of what was accepted
        self.warning = Notice(brief=True)
        self.threshold = LookSliders(self, "threshold")["threshold"]
        self.accept = button(
            "Accept",
            "Write down that this round is the one to use; exports and a teacher taken from this run then use it",
            self._accept,
            main=True,
        )
        self.accepted = text("What was accepted")
        for label in (self.about, self.accepted):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)  # its link answers to keys too
            label.linkActivated.connect(self._follow)
        self.accept.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # however long it is, the dock stays as wide
        self.add(
            form(self.shown).native,
            self.steps,
            form(self.threshold).native,
            self.accept,
        )
        self.growth = text("How much of the slide the round marks, beside the first teacher")
        self.told = column(self.about, self.accepted, self.growth, self.warning, lines=_LINES)  # below: reasons may be unfolded
        self.column.addWidget(self.told, 0, Qt.AlignmentFlag.AlignTop)  # the pages take what room is left
        self._usual = self.told.minimumHeight()
        self._highest: tuple[Slide | None, int, int] = (None, 0, 0)  # of what was told on a slide, at a width
        self.keys = {key: shortcut(self.content, key, partial(self._step, by)) for key, by in ((",", -1), (".", 1))}
        self.compare, self.count, self.lesions, self.correct = ComparePage(self), CountPage(self), LesionsPage(self), CorrectPage(self)
        self.correct.looked.connect(self.compare.know_corrections)
        self.correct.looked.connect(self._show_round, max_args=0)
        self.compare.corrections_asked.connect(self.correct.look)
        self.pages = QTabWidget()
        self.pages.setToolTip("What to do with the prediction: compare it, count points, judge its lesions, correct it")
        pages = (
            (self.compare, "Compare", "Two predictions, one against the other"),
            (self.count, "Points", "Answer thirty places: which round is best, and how good is it?"),
            (self.lesions, "Lesions", "The lesions one by one: jump to them, accept or reject them"),
            (self.correct, "Correct", "Paint what is wrong"),
        )
        for index, (page, name, does) in enumerate(pages):
            self.pages.addTab(page, name)
            self.pages.setTabToolTip(index, does)
        self.add(self.pages)
        if self.bench.painted_on is not None:  # the dock was closed meanwhile
            self.pages.setCurrentWidget(self.correct)
        self._stepped: tuple[Compare, Candidate | None] = "off", None  # how they were before one stepped to A, and A
        self._compared: Compare = "off"  # how A and B were compared before a page looked at the one
        self.listen("compare", to=self._note_mode)
        self.listen("a", "b", to=self._forget_mode)
        self.listen("shown", to=self._forget_step)
        self.compare.mode.picked.connect(self._forget_step)
        self.pages.currentChanged.connect(self._turn)
        self.steps.valueChanged.connect(self._slide_to)
        self.shown.changed.connect(self._pick_shown)
        self.shown.native.activated.connect(lambda _: self.bench.layers.refresh())  # the one there is: its layer may have been deleted
        self.listen("candidates", "slide", "shown", to=self._show_choices)
        self.listen("shown", "slide", "rounds", "candidates", "files", "accepted", "threshold", "sigma_px", "teacher", to=self._show_round)
        self.listen("a", "b", "compare", to=self._show_alone)
        self._at_work_now = False, False  # whether the run of what is shown is, and whether any is
        self.listen("job", to=self._show_end)
        self.hear(self.bench.memory.waits, self._show_round)
        self.hear(self.bench.areas.changed, self._show_round)
        self.hear(self.bench.judging.changed, self._show_round)
        self.hear(self.bench.verdicts.settled_down, self._show_round)  # whether lesions are rejected is told too
        self.bench.areas.look()
        self.bench.viewer.events.theme.connect(self._show_theme)

    # --- picking

    def _pick_shown(self, candidate: Candidate | None) -> None:
        if candidate is not None:
            self.session.set_compare("off")
            self.session.show(candidate)

    def _step(self, by: int) -> None:
        here = self._in_order()
        if here:
            at = here.index(self.session.shown) if self.session.shown in here else 0
            to = max(0, min(len(here) - 1, at + by))
            if here[to] != self.session.shown:  # at the end: else the way of comparing would be forgotten
                self._step_to(here[to])

    def _in_order(self) -> list[Candidate]:
        """Return the predictions from the teacher through the rounds, and then those that are of no distillation."""
        return sorted(self.session.here(), key=lambda candidate: candidate.act == "predict")

    def _slide_to(self, at: int) -> None:
        here = self._in_order()
        if at < len(here):
            self._step_to(here[at])

    def _step_to(self, candidate: Candidate) -> None:
        """Look at a prediction: as B where the two of a pair are compared, else by itself."""
        session, a = self.session, self.session.a
        mode = self._stepped[0]
        as_b = session.comparing and session.compare not in ("a", "b", "uncertainty")
        if as_b and a is not None and candidate != a and (session.compare != "disagreement" or same_grid(a.found, candidate.found)):
            session.set_pair(a, candidate)
            session.show(candidate)
        elif a is not None and candidate != a and self._back_from(a) and (mode != "disagreement" or same_grid(a.found, candidate.found)):
            session.set_pair(a, candidate)  # back from A
            session.show(candidate)
            session.set_compare(mode)
        else:
            before = session.compare
            self._pick_shown(candidate)
            self._stepped = (before, a) if as_b and candidate == a else ("off", None)

    def _back_from(self, a: Candidate) -> bool:
        """Return whether one has stepped to A, and done nothing else since."""
        return self.session.compare == "off" and self._stepped[1] == a == self.session.shown and self.bench.painted_on is None

    def _forget_step(self, *_: object) -> None:
        self._stepped = "off", None

    def _accept(self) -> None:
        candidate = self.session.shown
        try:
            if candidate is not None:
                self.bench.require_written()  # else who accepts thinks that it counts
                self.session.accept(candidate)
        except (InputError, OSError) as error:
            self.say_error(error)

    def _take_back(self, candidate: Candidate) -> None:
        try:
            self.session.take_back(candidate)
        except (InputError, OSError) as error:
            self.say_error(error)

    def _note_mode(self) -> None:
        if self.session.compare != "off":
            self._forget_step()
        if self.session.compare != "off" or self.pages.currentWidget() is self.compare:
            self._compared = self.session.compare

    def _forget_mode(self) -> None:
        """Others are compared by now."""
        self._compared = self.session.compare

    def _turn(self, _: int) -> None:
        """Compare again as before, where a page has looked at the one prediction meanwhile."""
        if self.pages.currentWidget() is self.compare and self.session.compare == "off":
            self.session.set_compare(self._compared)
        self._emphasise()

    def _emphasise(self) -> None:
        """Let one button stand out: where points advise something, theirs."""
        session, shown, judging = self.session, self.session.shown, self.bench.judging
        is_advised = shown is not None and shown.run == session.run and judging.is_advised(shown.round, session.threshold, session.sigma_px)
        emphasise(self.accept, not judging.advises or (is_advised and self.pages.currentWidget() is not self.count))

    def _reuse(self) -> None:
        shown = self.session.shown
        if shown is not None:
            self.in_thread(lambda: resolved(shown.run), self.session.choose_teacher)

    # --- showing

    def _show_choices(self) -> None:
        shown, here = self.session.shown, self._in_order()
        offer(self.shown, [(candidate.label, candidate) for candidate in here], shown, "none")
        self.steps.setEnabled(len(here) > 1)  # not hidden: where a second round comes, nothing below moves
        with QSignalBlocker(self.steps):
            self.steps.setRange(0, max(0, len(here) - 1))
            self.steps.setValue(here.index(shown) if shown in here else 0)

    def _told_of(self, candidate: Candidate) -> str:
        of_it = candidate.act == "distill" and candidate.run == self.session.run
        done = next((r for r in self.session.rounds if of_it and r.index == candidate.round), None)
        reason = done.decision.reason if done is not None and done.decision is not None else ""
        ended = f"When round {candidate.round} ended: {decided(self.about, reason, 'why' in self._why)}"
        of_round = "The teacher before any round." if candidate.round == 0 else ""
        of_round = of_round or ("It is not over yet." if done is None and self._at_work(candidate) else "")
        said = ended if reason else "A prediction." if candidate.act == "predict" else of_round
        said += " It looked at a region of the slide only." if candidate.of_region else ""
        return f"<b>{escape(candidate.run.name)}</b>. {said}"

    def _growth(self, candidate: Candidate, *, counted: bool) -> str:
        """Say so where a round marks much more or less than the first teacher; not of what reference masks or points have chosen.

        Parameters
        ----------
        candidate : of the round
        counted : whether to say that corrections and rejections do not count
        """
        accepted = self.session.accepted_of(candidate)
        chosen = accepted is not None and accepted.by in TOLD_BY and self.session.is_accepted(candidate)
        if candidate.act != "distill" or candidate.run != self.session.run or chosen:
            return ""
        growth = self.bench.areas.growth(candidate.round)
        return f"<b>{growth}{', without regard to corrections and rejections' * counted}.</b>" if growth else ""

    def _news(self, candidate: Candidate) -> str:
        """Tell of a later round of the run at work: it does not take the place of what is shown; at its end, which it recommends."""
        judging, here = self.bench.judging, candidate.run == self.session.run
        best, by, at = self.session.recommended(candidate), "The run recommends", ""
        advised = judging.advised if here else None
        if advised is not None:  # who looked knows more than the rule
            best, by, at = advised.round, "Points recommend", f" at {advised.threshold.value:.3g}"
        accepted = self.session.accepted_of(candidate)
        undecided = accepted is None or (here and judging.advises)
        if here and judging.under_way and not self._at_work(candidate):
            return "<br>Judging the rounds by the answers …"
        overruled = advised is not None and accepted is not None and not judging.is_accepted
        if best is not None and not self._at_work(candidate):
            it = candidate.act == "distill" and candidate.round == best
            told = f"{by} {'it' if it else f'round {best}' if best else 'the teacher'}{at}."
            if undecided and judging.judgement is not None and advised is None and here:
                return f"<br>{told} {points_undecided(judging.judgement, best)}"
            return f"<br><b>{told}</b>" if undecided else f"<br>{told}" if overruled else ""
        last = max((c.round for c in self.session.here() if c.run == candidate.run), default=0)
        return f"<br><b>Round {last} has come in.</b> {self._link('newest')}" if last > candidate.round and self._at_work(candidate) else ""

    def _other_alone(self) -> str:
        """Say so where another mask than the one spoken of is seen alone: nobody accepts what they do not see; "" elsewhere."""
        alone = self.session.alone
        if alone in (None, self.session.shown) or self.compare.flicker.held:
            return ""
        whose = {"file": ", and is of another program", "former": ", and is of the run before: Runs opens it"}.get(alone.act, "")
        return f"{alone.label} is seen alone{whose}; Single, in Compare, shows what is accepted here"

    def _show_alone(self) -> None:
        if not self.compare.flicker.held:
            self._show_round()

    def _at_work(self, candidate: Candidate) -> bool:
        job = self.session.job
        return job is not None and job.alive and job.out == candidate.run

    def _show_end(self) -> None:
        """Tell what a run recommends as soon as it has ended."""
        job = self.session.job
        at_work = any(map(self._at_work, self.session.here())), job is not None and job.alive
        if at_work != self._at_work_now:  # not at every step of its progress
            self._at_work_now = at_work
            self._show_round()

    def _link(self, to: str) -> str:
        """Return the word that asks for reasons, or for what is accepted or was.

        Parameters
        ----------
        to : "because" of what is accepted; "accepted", "beside", "newest", "former" for what to look at; "back" to accept what was accepted
            before; "further" to make it the model
        """
        words = {"accepted": "Show it", "beside": "Show it", "newest": "Show it", "former": "Open it", "back": "Undo", "further": _FURTHER}
        word = words.get(to) or ("Less" if to in self._why else "Why?")
        return link(self.accepted, to, word)

    def _follow(self, to: str) -> None:
        shown = self.session.shown
        if to == "beside":
            shown = next((c for c in self.session.here() if c.act == "distill"), shown)
        accepted = None if shown is None else self.session.accepted_of(shown)
        if to == "back" and shown is not None:
            self._take_back(shown)
        elif to == "newest" and shown is not None:
            self._step_to(max((c for c in self.session.here() if c.run == shown.run), key=lambda c: c.round, default=shown))
        elif to == "further":
            self._reuse()
        elif to in ("why", "because"):
            self._why ^= {to}
            self._show_round()
        elif to == "former":
            former = self.session.former()
            if former is not None:
                self.bench.runs.open(former.run)
        elif shown is not None and accepted is not None:
            self.session.look_as(accepted)
            self._pick_shown(next((c for c in self.session.here() if (c.run, c.round) == (shown.run, accepted.round)), None))

    def deafen(self) -> None:
        """End a count too: its ring would stay."""
        if isalive(self.count):  # type: ignore[no-untyped-call]
            self.count.leave()
        super().deafen()

    def resizeEvent(self, event: Any) -> None:
        """Keep the room that texts take at the width there is by now."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._show_round()

    def _show_theme(self, _: object) -> None:
        QTimer.singleShot(0, lambda: self._show_round() if isalive(self) else None)  # type: ignore[no-untyped-call] # it has its new colours by then

    def _show_round(self) -> None:
        session, shown = self.session, self.session.shown
        allow(self.accept, "there is no prediction" if shown is None else "")
        self._emphasise()
        if shown is None:
            self.accept.setText("Accept")
            lacking = "No prediction on this slide yet: predict in the Teacher dock, or run rounds in the Distill dock."
            if session.slide is not None and self.bench.memory.waiting(session.slide):
                lacking = "The runs of this slide come back when the run at work has ended."
            keep_room(self.about, [])
            self.about.setText(lacking if session.slide is not None else "Open a slide first.")
            self.warning.say(None)
            self.accepted.setText("")
            self.growth.hide()
            return
        self.about.setText(self._told_of(shown) + self._news(shown))
        # there is room for what is told of any round: stepping from one to the next moves nothing
        keep_room(self.about, [self._told_of(c) + self._news(c) for c in session.here()])
        growths = [told for c in session.here() if (told := self._growth(c, counted=True))]
        self.growth.setMinimumHeight(room_for(self.about, growths))  # as wide, also while it is hidden
        said_of = bool(self.bench.verdicts.rejected(shown)) or self.compare.corrected
        self.growth.setText(self._growth(shown, counted=said_of))
        self.growth.setVisible(bool(growths))
        self.warning.say(session.outdated(shown), *shown.warnings[:1])
        accepted = session.accepted_of(shown)
        same, other = session.is_accepted(shown), self._other_alone()
        allow(self.accept, other or ("it is what is accepted" if same else ""))
        self.accept.setText("Another mask is seen" if other else "✓ Accepted" if same else acceptance(shown.round, session.threshold))
        if accepted is not None:
            when = f"{datetime.fromisoformat(accepted.time).astimezone():%Y-%m-%d %H:%M}"
            self.accepted.setToolTip(f"What was accepted, {when}")
            told = f"✓ Accepted{_by(accepted)}: {accepted_mask(accepted, session.sigma_px)}"
            shown_below = f"<br>{escape(accepted.reason)}" if "because" in self._why else ""
            because = f" {self._link('because')}{shown_below}" if accepted.reason else ""
            there = f" {self._link('accepted')}"
            back = "" if accepted.by == "reference" else f" {self._link('back')}"  # that was nobody's click
            before = "" if accepted.by == "user" else self._accepted_before()
            # Undo first: it stays under the mouse of who goes back more than one step
            self.accepted.setText(f"{told}.{back}{'' if same else there}{because}{self._further(shown, accepted)}{before}")
        else:
            self.accepted.setToolTip("What was accepted")
            told = f"Nothing accepted yet.{self._accepted_before()}"
            self.accepted.setText(told)
        self._keep_high()

    def _keep_high(self) -> None:
        """Let what lies below stay where it was once pushed on a slide, also when less is told; reasons fold up again."""
        slide, width = self.session.slide, self.told.width()
        highest = self._highest[2] if self._highest[:2] == (slide, width) else 0
        layout = self.told.layout()
        if layout is not None and not self._why and not self.warning.unfolded:
            self.told.setMinimumHeight(0)
            highest = max(highest, self._usual, layout.totalHeightForWidth(width))
            self._highest = slide, width, highest
        self.told.setMinimumHeight(max(highest, self._usual))

    def _further(self, shown: Candidate, accepted: Accepted) -> str:
        """Offer what was accepted as the teacher of the next distillation."""
        if shown.act != "distill":
            return ""
        teacher = self.session.teacher
        if teacher is not None and teacher.path == RunFolder(shown.run).model_path(accepted.round):
            return "<br>It is the model: the next distillation begins with it."
        return f"<br>{self._link('further')}"

    def _accepted_before(self) -> str:
        """Tell what was accepted of the rounds beside a prediction, or else of the distillation before, which is no longer open."""
        shown = self.session.shown
        for other in self.session.here():
            of_it = self.session.accepted_of(other)
            if shown is not None and shown.act == "predict" and other.act == "distill" and of_it is not None:
                return f"<br>Of {escape(other.run.name)} {name_of(of_it.round)} is accepted{_by(of_it)}. {self._link('beside')}"
        before = self.session.accepted_before()
        if before is None:
            return ""
        job = self.session.job
        in_the_way = job is not None and job.alive and any(c.run == job.out and c.act == "distill" for c in self.session.here())
        how = "It can be opened once the run at work has ended." if in_the_way else self._link("former")
        return f"<br>Of {escape(before[0].run.name)}, the run before, {name_of(before[1].round)} is accepted{_by(before[1])}. {how}"


def _by(accepted: Accepted) -> str:
    """Tell by what something was accepted, "" where a person did it."""
    return "" if accepted.by == "user" else f" by {TOLD_BY.get(accepted.by, accepted.by)}"
