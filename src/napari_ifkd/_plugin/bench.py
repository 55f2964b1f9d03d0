"""What belongs to one viewer: its session, its layers, its runs. All docks of a viewer share it."""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import partial
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
from .closing import CloseWatch
from .commands import distill_command, new_run, predict_command, train_command
from .dock_shelf import DockShelf
from .drawn import USES, Drawings, Use
from .judging import Judging
from .layer_view import LayerView
from .layers import tag
from .listed import Listed
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
    from pathlib import Path

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
        self._window: Callable[[], QWidget | None] = lambda: None
        self.painted_on: tuple[Slide, Candidate, int, int] | None = None  # a prediction whose field is corrected, and the corner of it
        self.docks = DockShelf(viewer, self._empty)
        self.session.held = lambda: self.docks.hold
        viewer.canvas.overlays.scale_bar.visible = True
        self.listed = Listed(viewer, self.session, self.layers, self.runs)
        viewer.events.reset_view.connect(self._come_home)
        self.drawings.changed.connect(self._exclude)
        self.drawings.changed.connect(self.listed.tell_shapes)
        self.judged.connect(self.verdicts.look)
        self.corrected.connect(self.verdicts.corrected)
        self.session.events.slide.connect(self._look_for_tissue)
        self.session.events.slide.connect(self._look_for_work)
        with suppress(KeyError):  # the manifest is not registered
            settings = get_plugin_settings(PACKAGE).runs.events
            settings.device.connect(self._device_set)
            settings.folder.connect(self._folder_set)
        self.listed.begin()
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

            def failed(error: Exception) -> None:
                if slide in self.session.slides:  # else it was closed meanwhile
                    say_error(error)

            in_thread(lambda: find_tissue(slide), found, failed)

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
