"""What belongs to one viewer: its session, its layers, its runs. All docks of a viewer share it."""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.settings import get_plugin_settings
from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow

from napari_ifkd.annotations.zarr_labels import is_zarr_group
from napari_ifkd.errors import InputError
from napari_ifkd.session import Session
from napari_ifkd.slides import find_tissue
from napari_ifkd.slides.dicom import is_dicom

from .areas import Areas
from .brought import merge
from .closing import CloseWatch
from .commands import distill_command, new_run, predict_command, train_command
from .dock_shelf import DockShelf
from .drawn import USES, Drawings, Use
from .judging import Judging
from .layer_view import LayerView
from .layers import KEY, is_spare, tag
from .look import keep_on_screen, show_whole
from .memory import Memory
from .preview import Previewer
from .reader import get_reader
from .region import region_geometry
from .run_desk import RunDesk
from .settings import PACKAGE, device, runs_folder
from .strangers import Strangers
from .undo import Undos
from .verdict_marks import VerdictMarks
from .verdicts import Verdicts
from .warm_up import warm_up
from .worker import Runner, in_thread, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qtpy.QtWidgets import QWidget
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.runs.accepted import Accepted
    from napari_ifkd.session_records import Candidate
    from napari_ifkd.slides import Slide, Tissue

_BETWEEN_CHANGES_MS = 10  # of layers: time for whatever the user does meanwhile
_benches: weakref.WeakValueDictionary[int, Bench] = weakref.WeakValueDictionary()


def has_bench(viewer: Any) -> bool:
    """Return whether docks of a viewer are open."""
    return id(getattr(viewer, "__wrapped__", viewer)) in _benches


def bench_of(viewer: Any) -> Bench:
    """Return the bench of a viewer; it lives as long as a dock of the viewer does."""
    key = id(getattr(viewer, "__wrapped__", viewer))
    bench = _benches.get(key)
    if bench is None:
        _benches[key] = bench = Bench(viewer)
    return bench


class _Unpainted(QObject):
    """Keeps a canvas as it is: Qt goes on showing the picture there is. Without updates it would show none where a window is drawn anew."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let it draw no other."""
        return event is not None and event.type() == QEvent.Type.Paint


class Bench:
    """Join a viewer, a session, its layers and its runs.

    Parameters
    ----------
    viewer : napari's viewer, or the public proxy of it
    """

    device_changed = Signal()  # in Preferences, or in a dock
    folder_changed = Signal()  # in Preferences
    corrected = Signal()  # the corrections of a slide changed
    judged = Signal()  # a person answered points, or judged lesions
    shapes_drawn = Signal()  # on a layer that is none of ours

    def __init__(self, viewer: Any) -> None:
        self.undos = Undos()
        self.viewer = viewer
        self.session = Session()
        self.layers = LayerView(viewer, self.session, partial(QTimer.singleShot, _BETWEEN_CHANGES_MS), self._hold_canvas)
        self.drawings = Drawings(viewer, self.session, self.layers)
        self.verdicts = Verdicts(self.session, self.layers.masks, self.drawings)
        self.areas = Areas(self.session, self.drawings)
        self.judging = Judging(self.session)
        self.marks = VerdictMarks(viewer, self.session, self.layers, self.verdicts)
        self.previewer = Previewer(viewer, self.session, self.layers, self.drawings)
        self.runner = Runner(self.session)
        self.runs = RunDesk(self.session, self.runner, self.look_at, self._stay)
        self.memory = Memory(viewer, self.session, self.runs)
        self.closing = CloseWatch(self.runner, self.unwritten)
        self.strangers = Strangers(viewer)
        self._unpainted = _Unpainted()
        self._picks_another = False  # whether napari picks another layer in place of one that is removed
        self._window: Callable[[], QWidget | None] = lambda: None
        self.painted_on: tuple[Slide, Candidate, int, int] | None = None  # a prediction whose field is corrected, and the corner of it
        self.docks = DockShelf(viewer, self._empty)
        self.session.held = lambda: self.docks.hold
        viewer.canvas.overlays.scale_bar.visible = True
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        viewer.layers.selection.events.active.connect(self._selected)
        viewer.events.reset_view.connect(self._come_home)
        self.drawings.changed.connect(self._exclude)
        self.drawings.changed.connect(self._tell_shapes)
        self.judged.connect(self.verdicts.look)
        self.corrected.connect(self.verdicts.corrected)
        self.session.events.slide.connect(self._point_at)
        self.session.events.slide.connect(self._look_for_tissue)
        self.session.events.slide.connect(self._look_for_work)
        with suppress(KeyError):  # the manifest is not registered
            settings = get_plugin_settings(PACKAGE).runs.events
            settings.device.connect(self._device_set)
            settings.folder.connect(self._folder_set)
        self._arrived: list[Any] = [layer for layer in viewer.layers if not is_spare(layer)]  # layers that somebody else added
        self._adopt_all()
        for layer in viewer.layers:
            self._watch_shapes(layer)
        self._look_for_work()
        in_thread(warm_up, lambda _: None)

    # --- slides and runs

    def open(self, path: Path) -> None:
        """Open a slide, a run folder or a folder made by the demo; an error is told to the user."""
        if path.suffix.lower() == ".dcm" and is_dicom(path.parent):  # a slide in DICOM is a folder of such
            path = path.parent
        try:
            if (path / "run" / "run.yaml").is_file():
                for slide in sorted((path / "slide").glob("*.tif*")):
                    if not slide.stem.endswith("_truth"):
                        self.session.open(slide)
                self.runs.open(path / "run")
            elif path.is_dir() and is_zarr_group(path):  # a map: the reader knows it
                self.viewer.open(str(path), plugin=PACKAGE)
            elif path.is_dir() and not is_dicom(path):
                self.runs.open(path)
            else:
                self.session.open(path)
        except InputError as error:
            say_error(error)

    def look_at(self, slide: Slide) -> None:
        """Make one of the open slides the active one, in napari's list of layers too."""
        layer = self.layers.find("slide", slide.path)
        if layer is not None:
            self.viewer.layers.selection.active = layer
        self.session.activate(slide)

    def _stay(self, slide: Slide, accepted: Accepted | None) -> None:
        self.memory.stay(slide, run=True, accepted=accepted)

    def dropped(self, path: Path) -> None:
        """Open what was dropped onto a dock, as if it had been dropped onto the picture."""
        if path.is_dir():
            self.open(path)
            return
        try:
            self.viewer.open([str(path)], plugin=PACKAGE if get_reader(str(path)) is not None else None)
        except (InputError, OSError, ValueError) as error:  # ValueError: napari knows no reader
            say_error(error)

    def predict(self, config: Config) -> None:
        """Predict the active slide with the chosen teacher, as a run of its own; an error is told to the user."""
        session = self.session
        try:
            slide, teacher = self._needed()
            out = new_run(runs_folder(), [slide.path], "predict")
            region = region_geometry(session.region, slide, self.viewer)
            asked, keep = config.replaced(device=device()), self._keeper([slide])
            self.runner.start(
                "predict", lambda: predict_command(slide, teacher, out, region=region, config=asked, exclude=keep()), out, [slide]
            )
        except InputError as error:
            say_error(error)

    def distill(self, config: Config, *, all_slides: bool = False, patches: Path | None = None, use_drawn: bool = True) -> None:
        """Distil the chosen teacher, as a run of its own; an error is told to the user.

        Parameters
        ----------
        config : settings
        all_slides : on all open slides, and not the active one alone
        patches : folder of labelled patches to learn from too
        use_drawn : rough regions drawn on the slides label their tiles
        """
        session = self.session
        try:
            self.require_written()
            slide, teacher = self._needed()
            slides = [slide, *(other for other in session.slides if other is not slide)] if all_slides else [slide]
            for other in slides:
                other.require_mpp()
            out = new_run(runs_folder(), [each.path for each in slides], "distill")
            card = session.teacher.card if session.teacher is not None else None  # its tiles: elsewhere its maps mean little
            tiles = {"tiles.size_px": card.tile_px, "tiles.mpp": card.mpp} if card is not None else {}
            asked = config.replaced(device=device(), **tiles)
            given = session.given
            finders = [self.memory.run_of(each) for each in slides]

            def judged() -> list[Path]:
                return list(dict.fromkeys(run for find in finders if (run := find()) is not None))

            drawn, keep = self._drawn(slides) if use_drawn else {}, self._keeper(slides)
            self.runner.start(
                "distill",
                lambda: distill_command(
                    slides, teacher, out, config=asked, patches=patches, drawn=drawn, given=given, judged=judged(), exclude=keep()
                ),
                out,
                slides,
            )
        except InputError as error:
            say_error(error)

    def train(self, config: Config, patches: Path | None) -> None:
        """Train a teacher from the rough regions on all open slides, and from a patch folder; an error is told to the user."""
        drawn = self._drawn(self.session.slides)
        names = [slide.path for slide in drawn] or [patch for patch in (patches,) if patch is not None]
        if not names:
            say_error(InputError("teacher", "there is nothing to learn from", "Draw regions on a slide, or choose a patch folder"))
            return
        out, asked = new_run(runs_folder(), names, "train"), config.replaced(device=device())
        keep = self._keeper(list(drawn))
        self.runner.start("train", lambda: train_command(list(drawn.items()), patches, out, exclude=keep(), config=asked), out, drawn)

    def _drawn(self, slides: Iterable[Slide]) -> dict[Slide, dict[str, BaseGeometry]]:
        """Return the rough regions on slides, by class; without those where there are none."""
        uses: tuple[Use, ...] = ("tumour", "normal")
        drawn = {
            slide: {USES[use][1]: shape for use in uses if (shape := self.drawings.geometry(use, slide)) is not None} for slide in slides
        }
        return {slide: classes for slide, classes in drawn.items() if classes}

    def _keeper(self, slides: Iterable[Slide]) -> Callable[[], list[Path]]:
        """Return what writes the exclusions of slides as they are now, and returns the files; for a thread."""
        keepers = [self.drawings.keeper(slide) for slide in slides]
        return lambda: [path for keep in keepers if (path := keep()) is not None]

    def _needed(self) -> tuple[Slide, Path]:
        slide, teacher = self.session.slide, self.session.teacher
        if slide is None:
            raise InputError("slide", "none is open", "Open one in the Slide dock")
        slide.require_mpp()
        if teacher is None:
            raise InputError("teacher", "none is chosen", "Choose one in the Teacher dock")
        return slide, teacher.path

    def require_written(self) -> None:
        """Raise InputError where something is painted that does not count yet."""
        if slide := self.unwritten():
            raise InputError("Review, Correct", f"what is painted on {slide} is not written back", "Press Write back or Discard there")

    def unwritten(self) -> str:
        """Return the name of the slide on which something is painted that is not written back, "" if nothing is."""
        if any(not np.array_equal(layer.data, tag(layer)["before"]) for layer in self.layers.ours("correcting")):
            return "a slide" if self.painted_on is None else self.painted_on[0].name
        return ""

    # --- what happens in the viewer

    def _device_set(self, _: object) -> None:
        self.device_changed.emit()

    def _folder_set(self, _: object) -> None:
        self.folder_changed.emit()

    def _inserted(self, event: Any) -> None:
        # napari adds the layers of a run one by one: look at them when all are there, or we would add the missing ones ourselves
        if tag(event.value).get("kind") in ("slide", "mask") and not self.layers.adding:
            if not self._arrived:
                QTimer.singleShot(0, self._adopt_all)
            self._arrived.append(event.value)
        if tag(event.value).get("kind") == "brought" and "use" not in tag(event.value):
            QTimer.singleShot(0, partial(self._merge, event.value))
        self._watch_shapes(event.value)

    def _merge(self, layer: Any) -> None:
        if layer in self.viewer.layers:
            merge(self.viewer, layer)

    def _watch_shapes(self, layer: Any) -> None:
        slide = self.session.slide
        if type(layer).__name__ == "Shapes" and tag(layer).get("kind", "own") == "own":
            if any(layer.name.startswith(f"{other.name} - ") for other in self.viewer.layers if tag(other)):
                layer.name = "Shapes"  # napari calls it after the layer that was picked: it would look as if it were one of ours
            if slide is not None and not tag(layer):  # on another slide it would look as if it were of that
                layer.metadata = {**layer.metadata, KEY: {"kind": "own", "of": str(slide.path), "mpp": slide.mpp}}
            layer.events.data.connect(self._tell_shapes)
            self._tell_shapes()

    def _tell_shapes(self, _: object = None) -> None:
        if self.session.region == "shapes":  # else they mean nothing, and layers come and go all the time
            self.shapes_drawn.emit()

    def _adopt_all(self) -> None:
        arrived, self._arrived = self._arrived, []
        for layer in arrived:
            if layer in self.viewer.layers:
                self._adopt(tag(layer))

    def _adopt(self, known: dict[str, Any]) -> None:
        """Take in a slide or run that napari's reader opened."""
        try:
            if known.get("kind") == "slide" and all(str(s.path) != known["path"] for s in self.session.slides):
                self.session.open(known["path"], known.get("mpp"))
            elif (
                known.get("kind") == "mask"
                and (Path(known["run"]) / "run.yaml").is_file()
                and all(str(c.path) != known["path"] for c in self.session.candidates)
            ):
                self.runs.open(Path(known["run"]))
        except InputError as error:
            say_error(error)

    def _removed(self, event: Any) -> None:
        known = tag(event.value)
        if known.get("kind") != "slide" and not self.layers.removing:
            self._picks_another = True  # napari picks the layer below, and nobody has turned to the slide of that
            QTimer.singleShot(0, self._picked)
        if known.get("kind") == "slide":
            for slide in self.session.slides:
                if str(slide.path) == known["path"]:
                    self.session.close(slide)
        self._tell_shapes()

    def _picked(self) -> None:
        self._picks_another = False

    def _selected(self, event: Any) -> None:
        known = tag(event.value) if event.value is not None else {}
        if known.get("kind") == "slide" and self._picks_another:
            QTimer.singleShot(0, lambda: self._point_at(self.session.slide))  # at once its list would show both as picked
        elif known.get("kind") == "slide":
            for slide in self.session.slides:
                if str(slide.path) == known["path"]:
                    self.session.activate(slide)
        self._tell_shapes()  # of several layers that count which is picked

    def _point_at(self, slide: Slide | None) -> None:
        """Pick the layer of the active slide where that of another is picked: a click on what is picked already would turn to nothing."""
        selection = self.viewer.layers.selection
        picked, layer = selection.active, None if slide is None else self.layers.find("slide", slide.path)
        if None not in (picked, layer) and picked is not layer and tag(picked).get("kind") == "slide":
            selection.active = layer

    def _come_home(self, event: Any) -> None:
        """Look at the whole of the active slide: napari frames those that are hidden too."""
        if len(self.session.slides) < 2:
            return
        camera, slide = self.viewer.scene.camera, self.session.slide

        def show() -> None:
            if self.session.slide is slide is not None and camera.zoom == event.zoom:  # else it was for a moment, as when a figure is made
                show_whole(slide, self.viewer)

        extent = self.viewer.layers.extent.world[:, -2:]
        everything = np.allclose(event.center[-2:], extent.mean(0), atol=0.01 * np.ptp(extent, 0).max())  # and not layers of somebody's
        if everything:
            QTimer.singleShot(0, show)

    def _look_for_tissue(self, slide: Slide | None) -> None:
        if slide is not None and self.session.tissue is None:

            def found(tissue: Tissue) -> None:
                self.session.found_tissue(slide, tissue)

            in_thread(lambda: find_tissue(slide), found)

    def _exclude(self) -> None:
        self.layers.masks.exclude(self.drawings.excluded())

    def _look_for_work(self) -> None:
        self.runs.look_for_work(runs_folder())

    def _hold_canvas(self, held: bool) -> None:
        window = self._window()
        if window is not None and isalive(window):  # type: ignore[no-untyped-call]
            for canvas in window.findChildren(QOpenGLWidget):
                if held:
                    canvas.installEventFilter(self._unpainted)
                else:
                    canvas.removeEventFilter(self._unpainted)
                    canvas.update()

    # --- its life

    def shown_in(self, window: QWidget | None) -> None:
        """Take note of the window that a dock is shown in."""
        if isinstance(window, QMainWindow):
            if self._window() is not window:
                QTimer.singleShot(0, partial(keep_on_screen, window))
            self._window = weakref.ref(window)
            self.closing.watch(window)

    def _empty(self) -> None:
        """After the last dock the session's run is no longer followed (it goes on)."""
        self.runner.release()
        self.previewer.close()
