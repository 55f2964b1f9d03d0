"""How much of the active slide the rounds of a run mark; measured when a dock asks that tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_ifkd.config import Config

from .measure import area_mm2
from .worker import in_thread

if TYPE_CHECKING:
    from napari_ifkd.session import Session

    from .drawn import Drawings


class Areas:
    """Areas of the masks of a slide's rounds, as the network says: corrections and rejections are not regarded.

    Parameters
    ----------
    session : knows the rounds, threshold and smoothing
    drawings : knows what is excluded
    """

    changed = Signal()

    def __init__(self, session: Session, drawings: Drawings) -> None:
        self.session, self.drawings = session, drawings
        self.mm2: dict[int, float] = {}  # by round; empty until they are measured
        self._of: tuple[object, object] = None, None  # slide and run
        self._asked: Any = None  # of what they are, or are being measured

    def look(self) -> None:
        """Measure, in a thread, unless all is as it was."""
        session = self.session
        rounds = {c.round: c for c in session.here() if c.act == "distill"}
        look = session.threshold, session.sigma_px, self.drawings.excluded()
        asked = session.slide, tuple(rounds.values()), *look
        if asked == self._asked:
            return
        self._asked = asked
        of = session.slide, next((c.run for c in rounds.values()), None)
        if of != self._of:  # till they are measured none are told, rather than those of others
            self._of = of
            self._take({})

        def measured(mm2: dict[int, float]) -> None:
            if asked == self._asked:  # else a later call is under way
                self._take(mm2)

        if rounds:
            in_thread(lambda: {index: area_mm2(c.found, *look) for index, c in rounds.items()}, measured)
        else:
            self._take({})

    def growth(self, index: int) -> str:
        """Say so where the mask of a round covers much more or less of the slide than the first teacher's, "" elsewhere."""
        first, area = self.mm2.get(0), self.mm2.get(index)
        if not first or not area or abs(area / first - 1) <= Config().acceptance.max_area_shift:
            return ""
        return f"It marks {abs(area / first - 1):.0%} {'more' if area > first else 'less'} than the first teacher"

    def _take(self, mm2: dict[int, float]) -> None:
        self.mm2 = mm2
        self.changed.emit()  # also where they are as large as before: it is another threshold
