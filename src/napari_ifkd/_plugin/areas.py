"""How much of the active slide the rounds of a run mark, and how well; measured when a dock asks that tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_ifkd.config import Config
from napari_ifkd.errors import Cancelled, InputError
from napari_ifkd.runs.reference import ReferenceMask

from .measure import area_mm2, f1_against
from .words import marks
from .worker import in_thread, say_error

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session import Session

    from .drawn import Drawings

    _Look = tuple[float, float, BaseGeometry | None]  # threshold, smoothing, what is excluded


class Areas:
    """Areas of the masks of a slide's rounds, as the network says: corrections and rejections are not regarded; and F1 by a reference mask.

    Parameters
    ----------
    session : knows the rounds, threshold and smoothing, and the reference mask of the slide
    drawings : knows what is excluded

    Attributes
    ----------
    mm2 : by round; empty until they are measured
    f1 : by round, where the slide has a reference mask
    threshold : that they are of
    """

    changed = Signal()  # while nobody hears it nothing is measured

    def __init__(self, session: Session, drawings: Drawings) -> None:
        self.session, self.drawings = session, drawings
        self.mm2: dict[int, float] = {}
        self.f1: dict[int, float] = {}
        self.threshold = session.threshold
        self._at: _Look | None = None  # what they are of
        self._of: tuple[object, object] = None, None  # slide and run
        self._asked: Any = None  # what is measured, or was
        for name in ("candidates", "slide", "threshold", "sigma_px", "given"):
            session.events[name].connect(self.look, max_args=0)
        drawings.changed.connect(self.look, max_args=0)

    def look(self) -> None:
        """Measure, in a thread, unless all is as it was."""
        if not len(self.changed):
            self.mm2, self.f1, self._asked, self._of = {}, {}, None, (None, None)
            return
        rounds, look = {c.round: c for c in self.session.here() if c.act == "distill"}, self._look()
        slide, reference = self.session.slide, self.session.given_here().get("reference")
        asked = slide, tuple(rounds.values()), look, reference, _changed(reference)
        if asked == self._asked:
            return
        self._asked = asked
        of = self.session.slide, next((c.run for c in rounds.values()), None)
        if of != self._of:  # till they are measured none are told, rather than those of others
            self._of = of
            self._take({}, {}, look)

        def outdated() -> bool:
            return asked is not self._asked

        def work() -> tuple[dict[int, float], dict[int, float]]:
            mm2: dict[int, float] = {}
            for index, candidate in rounds.items():
                if outdated():
                    raise Cancelled
                mm2[index] = area_mm2(candidate.found, *look)
            if slide is None or reference is None:
                return mm2, {}
            try:
                with ReferenceMask(reference, slide) as mask:
                    f1 = {index: f1_against(mask, c.found, look, outdated) for index, c in rounds.items()}
            except InputError:  # whoever distils with it is told
                return mm2, {}
            return mm2, {index: value for index, value in f1.items() if value is not None}

        def measured(found: tuple[dict[int, float], dict[int, float]]) -> None:
            if not outdated():  # else a later call is under way
                self._take(*found, look)

        def failed(error: Exception) -> None:
            if not outdated() and len(self.changed):
                self._asked = None  # the next one tries again
                self._take({}, {}, look)
                say_error(error)

        if rounds:
            in_thread(work, measured, failed)
        else:
            self._take({}, {}, look)

    def growth(self, index: int) -> str:
        """Say so where the mask of a round covers much more or less of the slide than the first teacher's, "" elsewhere."""
        first, area = self.mm2.get(0), self.mm2.get(index)
        if self._at != self._look() or not first or area is None or abs(area / first - 1) <= Config().acceptance.max_area_shift:
            return ""
        return f"On the slide, round {index} {marks(area / first, 'the first teacher')} at {self.threshold:.3g}"

    def _look(self) -> _Look:
        return self.session.threshold, self.session.sigma_px, self.drawings.excluded()

    def _take(self, mm2: dict[int, float], f1: dict[int, float], look: _Look) -> None:
        self.mm2, self.f1, self._at, self.threshold = mm2, f1, look, look[0]
        self.changed.emit()


def _changed(path: Path | None) -> float:
    """Return when a file changed last, 0 where there is none."""
    try:
        return 0.0 if path is None else path.stat().st_mtime
    except OSError:
        return 0.0
