"""The Teacher dock: choose a network, predict, and set how the prediction looks."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QTimer
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_ifkd._plugin.measure import marked_mm2
from napari_ifkd._plugin.region import lacking_shape
from napari_ifkd._plugin.settings import device, offered_devices, runs_folder, set_device
from napari_ifkd._plugin.words import area
from napari_ifkd.config import Config
from napari_ifkd.runs.folder import RunFolder
from napari_ifkd.runs.hints import is_corrected
from napari_ifkd.session_records import BUILT_IN_TEACHER

from .dock import Dock
from .job_bar import JobBar
from .look_sliders import LookSliders
from .parts import Fold, Notice, allow, button, form, heading, offer, resolved, row, shortcut, text
from .teach import Teach

if TYPE_CHECKING:
    from napari_ifkd.runs.resolve import Resolved
    from napari_ifkd.session_records import Candidate

_NO_MODEL = "none"
_NEARLY_ALL = 0.95
_PREVIEW = "<i>Preview</i> looks at what you see, at once; <i>Predict</i> maps what the Slide dock chooses: all tissue, or a part."
_HUB, _HUB_DOES = "From hub …", "Fetch the network from a model hub, or from an address with its hash; it is kept"
_HUB_HELP = (
    "Whoever publishes a network tells its name on Hugging Face, such as organisation/repository\n"
    "(a version: @v2; one of several files: #file.safetensors),\n"
    "or an address with the hash of the file: https://...safetensors#sha256=..."
)


class TeacherDock(Dock):
    """Choose the teacher and predict with it."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        session = self.session
        self._refs: dict[str, str | Path] = {}  # of the networks to choose from, by name
        self._asked = 0  # how many networks were asked for; the last one counts
        self._fetching = False  # from far away
        self._news = ""  # of the network, until something is done with it
        self.model = ComboBox(
            choices=[(_NO_MODEL, None)], label="Model", tooltip="The network that predicts: built in, or of your models folder"
        )
        self.file = button("From file …", "Take a weights file (.safetensors)", self._choose_file)
        self.hub = button(_HUB, _HUB_DOES, self._choose_hub)
        self.from_run = button("From run …", "Take the accepted network of a run (else the last that became the teacher)", self._choose_run)
        self.device = ComboBox(
            choices=list(dict.fromkeys(("auto", device()))), value=device(), label="Device",
            tooltip="Where networks work, from the next run or preview on; auto takes a GPU where there is one",
        )  # fmt: skip
        self.card = text("What the weights file says of the network")
        self.warning = Notice()
        self.predict = button(
            "Predict", "Make the probability map of the slide, in the region chosen in the Slide dock", self._predict, main=True
        )
        self.preview = button(
            "Preview this field (W)",
            "Look at what the network says of the visible field, before the whole slide; a large field comes coarse first. Key W",
            self._preview,
        )
        self.key = shortcut(self.preview, "W", self._preview)
        self.previewed = text("What the preview is at", lines=3)
        self.progress = JobBar(self.bench, "predict")
        self.marked = text("What the mask on the screen covers, of all that the network looked at")
        self.heat = CheckBox(value=session.heat, text="Heat map", tooltip="Show the probability itself below the mask")
        sliders = LookSliders(self, "threshold", "sigma_px", "opacity")
        self.threshold, self.smoothing, self.opacity = sliders["threshold"], sliders["sigma_px"], sliders["opacity"]
        self.add(
            form(self.model, self.device).native,
            row(self.file, self.hub, self.from_run, stretch=(1, 1, 1)),
            self.card,
            self.preview,
            self.predict,
            self.warning,  # below: where one comes, the buttons stay under the mouse
            self.previewed,
        )
        self.teach = Teach(self)
        self.teach_fold = Fold("Teach it yourself", "Train a small teacher from rough regions, or from a patch folder", self.teach)
        self.add(self.teach_fold)
        sliders_form = form(self.threshold, self.smoothing, self.opacity).native
        # what comes and goes below the sliders: they stay under the mouse
        self.add(heading("Prediction"), self.heat.native, sliders_form, self.progress, self.marked)
        self.heat.changed.connect(lambda heat: session.look(heat=bool(heat)))
        self.model.changed.connect(self._choose_named)
        self.device.changed.connect(set_device)
        self.listen("teacher", "slide", to=self._show_teacher)
        self.listen("job", "teacher", "slide", "candidates", "region", to=self._show_job)
        self.listen("shown", to=self.progress.update_job)
        self.listen("kept_threshold", to=self.progress.update_job)
        self.hear(self.bench.listed.shapes_drawn, self._show_job)
        self.hear(self.bench.previewer.told, self._show_preview)
        self._show_preview()
        self.listen("heat", to=self._show_heat)
        self._measured: Candidate | None = None  # whose mask is told of
        self._measuring, self._stale = False, False  # whether a mask is being measured, and whether it is another by now
        self.listen("slide", "shown", "threshold", "sigma_px", to=self._measure)
        self.hear(self.bench.layers.masks.changed, self._measure)
        self.column.addStretch(1)
        self.in_thread(_known_models, self._offer)
        self._devices: list[str] = ["auto"]
        self.in_thread(offered_devices, self._offer_devices)
        self.hear(self.bench.device_changed, lambda: self._offer_devices(self._devices))

    # --- which network

    def _offer(self, names: list[str]) -> None:
        chosen = self.session.teacher
        self._refs = {**{name: name for name in names}, **self._refs, **({} if chosen is None else {chosen.label: chosen.path})}
        self._list_models()
        if chosen is None and names and not self._asked:
            self.choose(BUILT_IN_TEACHER if BUILT_IN_TEACHER in names else names[0], default=True)

    def _list_models(self) -> None:
        chosen = self.session.teacher
        offer(self.model, [(name, name) for name in self._refs], None if chosen is None else chosen.label, _NO_MODEL)

    def _offer_devices(self, names: list[str]) -> None:
        self._devices = names  # Preferences take those of other machines too: only the one that is chosen is listed
        with self.device.changed.blocked():
            self.device.choices = list(dict.fromkeys((*names, device())))
            self.device.value = device()

    def _choose_named(self, name: str | None) -> None:
        if name and (self.session.teacher is None or name != self.session.teacher.label):
            self.choose(self._refs[name], name)

    def _choose_file(self) -> None:
        chosen = self.session.teacher
        near = runs_folder() if chosen is None or chosen.label == BUILT_IN_TEACHER else chosen.path.parent
        path, _ = QFileDialog.getOpenFileName(self, "Choose the weights of a network", str(near), "Weights (*.safetensors)")
        if path:
            self.choose(Path(path))

    def _choose_hub(self) -> None:
        if self._fetching:  # what comes after all is not taken
            self._asked += 1
            self._show_fetching(False)
            self._show_teacher()
            return
        ref, ok = QInputDialog.getText(self, "Take a network from a hub", _HUB_HELP)
        if ok and ref.strip():
            self.choose(ref.strip() if ":" in ref else f"hf-hub:{ref.strip()}")

    def _choose_run(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Take the network of a run", str(runs_folder()))
        if path:
            self.choose(Path(path))

    def choose(self, ref: str | Path, label: str | None = None, *, default: bool = False, news: str = "") -> None:
        """Choose a network; it may have to be fetched: the window does not wait.

        Parameters
        ----------
        ref : name, file or run
        label : what it is called here, None by what is found
        default : only unless there is one
        news : to tell of it, where nobody asked for it just now
        """
        self._asked += 1
        asked = self._asked

        def found(teacher: Resolved) -> None:
            if asked == self._asked:  # else another came meanwhile, or nobody waits for it any more
                self._show_fetching(False)
            if asked == self._asked and not (default and self.session.teacher is not None):
                self.session.choose_teacher(teacher if label is None else replace(teacher, label=label))
                self._show_teacher()
                self._news = news
                self._show_preview()

        def failed(error: Exception) -> None:
            if asked == self._asked:
                self._show_fetching(False)
                self._show_teacher()
                self.say_error(error)

        self._show_fetching(isinstance(ref, str) and ":" in ref)
        self.card.setText(f"Getting {escape(str(ref))} …")
        self.in_thread(lambda: resolved(ref), found, failed)

    def _show_fetching(self, fetching: bool) -> None:
        self._fetching = fetching
        self.hub.setText("Stop fetching" if fetching else _HUB)
        self.hub.setToolTip("Keep the network there is, and wait no more" if fetching else _HUB_DOES)

    def _show_teacher(self) -> None:
        teacher, self._news = self.session.teacher, ""
        self.warning.say(*self.session.warnings())
        if teacher is None:
            self._refs = {name: ref for name, ref in self._refs.items() if isinstance(ref, str) or ref.exists()}  # it may be deleted
            self._list_models()
            self.card.setText("No network is chosen. Pick one above.")
            return
        self._refs[teacher.label] = teacher.path  # of two that are called alike, the one chosen last
        self._list_models()
        self.card.setText(card(teacher))
        self.card.setToolTip(f"What the weights file says of the network: {teacher.path}")

    # --- predicting

    def _predict(self) -> None:
        self._news = ""
        self.bench.predict(Config())
        QTimer.singleShot(0, self._look_on)

    def _look_on(self) -> None:
        port = self.viewport() if isalive(self) else None  # type: ignore[no-untyped-call]
        if port is not None and self.progress.mapTo(port, QPoint()).y() >= port.height():  # none of it is seen, as with a fold open
            self.ensureWidgetVisible(self.progress, 0, 0)

    def _preview(self) -> None:
        self._news = ""
        self.bench.previewer.look()

    def _show_job(self) -> None:
        allow(self.predict, self._why_not())
        allow(self.preview, self.lacking(idle=False))
        self.progress.update_job()
        self._show_preview()

    def _why_not(self) -> str:
        return self.lacking() or lacking_shape(self.session.region, self.session.slide, self.bench.viewer)

    def _show_preview(self) -> None:
        why_not, job = self._why_not(), self.session.job
        at_work = job is not None and job.alive and job.act == "predict"
        told = "Predicting: its progress is below." if at_work else f"Predict cannot begin: {why_not}." if why_not else ""
        self.previewed.setText(self._news or self.bench.previewer.state or told or _PREVIEW)

    # --- how it looks

    def came(self) -> None:
        """Measure what is seen by now, and look into the patch folder again if it would not do."""
        self._measure()
        self.teach.look_again()

    def _measure(self) -> None:
        """Tell the area of the mask that is seen; one is measured at a time, and none while nobody looks at the dock."""
        shown = self.session.shown
        if shown != self._measured:
            self._measured = shown
            self.marked.setText("")
        if self._measuring or shown is None or not self.seen:
            self._stale = self._measuring
            return
        masks = self.bench.layers.masks
        self._measuring, self._stale = True, False

        def work() -> tuple[float, float, bool]:
            corrected = is_corrected(RunFolder(shown.run), shown.slide)
            # which cuts out what is excluded: not on the Qt thread
            return *marked_mm2(masks.of(shown), masks.heat(shown), shown.found), corrected

        def measured(found: tuple[float, float, bool] | None) -> None:
            self._measuring = False
            if self._stale:
                self._measure()
            elif found is not None and self.session.shown == shown:
                rejected = self.bench.verdicts.rejected(shown)
                label = f"{shown.label} ({shown.model})" if shown.round == 0 and shown.model and shown.act == "distill" else shown.label
                old = self.session.outdated(shown)
                self.marked.setText(_marked(label, *found, rejected=rejected) + (f" {old}" if old else ""))

        self.in_thread(work, measured, lambda _: measured(None))  # a run that was deleted meanwhile

    def _show_heat(self) -> None:
        with self.heat.changed.blocked():
            self.heat.value = self.session.heat


def _marked(label: str, mm2: float, looked_at_mm2: float, corrected: bool, *, rejected: int) -> str:
    """Say what a mask covers; where that is next to all, or nothing, what to do."""
    if looked_at_mm2 == 0:
        return f"All that <b>{escape(label)}</b> looked at is excluded."
    share = mm2 / looked_at_mm2
    without = f" without {rejected} rejected lesion{'s' * (rejected > 1)}" * bool(rejected)
    said = f"<b>{escape(label)}</b> marks {area(mm2)}{without}, {share:.0%} of what it looked at."
    said += " Corrections are not regarded." if corrected else ""
    if mm2 == 0:
        return f"<b>{escape(label)}</b> marks nothing: a lower threshold marks more."
    return said if share < _NEARLY_ALL else f"{said} That is nearly all: a higher threshold marks less, if the network knows this tissue."


def card(teacher: Resolved) -> str:
    """Return what to know of a network, as rich text."""
    known = teacher.card
    facts = [("Network", f"{known.network.name}, {known.mpp:g} µm/px, {known.tile_px}-px tiles")]
    if known.trained_on:
        facts.append(("Trained on", known.trained_on))
    if known.licence:
        facts.append(("Licence", known.licence))
    rows = "".join(f"<tr><td style='padding-right:10px'>{name}</td><td>{escape(value)}</td></tr>" for name, value in facts)
    return f"<b>{escape(teacher.label)}</b><table>{rows}</table>"


def _known_models() -> list[str]:
    from napari_ifkd.models import list_models

    return [entry.name for entry in list_models() if entry.available]
