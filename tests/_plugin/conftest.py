"""A real viewer with the docks, and hands to click."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("napari", reason="the window needs napari")
pytest.importorskip("pytestqt", reason="the window is tested with pytest-qt")

# The fixtures train a small network in this process, which napari itself never does. Triton, which torch loads for its optimisers, and
# Mesa's software OpenGL each bring an LLVM; loading Triton's second is a segmentation fault. This part of Triton is all that matters,
# and loads ten times faster than what would bring it along.
with suppress(ImportError):  # torch brings it along where it has it
    import_module("triton._C.libtriton")


@pytest.fixture(scope="session")
def _frozen() -> Iterator[None]:
    yield
    gc.unfreeze()  # libraries complain of what they find alive at the end


@pytest.fixture(autouse=True)
def _only_new_garbage(_frozen: None) -> None:
    """Let garbage be looked for among what a test makes only: a viewer does so several times, 0.3 s each among all imports."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _quick_viewers() -> Iterator[None]:
    """Spare each viewer what napari does again for it: look for plugins among all packages, and write its settings at each change."""
    from napari.settings._base import EventedConfigFileSettings
    from npe2 import PluginManifest

    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda *_, **__: iter(found))
        patch.setattr(EventedConfigFileSettings, "_maybe_save", lambda _: None)  # nor of plugins: they lie among those of the user
        yield


@pytest.fixture(scope="session")
def phantom_teacher(drawn_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that says it knows phantom slides only."""
    from napari_ifkd.models import load_model, save_model

    model, card = load_model(drawn_teacher)
    path = tmp_path_factory.mktemp("teacher") / "knows-phantoms.safetensors"
    save_model(path, model, card.model_copy(update={"name": "knows-phantoms", "domain": "phantom"}))
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs, caches and children of a test in its own folder, and children small."""
    monkeypatch.setattr("napari_ifkd._plugin.settings.user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr("napari_ifkd._plugin.sample_data.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "2"))
    monkeypatch.setenv("NAPARI_IFKD_MODELS", str(tmp_path / "models"))


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Window]:
    """Return a real viewer with the docks; :meth:`Window.another` is for a second one."""
    first = Window(make_napari_viewer(show=True), qtbot)
    yield first
    for each in first.all:
        each.bench.previewer.close()
        runner = each.bench.runner
        runner.release()
        if runner._child is not None and runner._child.running:  # of a test that failed half-way
            runner._child.cancel()
    quiet()


def quiet() -> None:
    """Wait for the threads of a test."""
    from qtpy.QtWidgets import QApplication
    from superqt.utils._qthreading import WorkerBase

    WorkerBase.await_workers(10_000)
    QApplication.processEvents()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return what the user was told of errors."""
    from napari_ifkd._plugin.trouble import TROUBLE

    told: list[str] = []

    def hear() -> None:
        if TROUBLE.message:
            told.append(TROUBLE.message)

    TROUBLE.changed.connect(hear)
    monkeypatch.setattr("napari.utils.notifications.show_error", lambda message: told[-1:] == [message] or told.append(message))
    yield told
    TROUBLE.changed.disconnect(hear)
    TROUBLE.clear()


@pytest.fixture
def scene(drawn_slide: Path, tmp_path: Path, write_map: Callable[..., None]) -> Any:
    """Return a session and its layers: a slide, a predicted square and a second one half beside it."""
    from napari.components import ViewerModel

    from napari_ifkd._plugin import layers as made
    from napari_ifkd._plugin.layer_view import LayerView
    from napari_ifkd.events import MapReady
    from napari_ifkd.session import Session

    viewer, session = ViewerModel(), Session()
    view = LayerView(viewer, session)
    slide = session.open(drawn_slide)
    assert [made.tag(layer)["kind"] for layer in viewer.layers] == ["slide"]  # nothing that holds nothing
    session.look(heat=True)
    session.begin("distill", tmp_path / "run")
    assert {made.tag(layer)["kind"]: made.is_spare(layer) for layer in viewer.layers} == {"slide": False, "heat": True, "mask": True}
    height, width = slide.shape_level0[0] // 2, slide.shape_level0[1] // 2
    for index in (0, 1):
        values = np.full((height, width), 25, np.uint8)
        values[20:60, 20 + 20 * index : 60 + 20 * index] = 204
        write_map(tmp_path / f"run/rounds/0{index}/maps/tiny.zarr", slide, values)
        session.apply(MapReady(index, slide.name, f"rounds/0{index}/maps/tiny.zarr"))
    session.look(sigma_px=0.0)
    return viewer, session, view


@pytest.fixture
def reviewed(window: Any, tmp_path: Path, drawn_slide: Path, write_map: Callable[..., None]) -> Any:
    """A window with a run of two rounds; the dock in front."""
    from napari_ifkd.config import Config
    from napari_ifkd.events import MapReady, RoundDone, RunDone
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.slides import open_slide

    with open_slide(drawn_slide) as slide:
        run = RunFolder.create(
            tmp_path / "run", "distill", Config(), {"data": [str(drawn_slide)], "mpp": None, "regions": None}, slides=[slide.identity()]
        )
        height, width = slide.shape_level0[0] // 2, slide.shape_level0[1] // 2
        for index in (0, 1):
            values = np.full((height, width), 30, np.uint8)
            values[10:60, 10 : 60 + 20 * index], values[80:100, 100:120], values[110:112, 20:22] = 204, 150, 250
            write_map(run.map_path(index, drawn_slide), slide, values)
            run.append(MapReady(index, slide.name, run.map_path(index, drawn_slide).relative_to(run.path).as_posix()))
            run.model_path(index).write_bytes(b"")
            run.append(RoundDone(index, None))
    run.append(RunDone(1, "the last"))
    window.bench.open(run.path)
    window.wait(lambda: len(window.session.here()) == 2)
    window.session.look(sigma_px=0)
    dock = window.docks["Review"]
    window.front("Review")
    return dock


class Window:
    """A viewer and its docks, with hands to click."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        from napari_ifkd._plugin.docks import add_docks

        self.viewer, self.qtbot = viewer, qtbot
        viewer.window.resize(1280, 800)
        self.docks = {name: dock.inner_widget() for name, dock in add_docks(viewer).items()}
        self.bench = self.docks["Slide"].bench
        self.session = self.bench.session
        self.all = [self]

    def another(self, viewer: Any) -> Window:
        """Add the docks to a second viewer."""
        self.all.append(Window(viewer, self.qtbot))
        return self.all[-1]

    def front(self, dock: str) -> None:
        """Bring a dock to the front."""
        parent = self.docks[dock].parentWidget()
        while parent is not None and not parent.inherits("QDockWidget"):
            parent = parent.parentWidget()
        if parent is not None:
            parent.raise_()

    def click(self, dock: str, widget: Any) -> None:
        """Bring a dock to the front and click a widget of it with the mouse."""
        from qtpy.QtTest import QTest

        QTest.qWait(1)  # a hand is slower than what is drawn
        native = getattr(widget, "native", widget)
        self.show(dock, native)
        self.press(native)

    def show(self, dock: str, widget: Any) -> None:
        """Bring a dock to the front and scroll to a widget of it."""
        self.front(dock)
        self.docks[dock].ensureWidgetVisible(widget)

    def use(self, dock: str, field: Any) -> None:
        """Give a field another value, as a hand does: click it, and press a key."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QSlider

        native = getattr(field, "native", field)
        kinds = (QSlider, QAbstractSpinBox, QCheckBox, QComboBox)
        part = (
            native if isinstance(native, kinds) else next(p for kind in kinds for p in native.findChildren(kind) if p.isVisibleTo(native))
        )
        self.show(dock, part)
        if isinstance(part, QCheckBox):
            QTest.mouseClick(part, Qt.MouseButton.LeftButton, pos=QPoint(8, part.height() // 2))  # beside the box is beside it
        elif isinstance(part, QComboBox):
            last = part.currentIndex() == part.count() - 1
            self.choose(dock, part, part.currentIndex() + (-1 if last else 1))
        else:
            before = part.value()
            self.press(part)
            if abs(part.value() - before) >= part.singleStep():  # a click beside a slider's handle moves it
                return
            if isinstance(part, QSlider):
                key = Qt.Key.Key_Left if part.value() >= part.minimum() + part.singleStep() else Qt.Key.Key_Right
            else:
                key = Qt.Key.Key_Up if part.stepEnabled() & QAbstractSpinBox.StepEnabledFlag.StepUpEnabled else Qt.Key.Key_Down
            QTest.keyClick(part, key)
            QTest.keyClick(part, Qt.Key.Key_Return)

    def choose(self, dock: str, field: Any, index: int) -> None:
        """Open the list of a field with the mouse, and choose in it with the keys."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        box = getattr(field, "native", field)
        self.click(dock, box)
        view = box.view()
        self.wait(view.isVisible)
        QTest.keyClick(view, Qt.Key.Key_Home)
        for _ in range(index):
            QTest.keyClick(view, Qt.Key.Key_Down)
        QTest.keyClick(view, Qt.Key.Key_Return)
        self.wait(lambda: not view.isVisible())

    def type(self, dock: str, line: Any, text: str) -> None:
        """Click a line and type into it, in place of what stands there."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.click(dock, line)
        line.selectAll()
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Qt.Key.Key_Return)

    def key(self, name: str) -> None:
        """Press a key while the picture has the keyboard."""
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        QTest.qWait(1)  # a hand is slower than what is drawn
        QTest.keySequence(self._picture(), QKeySequence(name))

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a key meanwhile."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        canvas, key = self._picture(), getattr(Qt.Key, f"Key_{name}")
        QTest.keyPress(canvas, key)
        yield
        QTest.keyRelease(canvas, key)

    def _picture(self) -> Any:
        """Return the canvas, with the keyboard."""
        window, canvas = self.viewer.window._qt_window, self.viewer.window._qt_viewer.canvas.native
        if not window.isActiveWindow():  # there may be no window manager that does it
            window.windowHandle().requestActivate()
            self.qtbot.waitUntil(window.isActiveWindow, timeout=5000)
        canvas.setFocus()
        return canvas

    def _has_keyboard(self) -> bool:
        """Return whether the picture has it."""
        return self.viewer.window._qt_window.focusWidget() is self.viewer.window._qt_viewer.canvas.native

    def press(self, button: Any) -> None:
        """Click a button with the mouse."""
        from qtpy.QtCore import Qt

        self.qtbot.waitUntil(button.isVisible, timeout=5000)
        assert button.isEnabled(), f"{button} is disabled"
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def dialogs(self, name: str) -> list[Any]:
        """Return the open dialogs of a class."""
        from qtpy.QtWidgets import QApplication

        return [widget for widget in QApplication.topLevelWidgets() if type(widget).__name__ == name and widget.isVisible()]

    def when(self, condition: Callable[[], bool], act: Callable[[], object], tries: int = 300) -> None:
        """Act as soon as something is so, also while a question is asked and everything else waits."""
        from qtpy.QtCore import QTimer

        def look() -> None:
            if condition():
                act()
            elif tries:
                self.when(condition, act, tries - 1)

        QTimer.singleShot(50, look)

    def wait(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something is so, while the window lives."""
        self.qtbot.waitUntil(condition, timeout=int(seconds * 1000))

    def remembered(self) -> None:
        """Wait until how the active slide is looked at lies on the disk as it is now: a thread writes it once all rests."""
        from napari_ifkd._plugin.views import read_view

        notes, slide = self.bench.memory.notes, self.session.slide
        known = str(slide.path)
        self.wait(lambda: notes.rested and notes.views.get(known) is not None and read_view(slide) == notes.views[known])

    def ours(self, *kinds: str) -> list[Any]:
        """Return our layers of these kinds that show something, once all have come and gone."""
        from napari_ifkd._plugin.layers import is_spare

        self.wait(lambda: self.bench.layers.settled)
        return [layer for layer in self.bench.layers.ours(*kinds) if not is_spare(layer)]
