"""A key that flickers between two predictions while it is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Compare

FLICKER_MS = 300  # a pace that the eye can follow
_LEFT = (QEvent.Type.ApplicationDeactivate, QEvent.Type.WindowDeactivate)


class Flicker(QObject):
    """Show A and B in turn from :meth:`begin` until the key is let go; then all is as it was.

    Parameters
    ----------
    page : it is part of
    session : whose pair is seen
    key : that is held
    """

    def __init__(self, page: QWidget, session: Session, key: Qt.Key) -> None:
        super().__init__(page)
        self._session, self._key = session, key
        self._before: Compare | None = None  # how they were compared; None while nobody holds the key
        self._timer = QTimer(self)
        self._timer.setInterval(FLICKER_MS)
        self._timer.timeout.connect(self._turn)

    @property
    def held(self) -> bool:
        """Whether the key is held."""
        return self._before is not None

    def begin(self) -> None:
        """Show the one that is not seen, then the other, and so on."""
        session, application = self._session, QApplication.instance()
        if self._before is not None or application is None or None in (session.a, session.b):
            return
        self._before = session.compare
        seen = session.compare == "a" or (session.compare == "off" and session.shown == session.a)
        session.set_compare("b" if seen else "a")
        self._timer.start()
        application.installEventFilter(self)  # the key may be let go wherever the keyboard is by then

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice that the key was let go, or that the window was left."""
        if event is not None and (event.type() in _LEFT or self._let_go(event)):
            self.end()
        return super().eventFilter(watched, event)

    def end(self) -> None:
        """Show what was seen before."""
        before, application = self._before, QApplication.instance()
        self._before = None
        self._timer.stop()
        if application is not None:
            application.removeEventFilter(self)
        if before is not None:
            self._session.set_compare(before)

    def _let_go(self, event: QEvent) -> bool:
        if event.type() != QEvent.Type.KeyRelease:
            return False
        key, repeats = getattr(event, "key", None), getattr(event, "isAutoRepeat", None)
        return key is not None and repeats is not None and key() == self._key and not repeats()

    def _turn(self) -> None:
        self._session.set_compare("b" if self._session.compare == "a" else "a")
