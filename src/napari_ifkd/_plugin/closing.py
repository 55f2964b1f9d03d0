"""A window that is about to close while a run is at work, which goes on, or painting is not written back, which goes: the user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDialog, QLabel, QMainWindow, QMessageBox, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .worker import Runner

_NOTHING = (None, "")
_FOLLOW = "Open its slide again to follow it; it stands in the Runs dock too."


class CloseWatch(QObject):
    """Tell what becomes of a run, and of painting, when the window is closed: where napari asks whether it is, in that question.

    Parameters
    ----------
    runner : follows the run
    unwritten : names the slide on which something is painted that is not written back, "" if nothing is
    """

    def __init__(self, runner: Runner, unwritten: Callable[[], str]) -> None:
        super().__init__()
        self.runner, self.unwritten = runner, unwritten
        self.box: QMessageBox | None = None
        self._told: tuple[Path | None, str] = _NOTHING  # of which run, and of painting on which slide

    def watch(self, window: QMainWindow) -> None:
        """Watch a window; again is no harm."""
        window.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Tell before the window goes."""
        if event.type() == QEvent.Type.ChildPolished and type(event.child()).__name__ == "ConfirmCloseDialog":
            if self._news != _NOTHING:
                self._told = self._news
                self._tell_in(event.child())
                event.child().rejected.connect(self._forget)
        elif event.type() == QEvent.Type.Close and self._must_tell(watched, event):
            if not self._tell(watched):
                event.ignore()
                return True
            self._told = self._news
        return False

    def _must_tell(self, window: Any, event: Any) -> bool:
        return self._news not in (_NOTHING, self._told) and _by_a_person(window) and not _asked_by_napari(window, event)

    def _forget(self) -> None:
        self._told = _NOTHING

    @property
    def _news(self) -> tuple[Path | None, str]:
        """What there is to tell of: the run at work, and the slide that is painted on."""
        job = self.runner.session.job
        return (job.out if job is not None and self.runner.at_work else None), self.unwritten()

    @property
    def _words(self) -> str:
        (run, painted), job = self._news, self.runner.session.job
        words = (
            [f"What is painted on {painted} is not written back: closing loses it. Write back in Review, Correct keeps it."]
            if painted
            else []
        )
        if run is not None and job is not None:
            goes = "stays paused" if job.state in ("pausing", "paused") else "goes on"
            words.append(f"{run.name} is at work: when this window closes, it {goes} without it.\n{_FOLLOW}")
        return "\n\n".join(words)

    def _tell_in(self, question: QDialog) -> None:
        layout = question.layout()
        if isinstance(layout, QVBoxLayout):
            label = QLabel(self._words)
            label.setObjectName("napari_ifkd_run")
            layout.insertWidget(0, label)

    def _tell(self, window: Any) -> bool:
        """Return whether the window may go."""
        self.box = QMessageBox(window)
        self.box.setIcon(QMessageBox.Icon.Information)
        self.box.setWindowTitle("Close the window?")
        self.box.setText(self._words)
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
