"""A window that closes while a run is at work: the run goes on, and the user is told so once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

if TYPE_CHECKING:
    from .worker import Runner


class CloseWatch(QObject):
    """Tell that a run outlives the window when the window is closed.

    Parameters
    ----------
    runner : follows the run
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner
        self.box: QMessageBox | None = None
        self._told = False

    def watch(self, window: QMainWindow) -> None:
        """Watch a window; again is no harm."""
        window.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Tell before the window goes; it closes all the same."""
        if event.type() == QEvent.Type.Close and not self._told and self.runner.at_work and _by_a_person(watched):
            self._told = True
            self._tell(watched)
        return False

    def _tell(self, window: Any) -> None:
        job = self.runner.session.job
        waits = job is not None and job.state in ("pausing", "paused")
        self.box = QMessageBox(window)
        self.box.setIcon(QMessageBox.Icon.Information)
        self.box.setWindowTitle("The run goes on")
        self.box.setText("The run stays paused without this window." if waits else "The run goes on without this window.")
        self.box.setInformativeText("Open napari again to follow it: it is offered, and stands in the Runs dock.")
        self.box.exec()
        self.box.deleteLater()
        self.box = None


def _by_a_person(window: Any) -> bool:
    # a script that closes its viewer takes the canvas away first, and waits for no answer
    return any(part.isVisible() for part in window.centralWidget().findChildren(QWidget))
