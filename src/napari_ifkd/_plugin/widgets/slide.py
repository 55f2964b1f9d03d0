"""The Slide dock: open a slide, read its card, choose where to predict."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, RadioButtons
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_ifkd._plugin.reader import SLIDES
from napari_ifkd._plugin.region import lacking_shape, shapes_told
from napari_ifkd._plugin.sample_data import SAMPLE
from napari_ifkd._plugin.settings import runs_folder
from napari_ifkd._plugin.trouble import TROUBLE
from napari_ifkd._plugin.words import area
from napari_ifkd.errors import AnnotationError, InputError
from napari_ifkd.slides.resolution import MPP_RANGE, SAME_MPP

from .dock import TAKES, Dock
from .exclusions import Exclusions
from .job_bar import job_line
from .offer import Offer
from .parts import Fold, Notice, allow, button, form, heading, offer, row, text
from .pen import PEN_HELP, Pen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.session_records import RegionKind
    from napari_ifkd.slides import Slide, Tissue

_UNKNOWN, _DECIMALS = MPP_RANGE[0], 4  # shown where a file has no resolution, um/px; and how exactly it is asked for
_MOST = 1e3  # that can be typed, um/px: what is out of range is told, where the field would drop digits without a word
_MASK = ". Is it a mask? Open its slide, and use Bring in of the Export dock."
TIMES = "\N{MULTIPLICATION SIGN}"
REGIONS = {"Whole tissue": "tissue", "Visible field": "field", "Drawn region": "shapes"}


class _PicksWord(QObject):
    """Picks the word that stands in a field in the place of a number, wherever one clicks on it: what is typed takes its place."""

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        self._field = field
        field.lineEdit().installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Do so after the click has set the cursor."""
        pointed = event is not None and event.type() in (QEvent.Type.FocusIn, QEvent.Type.MouseButtonRelease)
        if pointed and self._field.text() == self._field.specialValueText():
            QTimer.singleShot(0, self._field.selectAll)
        return super().eventFilter(watched, event)


class SlideDock(Dock):
    """Open a slide and tell what it is."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.open = button("Open slide …", "Open a whole-slide image (or drop one onto the window)", self._choose_slide, main=True)
        self.open_run = button("Open run …", "Look at a run folder: its slide, its teacher and its rounds", self._choose_run)
        self.recent = QPushButton("Recent")
        self.recent.setToolTip("Slides you looked at before: each comes back as you left it")
        self.recent_menu = QMenu(self.recent)
        self.recent.setMenu(self.recent_menu)
        self.which = ComboBox(choices=[("none", None)], label="Slide", tooltip="Which of the open slides is looked at")
        self.which_row = form(self.which).native
        self.card = text("What the file says; label and macro pictures are never read")
        self.card.setObjectName("slide card")
        self.notice = Notice()
        self.mpp = FloatSpinBox(
            value=_UNKNOWN,
            min=MPP_RANGE[0],
            max=_MOST,
            step=0.01,
            label="µm/px",
            tooltip="µm/px of the finest level, 0.05 to 20: about 0.25 for 40x, 0.5 for 20x",
        )
        self.mpp.native.setDecimals(_DECIMALS)
        self.mpp.native.setProperty(TAKES, MPP_RANGE)
        self.use_mpp = button("Use", "Take this resolution, whatever the file says", self._override)
        self.mpp.native.lineEdit().returnPressed.connect(self.use_mpp.click)
        self._picks = _PicksWord(self.mpp.native)
        self.mpp_row = row(form(self.mpp).native, self.use_mpp, stretch=(1, 0))
        self.outline = CheckBox(
            value=False, text="Show tissue outline", tooltip="Outline of what was found to be tissue: predictions are made there"
        )
        self.region = RadioButtons(
            choices=list(REGIONS.items()),
            orientation="vertical",
            label="",
            tooltip="Where Predict looks: all tissue, what the window shows now, or the polygons you draw, in a shapes layer of yours too",
        )
        self.offer = Offer(self.bench)
        self.ended = Notice()  # a distillation that ended while one was here: it chooses what is shown, and at which threshold
        self._at_work = False
        self.stranger = Notice()
        self.adopt = button(
            "Open it as a slide", "Take the plain picture away, and open its file with resolution, levels and tissue", self._adopt
        )
        self.add(
            row(self.open, self.recent, self.open_run, stretch=(2, 0, 1)),  # above what comes and goes
            self.stranger,
            self.adopt,
            self.which_row,
            self.card,
            self.mpp_row,
            self.outline.native,
            self.notice,  # below: where one comes, nothing moves
        )
        self.region.native.setStyleSheet("QGroupBox {margin-top: 0}")  # napari's leaves room for a title
        self.exclusions = Exclusions(self)
        self.exclusions_fold = Fold("Exclusions", "Pen, folds, blur: what nobody is to look at", self.exclusions)
        self.hear(self.bench.drawings.changed, self._count_exclusions)
        self.shapes = text("Which shapes are the region")
        self.draw = Pen(self, "region", "Draw the region", "Draw polygons to predict in; they are kept with the slide")
        self.add(heading("Predict in"), self.region.native, self.draw, self.shapes, self.exclusions_fold)
        self.add(self.offer, self.ended)  # at the foot: runs end while one clicks above
        self.outline.changed.connect(self.bench.layers.show_tissue)
        self.region.value = self.session.region
        self.region.changed.connect(self._look_in)
        self.mpp.changed.connect(self._show_use)
        self.listen("slide", to=self._count_exclusions)
        self.listen("region", "slide", to=self._show_shapes)
        self.hear(self.bench.listed.shapes_drawn, self._show_shapes)
        self.hear(self.bench.drawings.pen, self._show_shapes)
        self.hear(self.bench.memory.ended, self._say_end)
        self.listen("offer", to=self.offer.update_offer)
        self.listen("job", to=self._tell_end)
        self.listen("slide", to=self.came)  # who turns to another one has read it
        self.listen("slide", to=self._show_mpp)
        self.listen("slide", "tissue", to=self._show)
        self.hear(SAMPLE.changed, self._show)
        self.which.changed.connect(self._pick)
        self.listen("slide", "slides", to=self._list)
        self.hear(self.bench.strangers.changed, self._show_stranger)
        self._show_stranger()
        self.hear(self.bench.memory.changed, self._list_recent)
        self._list_recent()
        self.column.addStretch(1)

    def _pick(self, slide: Slide | None) -> None:
        if slide is not None:
            TROUBLE.clear()
            self.bench.look_at(slide)

    def _list(self) -> None:
        slides = self.session.slides
        told = zip(_told_apart([slide.path for slide in slides]), slides, strict=True)
        offer(self.which, list(told), self.session.slide, "none")
        self.which_row.setVisible(len(slides) > 1)

    def _choose_slide(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in SLIDES)
        path, _ = QFileDialog.getOpenFileName(self, "Open a slide", self.bench.memory.folder(), f"Slides ({patterns} *.dcm)")
        if path:
            self.bench.open(Path(path))

    def _adopt(self) -> None:
        path = self.bench.strangers.path
        if path is not None:
            self.bench.open(path)
            if any(slide.path.resolve() == path for slide in self.session.slides):  # else nothing would be left of it
                self.bench.strangers.send_away(path)

    def _show_stranger(self) -> None:
        path = self.bench.strangers.path
        self.stranger.say(None if path is None else f"{path.name} came through another reader, as a plain picture.")
        self.adopt.setVisible(path is not None)

    def _list_recent(self) -> None:
        recent = self.bench.memory.recent
        self.recent.setEnabled(bool(recent))
        self.recent_menu.clear()
        self.recent_menu.setToolTipsVisible(True)
        for name, path in zip(_told_apart(recent), recent, strict=True):
            entry = self.recent_menu.addAction(name, partial(self._open_recent, path))
            assert entry is not None
            entry.setToolTip(str(path))

    def _open_recent(self, path: Path) -> None:
        TROUBLE.clear()
        self.bench.open(path)

    def _choose_run(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a run folder", str(runs_folder()))
        if path:
            self.bench.open(Path(path))

    def _override(self) -> None:
        try:
            if next(self.bench.layers.ours("correcting"), None) is not None:
                raise InputError("resolution", "cannot change under what is painted", "Press Write back or Discard in Review, Correct")
            self.session.override_mpp(float(self.mpp.value))
        except InputError as error:
            self.say_error(error)

    def came(self) -> None:
        """Forget what was told: who comes back has seen the other docks."""
        self.ended.say(None)

    def _count_exclusions(self) -> None:
        """Tell how many there are while they are folded away."""
        slide = self.session.slide
        count = 0 if slide is None else self.bench.drawings.count("exclusion", slide)
        self.exclusions_fold.button.setText(f"Exclusions ({count})" if count else "Exclusions")

    def _say_end(self) -> None:
        job = self.session.job
        if job is not None and job.act == "distill" and job.state == "done" and self.seen:
            here = self.session.run == job.out
            self.ended.say(f"{job.out.name}: {job_line(job, self.session.accepted) if here else 'Done, on another slide.'}", kind="note")

    def _tell_end(self) -> None:
        job = self.session.job
        if self._at_work:
            self._say_end()
        self._at_work = job is not None and job.alive
        if self._at_work:
            self.ended.say(None)

    def _look_in(self, region: RegionKind) -> None:
        """Choose where to predict; a pen comes to hand where a region is to be drawn, and one that draws something else is put down."""
        self.session.set_region(region)
        drawings = self.bench.drawings
        if drawings.drawing is None:
            begin = bool(lacking_shape(region, self.session.slide, self.bench.viewer))
        else:
            begin = (drawings.drawing == "region") != (region == "shapes")
        if begin:
            drawings.begin("region")

    def _show_shapes(self) -> None:
        slide, drawing = self.session.slide, self.bench.drawings.drawing == "region"
        with self.region.changed.blocked():
            self.region.value = self.session.region
        for part in (self.draw, self.shapes):
            part.setVisible(self.session.region == "shapes")
        self.draw.setEnabled(slide is not None)
        try:
            told = "" if slide is None else shapes_told(slide, self.bench.viewer)
        except AnnotationError:
            told = ""
        self.shapes.setText("<br>".join([PEN_HELP] * drawing + [escape(told) or "No shape yet: draw the region."]))

    def _show_mpp(self) -> None:
        slide = self.session.slide
        self.mpp_row.setVisible(slide is not None)
        self.mpp.native.setSpecialValueText("unknown" if slide is not None and slide.mpp is None else "")
        self.mpp.value = _UNKNOWN if slide is None or slide.mpp is None else slide.mpp
        self._show_use()

    def _show_use(self) -> None:
        slide = self.session.slide
        same = slide is not None and slide.mpp is not None and abs(slide.mpp - float(self.mpp.value)) < SAME_MPP
        given = not self.mpp.native.specialValueText() or float(self.mpp.value) != _UNKNOWN
        allow(self.use_mpp, "it is the resolution of the slide" if same else "" if given else "type the resolution first")

    def _show(self) -> None:
        slide, tissue = self.session.slide, self.session.tissue
        self.outline.enabled = slide is not None
        if slide is None and SAMPLE.told:
            self.card.setText(f"{SAMPLE.told}<br>It opens by itself.")
            self.notice.say(None)
            return
        if slide is None:
            self.card.setText("No slide yet. Open one, drop one onto the window, or try <i>File, Open Sample</i>.")
            self.notice.say(None)
            return
        self.card.setText(card(slide, tissue))
        black = _is_black(tissue)
        if slide.mpp is None and not black:
            self.notice.say("No usable resolution in this file: give it above (µm/px) before predicting.")
        elif tissue is not None and not tissue.found:
            self.notice.say(f"{tissue.reason[:1].upper()}{tissue.reason[1:]}{_MASK * black}")
        else:
            self.notice.say(None)
        if self.outline.value:
            self.bench.layers.show_tissue(True)


def _is_black(tissue: Tissue | None) -> bool:
    """Return whether nothing was found because all of the image is black."""
    if tissue is None or tissue.found:
        return False
    from napari_ifkd.slides.tissue import BLACK  # which takes OpenCV: by now whoever looked for tissue has brought it

    return tissue.reason == BLACK


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """Return the names of files, with the folder where two have the same."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else f"{path.name} ({path.parent})" for path in paths]


def card(slide: Slide, tissue: Tissue | None) -> str:
    """Return what to know of a slide, as rich text."""
    height, width = slide.shape_level0
    facts = [("Size", f"{width:,} {TIMES} {height:,} px")]
    if slide.mpp is not None:
        of_file = f"; the file says {slide.mpp_of_file:.4g}" if slide.mpp_of_file is not None else ""
        facts.append(("Extent", f"{width * slide.mpp / 1000:.2f} {TIMES} {height * slide.mpp / 1000:.2f} mm"))
        facts.append(("Resolution", f"{slide.mpp:.4g} µm/px"))
        facts.append(("", f"given by you{of_file}" if slide.mpp_source == "override" else "as the file says"))  # nothing below moves
    else:
        facts += [("Extent", "unknown"), ("Resolution", "unknown"), ("", "the file does not say")]
    stored = getattr(slide, "stored_levels", len(slide.levels))
    built = len(slide.levels) - stored
    facts.append(("Levels", f"{stored}{f' + {built} built' if built else ''}"))
    facts.append(("Objective", f"{slide.objective:g}{TIMES}" if slide.objective else "not in the file"))
    facts.append(("Vendor", slide.vendor or "not in the file"))
    if tissue is None:
        facts.append(("Tissue", "looking …"))
    elif not tissue.found:
        facts.append(("Tissue", "none found"))
    else:
        facts.append(("Tissue", area(tissue.area_mm2) if tissue.area_mm2 is not None else f"{100 * tissue.mask.mean():.0f} % of the slide"))
    rows = "".join(f"<tr><td style='padding-right:10px'>{name}</td><td>{value}</td></tr>" for name, value in facts)
    return f"<p style='margin-bottom:4px'><b>{slide.name}</b></p><table>{rows}</table>"
