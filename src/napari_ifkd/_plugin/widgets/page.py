"""A page of the Review dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from .dock import Dock


class Page(QWidget):
    """Base of the pages; those that are not seen take no room, else all would be as high as the highest.

    Parameters
    ----------
    dock : it is part of
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._dock, self._session, self._viewer = dock, dock.session, dock.bench.viewer

    def heightForWidth(self, width: int) -> int:
        """Return the height at a width."""
        return 0 if self.isHidden() else super().heightForWidth(width)

    def minimumSizeHint(self) -> QSize:
        """Return the least size."""
        least = super().minimumSizeHint()
        return QSize(least.width(), 0) if self.isHidden() else least

    def fill(self, *parts: QWidget, tall: QWidget | None = None) -> None:
        """Lay parts out one below the other, with room left below; `tall` takes of it what it can."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 6, 2, 2)
        layout.setSpacing(6)
        for part in parts:
            layout.addWidget(part, 20 if part is tall else 0)
        layout.addStretch(1)
