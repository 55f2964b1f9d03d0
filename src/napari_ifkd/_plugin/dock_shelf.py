"""Which docks of a viewer are open: one of each kind, in one place of the window."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from .widgets.dock import Dock


class DockShelf:
    """Know the open docks of a viewer.

    Parameters
    ----------
    viewer : napari's viewer
    emptied : called when the last one is gone
    """

    def __init__(self, viewer: Any, emptied: Callable[[], None]) -> None:
        self._viewer, self._emptied = viewer, emptied
        self._count = 0
        self._open: weakref.WeakValueDictionary[str, Dock] = weakref.WeakValueDictionary()

    def find(self, kind: str) -> Dock | None:
        """Return the dock of a kind, such as "Slide", None if it is not open."""
        found = self._open.get(kind)
        return found if found is not None and isalive(found) and found.parentWidget() is not None else None  # type: ignore[no-untyped-call]

    @property
    def hold(self) -> bool:
        """Whether the user is in a dock that works on the prediction which is shown."""
        return any(dock.holds and dock.seen for kind in list(self._open) if (dock := self.find(kind)) is not None)

    def opened(self, dock: Dock) -> None:
        """Count a dock in; one of its kind that is there gives way: napari knows the same by two names, and both would hear the keys."""
        self._count += 1
        former = self.find(dock.kind)
        self._open[dock.kind] = dock
        if former is not None:
            QTimer.singleShot(0, partial(self._give_way, former))

    def closed(self, *_: object) -> None:
        """Count a dock out."""
        self._count -= 1
        if self._count == 0:
            self._emptied()

    def neighbours(self, dock: Dock) -> list[QDockWidget]:
        """Return napari's dock widgets of the other docks, of those that stand in the window of a dock."""
        shells = [other.parentWidget() for kind in list(self._open) if (other := self.find(kind)) is not None and other is not dock]
        return [s for s in shells if isinstance(s, QDockWidget) and s.isVisible() and not s.isFloating() and s.window() is dock.window()]

    def _give_way(self, former: Dock) -> None:
        if isalive(former) and former.parentWidget() is not None:  # type: ignore[no-untyped-call]
            self._viewer.window.remove_dock_widget(former.parentWidget())
