"""The page that compares two predictions: modes, the places where they differ most, agreement, files of other programs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QSizePolicy

from napari_ifkd._plugin.brought import MASK_FILES
from napari_ifkd._plugin.compared import file_candidate
from napari_ifkd._plugin.layers import tag
from napari_ifkd._plugin.look import field_px, go_to
from napari_ifkd._plugin.measure import Agreement, agreement, disagreements, same_grid
from napari_ifkd._plugin.palette import BOTH, STUDENT, TEACHER, UNSURE
from napari_ifkd._plugin.settings import runs_folder
from napari_ifkd._plugin.words import LOOKING, area, lapsed, marks
from napari_ifkd.config import Config

from .flicker import Flicker
from .look_sliders import LookSliders
from .modes import MODES, Modes
from .page import Page
from .parts import button, form, offer, row, shortcut, text

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate

    from .dock import Dock

_ROOM = 20  # letters of a name beside the button of files
_RESTED_MS = 400  # after the view moved
_ACROSS_UM = 300.0
_DIFFERS = "Where they differ"


class ComparePage(Page):
    """Look at two predictions, one against the other; `corrections_asked` tells that corrections are to be read and shown."""

    corrections_asked = Signal()

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self.mode = Modes()
        self.a = ComboBox(choices=[("none", None)], label="A", tooltip="First prediction: orange beside B")
        self.b = ComboBox(choices=[("none", None)], label="B", tooltip="Second prediction: blue beside A")
        self.opacity = LookSliders(dock, "opacity")["opacity"]
        self.legend = text("Colours of the comparison", lines=2)
        self.place = QLabel()
        self.place.setToolTip("Which of the places where A and B differ most is in the middle of the picture")
        self.place.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.place.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.numbers = text("How far A and B agree at the threshold that is set, without what was rejected or excluded")
        self.in_field = QCheckBox("Agreement of the visible field only")
        self.in_field.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.in_field.setToolTip("Agreement of A and B where you look, and not over the whole slide")
        self.corrections = QCheckBox("Show corrections")
        self.corrections.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.corrections.setChecked(True)
        self._wanted = True  # whether corrections are to be seen when they come
        self._corrected = False  # whether there are any
        self.corrections.setToolTip("Show what was corrected on this slide above the predictions, which do not know of it")
        self.last = button("◀", "Go to the place before, of those where A and B differ most. Key Shift+D", lambda: self._differ(-1))
        self.next = button("▶ (D)", "Go to the next place, from where A and B differ most. Key D", lambda: self._differ(1))
        self.flick = button(
            "A / B (F)", "Show A, then B. Hold the key F to flicker between them: let go, and all is as before", self._flick
        )
        self.flicker = Flicker(self, self._session, Qt.Key.Key_F)
        self.mode.beside(self.flick)
        self.jumps = row(self.last, self.place, self.next, stretch=(1, 2, 1))
        self.file = button("File …", "Compare with a mask, or regions, of another program: take it as B", self._ask_file)
        comparing = {"D": lambda: self._differ(1), "Shift+D": lambda: self._differ(-1), "F": self.flicker.begin}
        self.keys = {key: shortcut(self.jumps, key, act) for key, act in comparing.items()}
        self._places: list[tuple[float, float]] | None = None  # where A and B differ, None where nobody looked for them
        self._at = -1
        self._looks = self._measures = 0  # how often other masks were compared, and how often they were measured
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(_RESTED_MS)
        self._moved.timeout.connect(self._measure)
        pair, opacity = row(form(self.a, self.b).native, self.file, stretch=(1, 0), low=True), form(self.opacity).native
        self.fill(self.mode, pair, opacity, self.jumps, self.legend, self.corrections, self.in_field, self.numbers)
        self.a.changed.connect(self._pick_pair)
        self.b.changed.connect(self._pick_pair)
        self.mode.picked.connect(self._pick_mode)
        self.in_field.toggled.connect(lambda _: self._measure())
        self.corrections.toggled.connect(self._show_corrections)
        self._viewer.layers.events.inserted.connect(self._layer_came)
        self._viewer.layers.events.removed.connect(self._offer_corrections)
        self.destroyed.connect(lambda: self._deafen())  # a bound method of what goes is not called
        self._offer_corrections()
        camera = self._viewer.scene.camera
        camera.events.center.connect(self._look_elsewhere)
        camera.events.zoom.connect(self._look_elsewhere)
        dock.listen("candidates", "files", "slide", "shown", "a", "b", to=self._show_choices)
        dock.listen("a", "b", "threshold", "sigma_px", to=self._look_again)
        dock.hear(dock.bench.verdicts.settled_down, self._found_rejected)
        dock.hear(dock.bench.layers.masks.changed, self._leave_out, 1)
        dock.listen("a", "b", "compare", to=self._show_mode)
        dock.hear(dock.bench.layers.steps.rested, self._show_legend)

    @property
    def corrected(self) -> bool:
        """Whether there are corrections of what is shown."""
        return self._corrected

    # --- picking

    def _ask_file(self) -> None:
        slide = self._session.slide
        path, _ = QFileDialog.getOpenFileName(self, "Compare with a file", "" if slide is None else str(slide.path.parent), MASK_FILES)
        if path:
            self.compare_file(Path(path))

    def compare_file(self, path: Path) -> None:
        """Read what another program marked on the active slide, and compare with it."""
        slide, a = self._session.slide, self._session.a
        if slide is None:
            return
        mpp = Config().tiles.mpp if a is None else a.found.mpp
        folder, threshold, sigma_px = runs_folder() / "compared", self._session.threshold, self._session.sigma_px

        def failed(error: Exception) -> None:
            self._show_choices()
            self._dock.say_error(error)

        self.file.setEnabled(False)
        self.file.setText("Reading …")

        def compare(candidate: Candidate) -> None:
            self._session.compare_file(candidate)
            if self._session.compare == "off" and self._session.slide is slide:  # else nothing of it would be seen
                self._pick_mode("overlay")

        self._dock.in_thread(lambda: file_candidate(path, slide, folder, mpp, threshold, sigma_px), compare, failed)

    def _pick_pair(self, _: Any) -> None:
        a, b, session = self.a.value, self.b.value, self._session
        if a is not None and a == b:  # who chooses the one as the other, too, changes them round
            a, b = (a, session.a) if session.a != a else (session.b, b)
        session.set_pair(a, b)
        if self._session.compare == "disagreement":  # whether they can be compared so
            self._pick_mode("disagreement")
        self._show_alone()

    def _pick_mode(self, mode: Any) -> None:
        a, b = self._session.a, self._session.b
        if mode == "disagreement" and a is not None and b is not None and not same_grid(a.found, b.found):
            self._dock.say_error(
                "A and B were made at different resolutions, so they cannot be compared pixel by pixel. Use Overlay or Contours."
            )
            mode = "overlay"
        self._session.set_compare(mode)
        self._dock.bench.layers.refresh()  # a layer may have been deleted in napari's list
        self._show_alone()

    def _show_alone(self) -> None:
        """Let what is seen alone be what the dock speaks of, and accepts."""
        alone = self._session.alone
        if alone in self._session.here():
            self._session.show(alone)

    def _flick(self) -> None:
        """Show the other of A and B."""
        self._pick_mode("b" if self._session.compare == "a" else "a")

    def _differ(self, by: int) -> None:
        """Go to where A and B differ; the places are looked for when first asked."""
        session = self._session
        a, b, slide = session.a, session.b, session.slide
        if a is None or b is None or slide is None or not same_grid(a.found, b.found):
            return
        if self._places is None:
            asked, masks = self._looks, self._dock.bench.layers.masks
            self.place.setText("Looking …")

            def found(places: list[tuple[float, float]]) -> None:
                if asked == self._looks:  # else they are others by now
                    self._places, self._at = places, -1
                    self._differ(1)

            self._dock.in_thread(lambda: disagreements(masks.disagreement(a, b), a.found), found)
        elif self._places:
            self._at = (self._at + by) % len(self._places)
            go_to(slide, self._viewer, *self._places[self._at], _ACROSS_UM)
            self.place.setText(f"Place {self._at + 1} of {len(self._places)}")
        else:
            self.place.setText("They differ nowhere")

    def _leave_out(self, paths: Collection[str] | None) -> None:
        pair = {str(one.path) for one in (self._session.a, self._session.b) if one is not None}
        if paths is None or pair & set(paths):
            self._look_again()

    def _found_rejected(self) -> None:
        if LOOKING in self.numbers.text():
            self._measure()

    def _look_again(self) -> None:
        """Forget where the masks differed that were compared, and measure those that are."""
        self._places, self._at = None, -1
        self._looks += 1
        self.place.setText(_DIFFERS)
        self._measure()

    def _look_elsewhere(self, _: Any = None) -> None:
        if self.in_field.isChecked():
            self._moved.start()

    def _show_corrections(self, shown: bool) -> None:
        self._wanted = shown
        layers = list(self._dock.bench.layers.ours("corrections"))
        for layer in layers:
            layer.visible = shown
        if shown and not layers:  # it was deleted in napari's list
            self.corrections_asked.emit()

    def _layer_came(self, event: Any) -> None:
        layer = event.value
        if tag(layer).get("kind") == "corrections":
            layer.visible = self._wanted
            self._dock.bench.layers.hide_meanwhile(layer)
            layer.events.visible.connect(self._note_eye)  # who closes the eye of the layer has hidden them here too
            self._offer_corrections()

    def _note_eye(self, event: Any) -> None:
        if not self._dock.bench.layers.blind:
            self._wanted = event.source.visible
        self._offer_corrections()

    def know_corrections(self, there: bool) -> None:
        """Take note of whether there are corrections of what is shown."""
        if there != self._corrected:
            self._corrected = there
            self._measure()
        self._offer_corrections()

    def _offer_corrections(self, _: Any = None) -> None:
        layer = next(self._dock.bench.layers.ours("corrections"), None)
        self.corrections.setVisible(layer is not None or self._corrected)
        with QSignalBlocker(self.corrections):
            self.corrections.setChecked(layer is not None and layer.visible)

    def _deafen(self) -> None:
        self._viewer.layers.events.inserted.disconnect(self._layer_came)
        self._viewer.layers.events.removed.disconnect(self._offer_corrections)

    # --- showing

    def _show_choices(self) -> None:
        session = self._session
        for box, value in ((self.a, session.a), (self.b, session.b)):
            offer(box, [(candidate.label, candidate) for candidate in session.comparable()], value, "none", _ROOM)
        there = [one for one in (session.a, session.b) if one is not None]
        self.mode.allow(MODES if len(there) > 1 else ("off", "uncertainty") if there else ())
        self.file.setEnabled(session.slide is not None and session.slide.mpp is not None)
        self.file.setText("File …")

    def _show_mode(self) -> None:
        session = self._session
        for part in (self.jumps, self.flick):
            part.setEnabled(session.a is not None and session.b is not None)
        self._show_legend()

    def _show_legend(self) -> None:
        """Tell how, and in what colours, is seen what is seen by now: on a slow machine it comes after what was asked for."""
        if self._dock.bench.layers.settled:
            self.mode.show_mode(self._session.compare if self._session.comparing else "off")
            self.legend.setText(_legend(self._session))

    def _measure(self) -> None:
        a, b, slide = self._session.a, self._session.b, self._session.slide
        self.numbers.setText("")
        self._measures += 1
        if a is None or b is None:
            return
        asked, grid = self._measures, a.found

        def measured(found: Agreement) -> None:
            if asked == self._measures:  # else others are compared by now
                verdicts, said = self._dock.bench.verdicts, []
                said += [
                    f"{escape(one.label)} looked at a region only: what lies elsewhere does not count." for one in (a, b) if one.of_region
                ]
                rejected = any(map(verdicts.rejected, (a, b)))
                said += [_numbers(found, in_field=field is not None, corrected=self._corrected, rejected=rejected)]
                gone: dict[int, list[str]] = {}  # of both in one line, where as many are
                for one in (a, b):
                    gone.setdefault(verdicts.unused(one), []).append(escape(one.label))
                said += [f"{' and '.join(labels)}: {lapsed(unused)}" for unused, labels in gone.items() if unused]
                said += [LOOKING] if any(map(verdicts.pending, (a, b))) else []
                self.numbers.setText("<br>".join(said))

        if same_grid(a.found, b.found):
            masks = self._dock.bench.layers.masks
            field = field_px(slide, self._viewer) if self.in_field.isChecked() and slide is not None else None
            self._dock.in_thread(lambda: agreement(masks.disagreement(a, b), grid, field), measured)
        else:
            self.numbers.setText("A and B were made at different resolutions: no agreement can be told.")


def _legend(session: Session) -> str:
    a, b, mode = session.a, session.b, session.compare
    if mode == "uncertainty" and session.unsure is not None:
        told = "marks what it marks: it is nowhere unsure" if session.unsure.act == "file" else "is unsure, the greener the more"
        return _told(UNSURE, f"{escape(session.unsure.label)} {told}")
    if a is None or b is None or mode == "off":
        return ""
    first, second = (TEACHER, escape(a.label)), (STUDENT, escape(b.label))
    parts = {
        "side by side": [(TEACHER, f"left: {first[1]}"), (STUDENT, f"right: {second[1]}")],
        "disagreement": [(TEACHER, f"{first[1]} only"), (STUDENT, f"{second[1]} only"), (BOTH, "both")],
        "a": [first],
        "b": [second],
    }.get(mode, [first, second])
    mixed = ["mixed: both"] if mode == "overlay" else []
    return " &nbsp; ".join([*(_told(colour, name) for colour, name in parts), *mixed])


def _told(colour: str, name: str) -> str:
    return f"<span style='color:{colour}'>■</span> {name}"


def _numbers(found: Agreement, *, in_field: bool, corrected: bool, rejected: bool) -> str:
    f1 = "both are empty" if found.f1 is None else f"<b>F1 {found.f1:.3f}</b>"
    where, apart = " in the field" if in_field else " on the slide", ", without rejected lesions" if rejected else ""
    apart += ", corrections not regarded" if corrected else ""
    a, b = found.a_only_mm2 + found.both_mm2, found.b_only_mm2 + found.both_mm2
    more = f"; B {marks(b / a)}" if a > 0 else ""
    only = f"A only {area(found.a_only_mm2)}, B only {area(found.b_only_mm2)}<br>both {area(found.both_mm2)}{more}"
    return f"Agreement{where}: {f1}{apart}<br>{only}"
