"""What all docks share: a scrollable column of parts, joined to the bench of the viewer."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QMainWindow,
    QMessageBox,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QTabBar,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from napari_ifkd._plugin.bench import bench_of
from napari_ifkd._plugin.trouble import TROUBLE
from napari_ifkd._plugin.worker import in_thread, say_error

from .parts import Notice, button

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.session_records import Job

_WIDTH = 322  # the names of six tabs
_FIELDS = (QAbstractSpinBox, QComboBox, QAbstractSlider, QTabBar)
_AS_HIGH = "QPushButton:disabled {padding: 3px;}"  # napari gives what is grey a border, and with it 2 px that move all below
_FOCUS_MS = 50  # after which the next field has the focus
_TELLS, _REFUSED, _TYPED = "tells its range", "refused a key", "typed"  # properties of a field for numbers
TAKES = "takes"  # of one in which more can be typed: the least and the greatest number it takes


def at_work(job: Job | None) -> str:
    """Return why no run can begin while another is at work, "" where none is."""
    if job is None or not job.alive:
        return ""
    if job.state in ("pausing", "paused"):
        return f"{job.out.name} is paused: continue it in the Runs dock, or cancel it"
    return "a run is at work; wait for it, or cancel it"


class _Still(QObject):
    """Lets the wheel scroll the dock, whatever lies below the mouse: no setting is changed by scrolling past."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Leave the wheel to whom the field is part of."""
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return super().eventFilter(watched, event)


class _Numbers(QObject):
    """Lets numbers be typed as people do.

    A double click takes the whole of one (Qt takes what stands on one side of its point, and what is typed joins the rest), and a comma
    is a point.
    """

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Select all that stands in the field, or type a point for a comma."""
        if event is not None and event.type() == QEvent.Type.MouseButtonDblClick and isinstance(watched, QLineEdit):
            watched.selectAll()
            return True
        pressed = isinstance(event, QKeyEvent) and event.type() != QEvent.Type.ShortcutOverride  # that asks whether the field takes the key
        if pressed and isinstance(event, QKeyEvent) and event.text() == "," and isinstance(watched, QDoubleSpinBox):
            point = watched.locale().decimalPoint()
            if point != ",":
                QApplication.sendEvent(watched, QKeyEvent(event.type(), Qt.Key.Key_Period, event.modifiers(), point))
                return True
        return super().eventFilter(watched, event)


class _TroubleBar(QWidget):
    """What went wrong, at the foot of a dock, and a button that dismisses it."""

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self.setAcceptDrops(True)
        self._dock = dock
        self.notice = Notice()
        self.notice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.dismiss = button("✕", "I have read it", TROUBLE.clear)
        self.dismiss.setFixedWidth(24)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 4)
        layout.setSpacing(4)
        layout.addWidget(self.notice, 1)
        layout.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)

    def show_message(self, message: str) -> None:
        """Show it, or nothing."""
        self.notice.say(message or None, kind="error")
        self.notice.setToolTip(message)
        self.setVisible(bool(message))

    def dragEnterEvent(self, event: Any) -> None:
        """Take what the dock takes: it stands over it."""
        self._dock.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:
        """Open what was dropped."""
        self._dock.dropEvent(event)


class Dock(QScrollArea):
    """Base of the docks.

    Parameters
    ----------
    napari_viewer : the viewer (napari passes it by this name)
    """

    holds = False  # whether who is in this dock works on the prediction that is shown

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.box: QMessageBox | None = None  # the question that is asked now, and the button that says yes
        self.yes: Any = None
        self.bench = bench_of(napari_viewer)
        self.session = self.bench.session
        self.bench.docks.opened(self)
        self.destroyed.connect(self.bench.docks.closed)
        self._connections: list[tuple[Any, Callable[..., Any]]] = []
        self.destroyed.connect(partial(_deafen, self._connections))  # a window that goes closes no docks
        self.setStyleSheet(_AS_HIGH)
        self.setAcceptDrops(True)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)  # else all text wraps anew when it comes
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setMinimumWidth(_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        column = QWidget()
        column.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # one long word must not push all beyond the border
        self.column = QVBoxLayout(column)
        self.column.setContentsMargins(8, 6, 8, 6)
        self.column.setSpacing(6)
        self.setWidget(column)
        self.content = column
        self._still, self._numbers = _Still(self), _Numbers(self)
        self.trouble = _TroubleBar(self)
        TROUBLE.shown_by(self)
        self.hear(TROUBLE.changed, self._tell)
        self._make_room()

    def event(self, event: QEvent | None) -> bool:
        """Name the tab briefly once there is one: six have no room for the package's name."""
        parent = self.parentWidget()
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if isinstance(parent, QDockWidget):
                parent.setWindowTitle(self.kind)
                parent.visibilityChanged.connect(self._come)
                parent.topLevelChanged.connect(self._land)
                QTimer.singleShot(0, self._join)
            elif parent is None:  # napari took it away, and forgets it
                self.deafen()
                self.deleteLater()
        return bool(super().event(event))

    def _land(self, floating: bool) -> None:
        """Come to the front of the tabs where it was floating: who docked it looks at it."""
        shell = self.parentWidget()
        if not floating and shell is not None:
            QTimer.singleShot(0, shell.raise_)

    @property
    def kind(self) -> str:
        """What the dock is called, such as "Slide"."""
        return type(self).__name__.removesuffix("Dock")

    def _join(self) -> None:
        """Stand among the docks that are there, as a tab, however it was opened."""
        shell, window = (self.parentWidget(), self.window()) if isalive(self) else (None, None)  # type: ignore[no-untyped-call]
        if not isinstance(shell, QDockWidget) or not isinstance(window, QMainWindow) or shell.isFloating():
            return
        others = self.bench.docks.neighbours(self)
        if others and not set(window.tabifiedDockWidgets(shell)) & set(others):
            window.tabifyDockWidget(others[0], shell)
            shell.show()
            shell.raise_()

    @property
    def seen(self) -> bool:
        """Whether the dock is in front: Qt calls one behind the tab of another visible too."""
        return self.content.isVisible()

    def came(self) -> None:
        """Bring up to date what is only kept so while it is seen."""

    def _come(self, front: bool) -> None:
        # what lies behind another tab is hidden: its keys are silent, and its pages know that nobody looks
        if front == self.content.isVisibleTo(self):
            return
        self.content.setVisible(front)
        if front:
            self.came()

    def resizeEvent(self, event: Any) -> None:
        """Let what went wrong stand below all, wherever one has scrolled to."""
        super().resizeEvent(event)
        self._make_room()

    def _tell(self) -> None:
        """Tell what went wrong, beside what was clicked."""
        self._make_room()
        at = self.focusWidget()
        if TROUBLE.told_in(self) and at is not None and self.content.isAncestorOf(at):
            self.ensureWidgetVisible(at)

    def _make_room(self) -> None:
        message = TROUBLE.told_in(self)
        self.trouble.show_message(message)
        bar = self.verticalScrollBar()
        width = self.width() - (bar.width() if bar is not None and bar.isVisible() else 0)
        height = min(self.trouble.heightForWidth(width), self.height() // 2) if message else 0  # what is longer is in its tooltip
        self.setViewportMargins(0, 0, 0, height)
        self.trouble.setGeometry(0, self.height() - height, width, height)

    def add(self, *parts: QWidget) -> None:
        """Add parts below the ones there are."""
        for part in parts:
            self.column.addWidget(part)

    def listen(self, *names: str, to: Callable[[], None]) -> None:
        """Call `to` now, and whenever one of these fields of the session changes, until the dock is gone."""
        for name in names:
            self.hear(self.session.events[name], to)
        to()

    def hear(self, signal: Any, to: Callable[..., None], arguments: int = 0) -> None:
        """Call `to`, with so many of its arguments, whenever a psygnal signal is emitted, until the dock is gone."""
        signal.connect(to, max_args=arguments)
        self._connections.append((signal, to))

    def lacking(self, *, idle: bool = True) -> str:
        """Return what a prediction still needs, "" if nothing; `idle` if no other run may be at work."""
        slide, job = self.session.slide, self.session.job
        if slide is None:
            return "no slide is open (Slide dock)"
        if slide.mpp is None:
            return "the resolution of the slide is not known: give it in the Slide dock"
        if self.session.teacher is None:
            return "no model is chosen (Teacher dock)"
        return at_work(job) if idle else ""

    def say_error(self, error: object) -> None:
        """Show an error of something that was asked for in this dock."""
        say_error(error, self.kind)

    def in_thread(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None] | None = None) -> None:
        """Do something in a thread, then say so on the Qt thread, unless the dock was closed meanwhile; an error is told to the user."""

        def still_here(say: Callable[[Any], None]) -> Callable[[Any], None]:
            def said(answer: Any) -> None:
                if isalive(self):  # type: ignore[no-untyped-call]
                    say(answer)

            return said

        in_thread(work, still_here(done), still_here(failed or self.say_error))

    def sure(self, question: str, more: str, act: str) -> bool:
        """Ask before something is lost; `act` is what the button says that goes on."""
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Question)
        box.setText(question)
        box.setInformativeText(more)
        box.addButton(QMessageBox.StandardButton.Cancel)
        self.box, self.yes = box, box.addButton(act, QMessageBox.ButtonRole.AcceptRole)
        box.exec()
        answer = box.clickedButton() is self.yes
        self.box, self.yes = None, None
        box.deleteLater()
        return answer

    def dragEnterEvent(self, event: Any) -> None:
        """Take files: what may be dropped onto the picture may be dropped here too."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:
        """Go on taking them."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:
        """Open what was dropped."""
        event.acceptProposedAction()
        TROUBLE.clear()
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.bench.dropped(Path(url.toLocalFile()))

    def showEvent(self, event: Any) -> None:
        """Tell the bench which window the dock is part of by now."""
        self.bench.shown_in(self.window())
        for kind in _FIELDS:
            for field in self.findChildren(kind):
                if not isinstance(field, QScrollBar):
                    field.installEventFilter(self._still)
                if isinstance(field, QAbstractSpinBox) and not field.property(_TELLS):
                    field.setProperty(_TELLS, True)
                    field.installEventFilter(self._numbers)
                    for line in field.findChildren(QLineEdit):
                        line.installEventFilter(self._numbers)
                        line.inputRejected.connect(partial(_tell_range, field))
                        line.textEdited.connect(partial(_look_at_range, field))
                    field.editingFinished.connect(partial(_end_typing, field))
        super().showEvent(event)
        if self.content.isVisibleTo(self):
            self.came()

    def closeEvent(self, event: Any) -> None:
        """Stop listening."""
        self.deafen()
        super().closeEvent(event)

    def deafen(self) -> None:
        """Stop listening to the session."""
        _deafen(self._connections)


def _look_at_range(field: Any, typed: str) -> None:
    """Say what a field takes where it will not take what stands there, and as long as somebody types on after it refused a key."""
    number = _number(typed)
    field.setProperty(_TYPED, number)
    if field.property(_REFUSED) or (number is not None and not min(0, field.minimum()) <= number <= field.maximum()):
        _tell_range(field)  # from 0 on it may become larger


def _end_typing(field: Any) -> None:
    """Say what a field takes where it holds another number than was typed."""
    typed, digits = field.property(_TYPED), field.decimals() if isinstance(field, QDoubleSpinBox) else 0
    if field.property(_REFUSED) or (typed is not None and round(abs(typed - field.value()), digits) > 0):
        QTimer.singleShot(_FOCUS_MS, partial(_tell_again, field))  # the next field takes the focus, which ends what is told
    field.setProperty(_REFUSED, False)
    field.setProperty(_TYPED, None)


def _tell_again(field: Any) -> None:
    if isalive(field) and field.isVisible():  # type: ignore[no-untyped-call]
        _tell_range(field)
        field.setProperty(_REFUSED, False)


def _number(typed: str) -> float | None:
    with suppress(ValueError):
        return float(typed.replace(",", "."))
    return None


def _tell_range(field: Any) -> None:
    """Say what a field takes, where it takes a key no further or another number than typed: Qt is silent."""
    digits = field.decimals() if isinstance(field, QDoubleSpinBox) else 0
    told = ".10g" if digits else ",.10g"  # where a comma is a point none parts thousands
    least, most = (format(value, told) for value in field.property(TAKES) or (field.minimum(), field.maximum()))
    fine = f", with up to {digits} digit{'s' * (digits > 1)} after the point" if digits else ""
    field.setProperty(_REFUSED, True)
    QToolTip.showText(field.mapToGlobal(field.rect().bottomLeft()), f"Takes numbers from {least} to {most}{fine}", field)


def _deafen(connections: list[tuple[Any, Callable[..., Any]]], *_: object) -> None:
    for signal, slot in connections:
        signal.disconnect(slot, missing_ok=True)
    connections.clear()
