"""Bring in what another program drew: to look at, as corrections, or for the next distillation."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from napari_ifkd._plugin.brought import BROUGHT, MASK_FILES, brought_layer, called, laid, lay
from napari_ifkd._plugin.layers import KEY, tag
from napari_ifkd._plugin.settings import runs_folder
from napari_ifkd._plugin.trouble import TROUBLE
from napari_ifkd._plugin.undo import Before
from napari_ifkd._plugin.verdicts import gave_way
from napari_ifkd._plugin.words import area
from napari_ifkd.annotations import read_regions
from napari_ifkd.annotations.images import is_image
from napari_ifkd.annotations.told import provenance_in
from napari_ifkd.config import Config
from napari_ifkd.errors import InputError
from napari_ifkd.export.incoming import import_corrections, import_mask
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.reference import ReferenceMask

from .parts import button, row, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.session_records import GivenUse
    from napari_ifkd.slides import Slide

    from .dock import Dock

USES = {
    "Look at it": ("look", "Show it as a layer on the slide"),
    "Corrections": (
        "corrections",
        "Paint it into the corrections of the run that is shown: it wins in every export, and teaches the next round",
    ),
    "Reference": ("reference", "Let it choose round and threshold of the next distillation of this slide; nothing learns from it"),
    "Weak regions": ("regions", "Let the next distillation of this slide learn from it as rough labels: tumour, no tumour, exclusion"),
}
_LAID_OUT_MS = 50  # after which what is told has its place
GIVEN: dict[GivenUse, str] = {"reference": "Reference", "regions": "Weak regions"}


class BringIn(QWidget):
    """A file, what to use it as, and a button.

    Parameters
    ----------
    dock : it is part of
    """

    done = Signal()

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._dock, self._busy = dock, False
        self._of: Path | None = None  # the slide that a file is brought to
        self.file = FileEdit(
            mode=FileDialogMode.EXISTING_FILE,
            filter=MASK_FILES,
            tooltip="GeoJSON, ASAP XML, OME-TIFF, OME-Zarr or PNG, drawn on the active slide",
        )
        self.file.choose_btn.text, self.file.choose_btn.tooltip = "…", "Choose a file"
        self.file.line_edit.native.setPlaceholderText("mask or regions of this slide")
        self.use = QComboBox()
        self.use.addItems(list(USES))
        self.use.setToolTip("\n".join(f"{name}: {what}" for name, (_, what) in USES.items()))
        self.tumour = QLineEdit()
        self.tumour.setPlaceholderText("tumour class")
        self.tumour.setToolTip("Class that means tumour, where it is not called so; several with commas between. Empty: Tumor, positive, …")
        self.rest = QCheckBox("All else is normal")
        self.rest.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.rest.setToolTip("The file is the whole truth: what it does not mark is normal, wherever the run looked")
        self.bring = button("Bring in", "Read the file and use it as chosen", self._bring)
        self.told = text("What was brought in")
        self.given = {use: text("For the next distillation of this slide") for use in GIVEN}
        self.forget = {
            use: button("Forget", f"Leave this {what.lower()} out of the next distillation", partial(self._forget, use))
            for use, what in GIVEN.items()
        }
        self._rows = {use: row(self.given[use], self.forget[use], stretch=(1, 0)) for use in GIVEN}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        for part in (
            self.file.native,
            row(self.use, self.tumour, stretch=(0, 1)),
            self.rest,
            self.bring,
            self.told,
            *self._rows.values(),
        ):
            layout.addWidget(part)
        self.use.currentTextChanged.connect(self._explain)
        self.file.changed.connect(lambda _: self._show())
        for changed in (self.file.changed, self.use.currentIndexChanged):
            changed.connect(lambda _: TROUBLE.clear())  # what was wrong was so with another
        dock.listen("slide", to=self._turn)
        dock.listen("slide", "shown", "given", to=self._show)

    def _turn(self) -> None:
        """Take back what was said of another slide."""
        slide = self._dock.session.slide
        here = None if slide is None else slide.path
        if here == self._of:
            return
        self._of = here
        self.rest.setChecked(False)
        self.use.setCurrentIndex(0)
        self.file.line_edit.value = ""
        if not self._busy:
            self.told.setText("")

    def _explain(self, use: str) -> None:
        self.told.setText(f"{USES[use][1]}.")
        self._show()
        QTimer.singleShot(_LAID_OUT_MS, self._show_told)

    def _kind(self) -> str:
        return USES[self.use.currentText()][0]

    def _show(self) -> None:
        session, kind, path = self._dock.session, self._kind(), Path(str(self.file.value))
        self.rest.setVisible(kind == "corrections")
        self.tumour.setVisible(kind == "corrections")
        ready = session.slide is not None and path.name != "" and path.exists() and (kind != "corrections" or session.shown is not None)
        self.bring.setEnabled(ready and not self._busy)
        given = session.given_here()
        for use, what in GIVEN.items():
            self._rows[use].setVisible(use in given)
            if use in given:
                self.given[use].setText(f"{what}: {escape(called(given[use]))}")

    def _bring(self) -> None:
        session, kind, path = self._dock.session, self._kind(), Path(str(self.file.value))
        slide, shown = session.slide, session.shown
        if slide is None:
            return
        classes = [name for name in self.tumour.text().split(",") if name.strip()]
        rest, bench = self.rest.isChecked(), self._dock.bench
        mask = None if shown is None else bench.verdicts.mask(shown)

        def work() -> tuple[Any, str, Path]:
            if kind == "corrections" and mask is not None:
                run = RunFolder.open(mask.of.run)
                undone: list[Before] = []  # as they were when it was taken back: the file may be another by then

                def paint() -> tuple[str, Callable[[], None]]:
                    before = Before(run.corrections_path(slide.name))

                    def back() -> None:
                        undone.append(Before(run.corrections_path(slide.name)))
                        before.restore()

                    if undone:
                        undone.pop().restore()
                        return "", back
                    try:
                        painted, notes = import_corrections(path, slide, run, tumour=classes, rest_is_normal=rest)
                    except BaseException:
                        before.restore()  # it may have painted a part
                        raise
                    said = f"Corrections: {area(painted.area_mm2(2))} tumour, {area(painted.area_mm2(1))} normal."
                    does = "They win in every export and teach the next distillation; Review, Correct can undo this."
                    return "<br>".join([said, does, *notes]), back

                path_of = run.corrections_path(slide.name)
                said, lesions = bench.undos.act(path_of, lambda: bench.verdicts.paint_over(mask, path_of, paint))
                return None, "<br>".join(filter(None, (said, gave_way(lesions)))), path
            layer = brought_layer(path, slide)
            left_out = _left_out(layer[1]["metadata"][KEY].get("left_out", 0))
            ours = kind in ("reference", "regions") and provenance_in(path) is not None
            if kind == "reference":  # read now: a bad file is told before a run begins
                with ReferenceMask(path, slide):
                    pass
            elif kind == "regions":
                drawn = path
                if is_image(path):  # weak regions are drawn: go round what is marked
                    drawn = runs_folder() / BROUGHT / slide.name / f"{path.name}.geojson"
                    import_mask(path, slide, drawn, mpp=Config().tiles.mpp)
                regions = read_regions(drawn, slide)
                if all(region.meaning == "other" for region in regions):
                    raise InputError(path, "has no region of a known class", "Classify its regions as Tumor, Normal or Exclusion")
                note = "<br>This program made it: the rounds learn what a network said, as if a person had." if ours else ""
                return layer, f"The next distillation of this slide learns from it.{note}{left_out}", drawn
            chooses = "It chooses round and threshold of the next distillation, if that is of this slide only."
            chooses += "<br>This program made it: the rounds are held against what a network said." if ours else ""
            if kind == "reference":
                return layer, f"{chooses}{left_out}", path
            if not any(map(np.any, layer[0])):  # of its levels, or rows
                return None, "It marks nothing: no layer was made.", path
            return layer, f"Laid on the slide as a layer: delete the layer to remove it.{left_out}", path

        self._busy = True
        self.told.setText("Reading …")
        self._show()
        self._dock.in_thread(work, lambda found: self._done(slide, kind, *found), self._failed)

    def _show_told(self) -> None:
        if isalive(self):  # type: ignore[no-untyped-call]
            self._dock.ensureWidgetVisible(self.told)  # on a low screen too

    def _done(self, slide: Slide, kind: str, layer: Any, said: str, path: Path) -> None:
        self._busy = False
        if all(one.path != slide.path for one in self._dock.session.slides):  # it was closed meanwhile
            self._show()
            self.done.emit()
            return
        given = [one.path for one in self._dock.session.given if (one.slide, one.use) == (slide.name, kind)]
        former = given[0] if given else path
        if layer is not None:
            lay(self._dock.bench.viewer, layer, kind, visible=slide is self._dock.session.slide)
        if kind in ("reference", "regions"):
            if former != path:
                said += f"<br>It takes the place of {called(former)}."
            self._dock.session.give(kind, path, slide)  # type: ignore[arg-type] # one of the two
            self._dock.bench.areas.look()  # the same file may say something else by now
            other: GivenUse = "regions" if kind == "reference" else "reference"
            source = layer[1]["metadata"][KEY]["path"]
            if any(tag(one)["path"] == source for one in laid(self._dock.bench.viewer, slide, other)):
                said += f"<br>⚠ It is the {GIVEN[other].lower()} too: what is learnt from does not judge."
        self.told.setText(said if slide is self._dock.session.slide else "")
        QTimer.singleShot(_LAID_OUT_MS, self._show_told)
        self._show()
        if kind == "corrections":
            self._dock.bench.corrected.emit()
            self._dock.bench.judged.emit()  # rejected lesions may have given way
        self.done.emit()

    def _failed(self, error: Exception) -> None:
        self._busy = False
        self.told.setText("")
        self._show()
        self._dock.say_error(error)

    def _forget(self, use: GivenUse) -> None:
        viewer, slide = self._dock.bench.viewer, self._dock.session.slide
        if slide is None:
            return
        self._dock.session.give(use, None)
        for layer in laid(viewer, slide, use):
            viewer.layers.remove(layer)
        self.told.setText("")


def _left_out(count: int) -> str:
    """Tell what of a file marks no area."""
    if not count:
        return ""
    return f"<br>{f'{count} points and lines are' if count > 1 else 'A point or line is'} left out: no area."
