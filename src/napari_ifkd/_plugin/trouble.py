"""What went wrong last: the docks tell it in full, until it is dismissed or the next thing is done."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.compat import isalive

if TYPE_CHECKING:
    from .widgets.dock import Dock


class Trouble:
    """One message for all docks; the one that is seen when it comes shows it.

    Attributes
    ----------
    message : "" while nothing is wrong
    """

    changed = Signal()

    def __init__(self) -> None:
        self.message = ""
        self._docks: weakref.WeakSet[Dock] = weakref.WeakSet()
        self._told: weakref.WeakSet[Dock] = weakref.WeakSet()  # those that were seen when it was said

    def shown_by(self, dock: Dock) -> None:
        """Take note of a dock that shows the message."""
        self._docks.add(dock)

    def say(self, message: str) -> bool:
        """Tell that something went wrong; return whether a dock that shows it is seen."""
        self.message = message
        self._told = weakref.WeakSet(dock for dock in self._docks if isalive(dock) and dock.seen)  # type: ignore[no-untyped-call]
        self.changed.emit()
        return bool(self._told)

    def told_in(self, dock: Dock) -> str:
        """Return the message for a dock, "" if it is another's."""
        return self.message if dock in self._told else ""

    def clear(self) -> None:
        """Tell that it is of the past."""
        if self.message:
            self.message = ""
            self.changed.emit()


TROUBLE = Trouble()
