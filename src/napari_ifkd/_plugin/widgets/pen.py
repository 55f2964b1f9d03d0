"""A button that draws: pressed while clicks in the picture make polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton

from napari_ifkd._plugin.drawn import USES
from napari_ifkd._plugin.palette import ACTION

if TYPE_CHECKING:
    from napari_ifkd._plugin.drawn import Use

    from .dock import Dock

PEN_HELP = "Click corner after corner; a double click closes the region. Press the button again when all are drawn."


def pen_style(colour: str) -> str:
    """Return the style of a button that draws in a colour."""
    return f"QPushButton {{border-left: 6px solid {colour};}} QPushButton:checked {{background: {ACTION}; color: white;}}"


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
        self.setCheckable(True)
        self.setStyleSheet(pen_style(USES[use][2]))
        self.clicked.connect(self._press)
        dock.hear(self._drawings.pen, self._show)

    def _press(self) -> None:
        self._drawings.begin(self._use)
        self._show()

    def _show(self) -> None:
        self.setChecked(self._drawings.drawing == self._use)
