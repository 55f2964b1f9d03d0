"""Changes of layers, one a turn of the event loop; meanwhile the picture stays as it is, and is drawn when all are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Steps:
    """Make what is to be changed, the first of it each time: what is to be done after that is asked for anew.

    Parameters
    ----------
    changes : yields what is to be done, by what matters most
    later : calls what it is given, in a later turn of the event loop
    hold : called with True to keep the picture as it is, with False to draw it anew
    """

    rested = Signal()  # all is done, and drawn

    def __init__(
        self,
        changes: Callable[[], Iterator[Callable[[], object]]],
        later: Callable[[Callable[[], None]], None],
        hold: Callable[[bool], None],
    ) -> None:
        self._changes, self._later, self._hold = changes, later, hold
        self._at_work = self._held = False

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done any more."""
        return not self._at_work

    def begin(self) -> None:
        """Begin to change, if there is anything to."""
        if not self._at_work and next(self._changes(), None) is not None:
            self._keep_picture(True)
            self._go_on()

    def draw_first(self) -> None:
        """Begin to change, or go on, once the picture is drawn as it is now."""
        self._keep_picture(False)
        if not self._at_work:
            self._at_work = True
            self._later(lambda: self._later(self._step))  # it may be drawn twice: napari reads a field that is new when it draws

    def _go_on(self) -> None:
        self._at_work = True
        self._later(self._step)

    def _step(self) -> None:
        try:
            change = next(self._changes(), None)
            if change is not None:
                self._keep_picture(True)
                change()
                self._go_on()
                return
        except BaseException:
            self._rest()
            raise
        self._rest()

    def _rest(self) -> None:
        self._at_work = False
        self._keep_picture(False)
        self.rested.emit()

    def _keep_picture(self, kept: bool) -> None:
        """Keep the picture as it is, or draw it: that takes as long as a change."""
        if kept != self._held:
            self._held = kept
            self._hold(kept)
