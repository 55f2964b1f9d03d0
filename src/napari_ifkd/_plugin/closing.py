"""A window that is about to close while a run is at work: the run would go on, and the user is told so, once of each run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

if TYPE_CHECKING:
    from pathlib import Path

    from .worker import Runner


class CloseWatch(QObject):
    """Tell that a run outlives the window when the window is closed; whether it is, napari asks after that.

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
        if (
            event.type() == QEvent.Type.Close
            and job is not None
            and job.out != self._told
            and self.runner.at_work
            and _by_a_person(watched)
        ):
            self._told = job.out
            self._tell(watched, waits=job.state in ("pausing", "paused"))
        return False

    def _tell(self, window: Any, *, waits: bool) -> None:
        self.box = QMessageBox(window)
        self.box.setIcon(QMessageBox.Icon.Information)
        self.box.setWindowTitle("A run is at work")
        self.box.setText(f"When this window closes, the run {'stays paused' if waits else 'goes on'} without it.")
        self.box.setInformativeText("Open its slide again to follow it; it stands in the Runs dock too.")
        self.box.exec()
        self.box.deleteLater()
        self.box = None


def _by_a_person(window: Any) -> bool:
    # a script that closes its viewer takes the canvas away first, and waits for no answer
    return any(part.isVisible() for part in window.centralWidget().findChildren(QWidget))
