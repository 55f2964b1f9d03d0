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
        self._of = ""  # the dock where it was asked for
        self._docks: weakref.WeakSet[Dock] = weakref.WeakSet()
        self._told: weakref.WeakSet[Dock] = weakref.WeakSet()  # those that were seen when it was said

    def shown_by(self, dock: Dock) -> None:
        """Take note of a dock that shows the message."""
        self._docks.add(dock)

    def say(self, message: str, of: str = "") -> bool:
        """Tell that something went wrong, `of` the dock where it was asked for; return whether a dock that shows it is seen."""
        self.message, self._of = message, of
        self._told = weakref.WeakSet(dock for dock in self._docks if isalive(dock) and dock.seen)  # type: ignore[no-untyped-call]
        self.changed.emit()
        return bool(self._told)

    def told_in(self, dock: Dock) -> str:
        """Return the message for a dock, "" if another shows it; one that nobody asked for there says whose it is."""
        if not self.message or dock not in self._told:
            return ""
        return self.message if self._of in ("", dock.kind) else f"{self._of} dock: {self.message}"

    def clear(self) -> None:
        """Tell that it is of the past."""
        if self.message:
            self.message = ""
            self.changed.emit()


TROUBLE = Trouble()
