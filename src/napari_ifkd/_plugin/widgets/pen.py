"""A button that draws: pressed while clicks in the picture make polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QPushButton

from napari_ifkd._plugin.drawn import USES
from napari_ifkd._plugin.palette import ACTION

if TYPE_CHECKING:
    from napari_ifkd._plugin.drawn import Use

    from .dock import Dock

_DOT_PX = 16
PEN_HELP = "Click corner after corner; a double click closes the region. Press the button again when all are drawn."


def dress(button: QPushButton, colour: str = "", *, filled: bool = True) -> None:
    """Let a button look like a pen: pressed it is filled, and it bears a dot, or ring, of the colour it draws in, if it draws any."""
    button.setCheckable(True)
    button.setStyleSheet(f"QPushButton:checked {{background: {ACTION}; color: white;}}")
    if colour:
        button.setIcon(_dot(colour, filled))


def _dot(colour: str, filled: bool) -> QIcon:
    picture = QPixmap(4 * _DOT_PX, 4 * _DOT_PX)  # sharp on any screen
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(colour))
    painter.setPen(QPen(QColor("white"), 12))  # which parts it from a button of the same colour
    painter.drawEllipse(picture.rect().adjusted(6, 6, -6, -6))
    if not filled:
        painter.setBrush(QColor("white"))
        painter.drawEllipse(picture.rect().adjusted(18, 18, -18, -18))
    painter.end()
    return QIcon(picture)


class Pen(QPushButton):
    """Draw polygons of a use on the active slide.

    Parameters
    ----------
    dock : it is part of
    use : what is drawn
    label, tooltip : of the button
    """

    def __init__(self, dock: Dock, use: Use, label: str, tooltip: str) -> None:
        super().__init__(label)
        self._drawings, self._use = dock.bench.drawings, use
        self.setToolTip(tooltip)
        dress(self, USES[use][2], filled=use != "region")  # of which the outline alone is drawn
        self.clicked.connect(self._press)
        dock.hear(self._drawings.pen, self._show)

    def _press(self) -> None:
        self._drawings.begin(self._use)
        self._show()

    def _show(self) -> None:
        self.setChecked(self._drawings.drawing == self._use)
