"""The Distill dock: run rounds of distillation, watch them, and look at each."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from os.path import isdir
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, FloatSpinBox
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_ifkd._plugin.brought import called
from napari_ifkd.config import Config
from napari_ifkd.runs.judgement import TOLD_BY

from .curve import Curve
from .dock import Dock
from .job_bar import JobBar
from .offer import Offer
from .parts import Fold, Notice, allow, button, chosen_path, decided, form, heading, patch_folder, row, setting, settings_of, text
from .rounds_table import RoundsTable
from .taken_along import TakenAlong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_ifkd.runs.resolve import Resolved
    from napari_ifkd.session_records import GivenUse
    from napari_ifkd.slides import Slide


_LOOK = "Click a round to look at its prediction"


class DistillDock(Dock):
    """Ask for a distillation run and follow it."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.what = text("What the run starts from")
        self.taken_along = TakenAlong(self)
        self.known = self.taken_along.label
        self.warning = Notice(brief=True)
        self.main = form(setting("rounds.rounds", "Rounds"), setting("rounds.epochs", "Epochs"), side_by_side=True)
        for each in self.main:
            each.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            each.native.setStyleSheet("min-width: 40px;")  # napari's is wider than there is room for two
        self.all_slides = CheckBox(
            value=False, text="All open slides", tooltip="Learn from the tiles of every open slide, and map them all"
        )
        self.use_drawn = CheckBox(
            value=True, text="Drawn regions", tooltip="Tiles in the regions drawn in the Teacher dock get the label of the region"
        )
        for box in (self.all_slides, self.use_drawn):
            box.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)  # a click beside the text is none
        self.patches = patch_folder("Folder of labelled patches to learn from too", "patch folder, if you have one")
        self.area_prior = FloatSpinBox(
            value=0,
            min=0,
            max=0.99,
            step=0.01,
            label="Area prior",
            tooltip="Mean tumour share of tiles that hold tumour, 0 to 1, if you know it: the best single figure to choose rounds by",
        )
        self.area_prior.native.setSpecialValueText("not known")
        self.advanced = form(
            self.area_prior,
            setting("rounds.mode", "Mode", leave_out=("released", "oeem")),  # for comparison, on the command line only
            setting("rounds.structure", "Structure"),
            setting("student.name", "Student", none="as the teacher", leave_out=("encoder-mil", "custom")),  # these need more than a name
            setting("rounds.learning_rate", "Learning rate"),
            setting("rounds.batch", "Batch"),
            setting("tiles.max_tiles", "Tiles at most"),
            setting("tiles.positive_above", "Positive above"),
            setting("tiles.negative_below", "Negative below"),
            setting("rounds.robust.averaged_views", "Average views"),
            setting("acceptance.max_area_shift", "Area veto"),
            setting("seed", "Seed"),
        )
        fold = Fold("Advanced", "More settings; the defaults are sensible", self.advanced.native)
        self.fold = fold.button
        self.run = button(
            "Run distillation", "Start the rounds in a process of their own: keep working, or close napari, meanwhile", self._run, main=True
        )
        self.progress = JobBar(self.bench, "distill", steady=True)
        self.curve = Curve()
        self.table = RoundsTable()
        self.reason = text("Why the student of this round became the new teacher, or did not", lines=3)
        self.reason.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)  # its link answers to keys too
        self.reason.linkActivated.connect(self._tell_why)
        self._why = False  # whether reasons are told in full
        self.offer = Offer(self.bench)
        # what is told below what is clicked, that of a run at work included: it grows and shrinks
        sources = row(self.all_slides.native, self.use_drawn.native, QWidget(), stretch=(0, 0, 1))
        self.add(sources, self.patches.native, self.main.native, fold, self.run, self.progress)
        self.add(self.what, self.known, self.warning, self.offer)
        self.whose = heading("Rounds")
        self.add(self.whose, self.table, self.reason, self.curve, self.progress.warned)  # notes last: the curve is to be in sight
        self._at_work: tuple[Path, str] | None = None  # the run that is, and its state
        self.table.round_selected.connect(self._look_at_round)
        self.listen("offer", to=self.offer.update_offer)
        for box in (self.all_slides, self.use_drawn):
            box.changed.connect(lambda _: self._show_job())
        self.all_slides.changed.connect(lambda _: self._look_back())
        self.patches.changed.connect(lambda _: self._show_job())
        self.hear(self.bench.drawings.changed, self._show_job)
        self.hear(self.bench.areas.changed, self._show_rounds)
        self.hear(self.bench.judged, self._look_back)
        self.hear(self.bench.verdicts.settled_down, self._show_rounds)
        self.hear(self.bench.memory.recalled, self._recall)
        self._recall()
        self.hear(self.bench.corrected, self._look_back)
        self.hear(self.bench.corrected, self._show_job)
        self.listen("slide", "slides", "tissue", "candidates", "shown", "teacher", "given", "region", to=self._show_job)
        self.hear(self.bench.judging.changed, self.progress.update_job)
        self.hear(self.bench.judging.changed, self._show_rounds)
        self.listen("job", "slide", "candidates", "shown", "run", "accepted", "teacher", to=self._show_progress)
        self.listen("slide", "rounds", "run", "shown", "accepted", to=self._show_rounds)
        self.hear(self.taken_along.found, self._show_rounds)
        self.listen("shown", "slide", "slides", "job", "given", to=self._look_back)
        self.bench.areas.look()
        self.listen("curve", to=self._show_curve)
        self.bench.viewer.events.theme.connect(self._show_theme)
        self._show_theme()
        self.column.addStretch(1)

    def settings(self) -> Config:
        """Return the settings of the form."""
        return Config().replaced(**settings_of(self.main, self.advanced), **{"acceptance.area_prior": float(self.area_prior.value) or None})

    def came(self) -> None:
        """Look at what was corrected and answered meanwhile, and whether all of it was written."""
        self._look_back()
        self._show_job()

    def _look_back(self) -> None:
        self.taken_along.look(self._slides)

    def _recall(self) -> None:
        """Begin with the settings of the last distillation; what was set meanwhile stays."""
        set_now, usual = settings_of(self.main), Config()
        for name, value in self.bench.memory.asked.items():
            if name in set_now and usual.replaced(**{name: set_now[name]}) == usual:
                with suppress(ValueError):  # one that another version took
                    self.main[name].value = value

    def _run(self) -> None:
        self.bench.memory.note_asked(settings_of(self.main))
        self.bench.distill(
            self.settings(), all_slides=self._several, patches=chosen_path(self.patches), use_drawn=bool(self.use_drawn.value)
        )

    @property
    def _several(self) -> bool:
        return len(self.session.slides) > 1 and bool(self.all_slides.value)

    @property
    def _slides(self) -> tuple[Slide, ...]:
        """The slides of the next run."""
        slide = self.session.slide
        return self.session.slides if self._several else () if slide is None else (slide,)

    def _show_progress(self) -> None:
        self.progress.update_job()
        job = self.session.job
        at_work = (job.out, job.state) if job is not None and job.alive else None
        if at_work != self._at_work:  # not at every step of its progress
            begins = at_work is not None and (self._at_work is None or self._at_work[0] != at_work[0])
            self._at_work = at_work
            if job is not None and begins and job.act == "distill" and job.slides:
                self.all_slides.value = len(job.slides) > 1  # also of a run that began before napari did
            self._show_job()
            self._show_rounds()

    def _show_job(self) -> None:
        slide, lacking = self.session.slide, self._lacking_here()
        allow(self.run, self.lacking() or lacking)
        unwritten = self.bench.unwritten()
        painted = f"What is painted on {unwritten} is not written back: Write back, or Discard, in Review, Correct." if unwritten else ""
        lacks = f"It cannot run: {lacking}." if lacking and slide is not None else ""
        self.warning.say(
            lacks,
            painted,
            *self.session.warnings(self.session.slides if self._several else ()),
            self._other_model(),
            self.session.outdated(self.session.shown),
        )
        allow(self.all_slides.native, "" if len(self.session.slides) > 1 else "one slide is open, or none")
        given = self._given()
        by_others = "weak regions that were brought in label the tiles" if "regions" in given else ""
        allow(self.use_drawn.native, by_others)
        self.use_drawn.native.setVisible(self._drawn > 0)  # ticked, and nothing that it could mean
        teacher = self.session.teacher
        if slide is None:
            self.what.setText("Open a slide first.")
        elif teacher is None:
            self.what.setText("Choose a teacher first.")
        else:
            self.what.setText(self._starts_from(slide, teacher, given))

    def _lacking_here(self) -> str:
        """Return what a run lacks of what is chosen in this dock, "" if nothing."""
        folder = chosen_path(self.patches)
        if folder is not None and not isdir(folder):  # noqa: PTH112  # it never raises
            return f"the patch folder {folder} does not exist"
        if not self._several and self.session.tissue is not None and not self.session.tissue.found:
            return "no tissue was found on this slide, so it has no tiles to learn from"
        unknown = next((each.name for each in self._slides if each.mpp is None), "") if self._several else ""
        return f"the resolution of {unknown} is not known: give it in the Slide dock" if unknown else ""

    def _given(self) -> dict[GivenUse, list[str]]:
        """Return the files that were given for the slides of the next run, by what for, as rich text."""
        given: dict[GivenUse, list[str]] = {}
        for one in self.session.given:
            if one.slide in [each.name for each in self._slides]:
                given.setdefault(one.use, []).append(f"<b>{escape(called(one.path))}</b>")
        return given

    @property
    def _drawn(self) -> int:
        """How many regions are drawn on the slides of the next run."""
        return sum(self.bench.drawings.count(use, each) for use in ("tumour", "normal") for each in self._slides)

    def _starts_from(self, slide: Slide, teacher: Resolved, given: Mapping[GivenUse, Sequence[str]]) -> str:
        """Tell whose tiles the next run takes, what labels them, and what chooses the round."""
        slides, drawn, masks = self._slides, self._drawn, given.get("reference", [])
        if "regions" in given:
            by = f"regions of {' and '.join(given['regions'])} and by "
        else:
            by = f"{drawn} drawn region{'s' * (drawn > 1)} and by " if drawn and self.use_drawn.value else ""
        chooses = f" {masks[0]} judges its slide alone, and does not choose the round." if masks else ""
        if self.session.choosing_masks(slides):
            chooses = f" {' and '.join(masks)} choose{'s' * (len(masks) == 1)} the round."
        if self.session.region != "tissue":
            chooses += " All tissue counts: <i>Predict in</i> is for predictions."
        where = f"<b>{len(slides)} slides</b>" if self._several else f"<b>{slide.name}</b>"
        excluded = sum(self.bench.drawings.count("exclusion", each) for each in slides)
        left = f" without {excluded} excluded region{'s' * (excluded > 1)}" if excluded else ""
        return f"Tiles of {where}{left}, labelled by {by}<b>{teacher.label}</b>.{chooses}"

    def _other_model(self) -> str:
        """Say so where the predictions of the slide are of another network than the one that is chosen now, "" where they are not."""
        teacher, here = self.session.teacher, self.session.here()
        came_of_them = teacher is not None and any(teacher.path.is_relative_to(c.run) for c in self.session.comparable())
        by = next((c.model for c in here if c.round == 0 and c.model), "")
        if teacher is None or came_of_them or not by or by == teacher.card.name:
            return ""
        return f"This slide was predicted by {by}; the model chosen now, in the Teacher dock, is {teacher.label}."

    def _look_at_round(self, index: int) -> None:
        """Show a round; where the run was on other slides, on one of them."""
        session = self.session
        there = {c.slide: c for c in session.predictions() if c.run == session.run and c.round == index}
        if session.slide is not None and session.slide.name not in there:
            for slide in session.slides:
                if slide.name in there:
                    self.bench.look_at(slide)
                    break
        session.set_compare("off")  # it is this round that is asked for
        session.show_round(index)
        if session.slide is not None:
            self.bench.memory.stay(session.slide)

    def _show_rounds(self) -> None:
        session, shown, areas = self.session, self.session.shown, self.bench.areas
        elsewhere = session.rounds and session.slide is not None and all(c.act != "distill" for c in session.here())
        job = session.job
        before = ", not the run at work" if job is not None and job.alive and job.act == "distill" and job.out != session.run else ""
        whose = f" of {escape(session.run.name)}{before or (', on another slide' if elsewhere else '')}" if session.run is not None else ""
        self.whose.setText(f"<b>Rounds</b>{whose}")
        several = len(session.slides_of_run) > 1
        mm2, f1 = (None, None) if elsewhere else (areas.mm2, areas.f1)
        self.table.show_rounds(session.rounds, mm2, areas.threshold, session.accepted, several_slides=several, f1=f1)
        index = shown.round if shown is not None and shown.act == "distill" and shown.run == session.run else None
        self.table.select_round(index)
        self.table.setToolTip("Click a round to turn to its slide, and look at it there" if elsewhere else _LOOK)
        done = next((r for r in session.rounds if r.index == index), None)
        reason = decided(self.reason, done.decision.reason, self._why) if done is not None and done.decision is not None else ""
        said = shown is not None and self.bench.verdicts.rejected(shown) > 0
        said = said or "corrections" in self.known.text()
        apart = "Areas are without regard to corrections and rejections." if said and not elsewhere else ""
        accepted = session.accepted if session.accepted is not None and index == session.accepted.round else None
        chosen = ""
        if accepted is not None and accepted.by in TOLD_BY:
            what, by = f"Round {index}" if index else "The teacher", TOLD_BY[accepted.by]
            chosen = f"<b>{what} was accepted by {by}</b>, which stand above the rule. {escape(accepted.reason)}"
        advice = self.bench.judging.advice() if not elsewhere else ""
        advice = f"<b>{advice}</b>: Review, Points, tells why." if advice else ""
        growth = "" if chosen else areas.growth(index or 0)
        growth = f"<b>{growth}</b>: look whether that is right." if growth else ""
        apart_of = "<br>" if self._why and growth else " "  # the reason is of tiles kept aside
        told = apart_of.join(filter(None, (" ".join(filter(None, (advice, growth))), " ".join(filter(None, (reason, chosen))))))
        self.reason.setText("<br>".join(filter(None, (told, apart))))

    def _tell_why(self, _: str) -> None:
        self._why = not self._why
        self._show_rounds()

    def _show_curve(self) -> None:
        self.curve.setVisible(bool(self.session.curve))
        self.curve.show_epochs(self.session.curve)

    def _show_theme(self, _: Any = None) -> None:
        from napari.utils.theme import get_theme

        theme = get_theme(self.bench.viewer.theme)
        self.curve.set_colours(theme.background.as_hex(), theme.text.as_hex())
        QTimer.singleShot(0, lambda: self._show_rounds() if isalive(self) else None)  # type: ignore[no-untyped-call] # its link has the new colours by then
