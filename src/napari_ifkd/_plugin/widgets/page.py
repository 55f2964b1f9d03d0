"""A page of the Review dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from .dock import Dock


class Page(QWidget):
    """Base of the pages.

    Parameters
    ----------
    dock : it is part of
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._dock, self._session, self._viewer = dock, dock.session, dock.bench.viewer

    def fill(self, *parts: QWidget, tall: QWidget | None = None) -> None:
        """Lay parts out one below the other, with room left below; `tall` takes of it what it can."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 6, 2, 2)
        layout.setSpacing(6)
        for part in parts:
            layout.addWidget(part, 20 if part is tall else 0)
        layout.addStretch(1)
