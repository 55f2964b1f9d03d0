"""A window that is about to close while a run is at work: the run would go on, and the user is told so, once of each run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDialog, QLabel, QMainWindow, QMessageBox, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from pathlib import Path

    from .worker import Runner

_FOLLOW = "Open its slide again to follow it; it stands in the Runs dock too."


class CloseWatch(QObject):
    """Tell that a run outlives the window when the window is closed: where napari asks whether it is, in that question.

    Parameters
    ----------
    runner : follows the run
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner
        self.box: QMessageBox | None = None
        self._told: Path | None = None  # of which run

    def watch(self, window: QMainWindow) -> None:
        """Watch a window; again is no harm."""
        window.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Tell before the window goes."""
        job = self.runner.session.job
        if job is None or not self.runner.at_work:
            return False
        if event.type() == QEvent.Type.ChildPolished and type(event.child()).__name__ == "ConfirmCloseDialog":
            self._told = job.out
            self._tell_in(event.child())
            event.child().rejected.connect(self._forget)
        elif event.type() == QEvent.Type.Close and job.out != self._told and _by_a_person(watched) and not _asked_by_napari(watched, event):
            if not self._tell(watched):
                event.ignore()
                return True
            self._told = job.out
        return False

    def _forget(self) -> None:
        self._told = None

    @property
    def _words(self) -> str:
        job = self.runner.session.job
        waits = job is not None and job.state in ("pausing", "paused")
        return f"A run is at work: when this window closes, it {'stays paused' if waits else 'goes on'} without it."

    def _tell_in(self, question: QDialog) -> None:
        layout = question.layout()
        if isinstance(layout, QVBoxLayout):
            label = QLabel(f"{self._words}\n{_FOLLOW}")
            label.setObjectName("napari_ifkd_run")
            layout.insertWidget(0, label)

    def _tell(self, window: Any) -> bool:
        """Return whether the window may go."""
        self.box = QMessageBox(window)
        self.box.setIcon(QMessageBox.Icon.Information)
        self.box.setWindowTitle("A run is at work")
        self.box.setText(self._words)
        self.box.setInformativeText(_FOLLOW)
        self.box.setStandardButtons(QMessageBox.StandardButton.Close | QMessageBox.StandardButton.Cancel)
        answer = self.box.exec()
        self.box.deleteLater()
        self.box = None
        return answer == QMessageBox.StandardButton.Close


def _asked_by_napari(window: Any, event: Any) -> bool:
    """Return whether napari will ask on its own: a close button was pressed, there are layers, and it may."""
    viewer = getattr(getattr(window, "_qt_viewer", None), "viewer", None)
    return bool(event.spontaneous() and viewer is not None and viewer.layers and get_settings().application.confirm_close_window)


def _by_a_person(window: Any) -> bool:
    # a script that closes its viewer takes the canvas away first, and waits for no answer
    return any(part.isVisible() for part in window.centralWidget().findChildren(QWidget))
