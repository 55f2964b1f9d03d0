"""A window that closes while a run is at work: the run goes on, and the user is told so once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_ifkd.session import Session


class CloseWatch(QObject):
    """Tell that a run outlives the window when the window is closed.

    Parameters
    ----------
    session : knows the run
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.box: QMessageBox | None = None
        self._told = False

    def watch(self, window: QWidget | None) -> None:
        """Watch the window that a dock is part of."""
        if isinstance(window, QMainWindow):
            window.installEventFilter(self)  # again is no harm: Qt keeps one

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Tell before the window goes; it closes all the same."""
        if event.type() == QEvent.Type.Close and not self._told:
            job = self.session.job
            if job is not None and job.alive and job.state != "cancelling":
                self._told = True
                self._tell(watched, waits=job.state in ("pausing", "paused"))
        return False

    def _tell(self, window: Any, *, waits: bool) -> None:
        self.box = QMessageBox(window)
        self.box.setIcon(QMessageBox.Icon.Information)
        self.box.setWindowTitle("The run goes on")
        self.box.setText("The run stays paused without this window." if waits else "The run goes on without this window.")
        self.box.setInformativeText("Open napari again to follow it: it is offered, and stands in the Runs dock.")
        self.box.exec()
        self.box.deleteLater()
        self.box = None
