"""Verdicts on lesions, in the masks on the screen: what was rejected is left out, as exports leave it out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely
from qtpy.QtCore import QObject, QTimer

from napari_ifkd.errors import Cancelled, InputError
from napari_ifkd.export.corrected import corrections_for
from napari_ifkd.export.excluded import exclusion_for
from napari_ifkd.export.lesions import lesions_of, verdicts_for, verdicts_on
from napari_ifkd.runs.folder import RunFolder

from . import layers as made
from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations.verdicts import Verdict
    from napari_ifkd.export.outlines import Outline
    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate

    from .drawn import Drawings
    from .masks import Masks

_SETTLED_MS = 600  # after the threshold moved


@dataclass(frozen=True)
class Mask:
    """What lesions depend on: a prediction, its threshold and smoothing, and what is excluded besides, (x, y) in level-0 px."""

    of: Candidate
    threshold: float
    sigma_px: float
    excluded: BaseGeometry | None

    def lesions(self, check: Callable[[int, int], None] = lambda done, total: None) -> list[Outline]:
        """Find its lesions, as an export would hold them before anybody rejected one; slow, for a thread.

        Parameters
        ----------
        check : called with rows done and in all; raises to stop
        """
        found, run = self.of.found, RunFolder(self.of.run)
        parts = [part for part in (exclusion_for(found, run, ()), self.excluded) if part is not None]
        exclusion = shapely.union_all(parts) if parts else None
        return lesions_of(found, self.threshold, self.sigma_px, corrections_for(run, found), exclusion, check)

    def verdicts(self) -> list[Verdict]:
        """Read what was said of lesions on its slide."""
        return verdicts_for(RunFolder(self.of.run), self.of.found)


class Verdicts(QObject):
    """Keep what was rejected out of the masks of the predictions that are looked at: the one shown, A and B.

    Parameters
    ----------
    session : what is looked at
    masks : are seen
    drawings : knows what is excluded
    """

    def __init__(self, session: Session, masks: Masks, drawings: Drawings) -> None:
        super().__init__()
        self.session, self.masks, self.drawings = session, masks, drawings
        self._lesions: dict[Mask, list[Outline]] = {}  # of masks looked at last
        self._left_out: dict[str, tuple[Mask, list[int]]] = {}  # which lesions of which mask, by the path of the prediction
        self._asked = self._answered = 0
        self._busy = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLED_MS)
        self._timer.timeout.connect(self.look)
        for name in ("shown", "a", "b", "threshold", "sigma_px"):
            session.events[name].connect(self._wait, max_args=0)
        drawings.changed.connect(self.look, max_args=0)

    @property
    def settled(self) -> bool:
        """Whether the masks are as the verdicts say."""
        return not self._timer.isActive() and self._asked == self._answered

    def mask(self, candidate: Candidate) -> Mask:
        """Return the mask of a prediction as it is looked at now."""
        return Mask(candidate, self.session.threshold, self.session.sigma_px, self.drawings.excluded())

    def know(self, mask: Mask, lesions: list[Outline]) -> None:
        """Take note of the lesions of a mask that were found: they are not looked for again."""
        self._lesions[mask] = lesions

    def corrected(self) -> None:
        """Look again after corrections changed, which make lesions."""
        self._lesions = {}
        self.look()

    def look(self) -> None:
        """Read the verdicts, and leave out what was rejected."""
        self._timer.stop()
        self._asked += 1
        if not self._busy:  # else what is at work stops, and this comes after it
            self._look()

    def _look(self) -> None:
        asked, known = self._asked, self._lesions
        looked_at = (self.session.shown, self.session.a, self.session.b)
        masks = {str(one.path): self.mask(one) for one in looked_at if one is not None and one.act != "file"}
        look = self.session.threshold, self.session.sigma_px
        before = self._left_out

        def check(_done: int, _total: int) -> None:
            if asked != self._asked:
                raise Cancelled

        def work() -> tuple[dict[str, tuple[Mask, list[int]]], dict[str, list[Any]], dict[Mask, list[Outline]]]:
            left_out, levels, lesions = {}, {}, {}
            for path, mask in masks.items():
                with suppress(InputError, OSError):  # nobody asked: who lists lesions is told
                    verdicts = mask.verdicts()
                    if any(verdict.verdict == "reject" for verdict in verdicts):
                        lesions[mask] = known[mask] if mask in known else mask.lesions(check)
                        words, _ = verdicts_on(lesions[mask], verdicts, mask.of.found)
                        left_out[path] = mask, [index for index, word in enumerate(words) if word == "reject"]
            if left_out != before:
                levels = {path: _without(mask, [lesions[mask][index] for index in rejected]) for path, (mask, rejected) in left_out.items()}
            return left_out, levels, lesions

        def done(found: tuple[dict[str, tuple[Mask, list[int]]], dict[str, list[Any]], dict[Mask, list[Outline]]]) -> None:
            left_out, levels, lesions = found
            if asked == self._asked:
                self._lesions = {**{mask: known for mask, known in self._lesions.items() if mask in masks.values()}, **lesions}
                if left_out != before:
                    self._left_out = left_out
                    self.masks.judge(levels, *look)
            over()

        def over(_: object = None) -> None:
            self._busy, self._answered = False, asked
            if asked != self._asked:
                self._look()

        self._busy = True
        in_thread(work, done, over)

    def _wait(self) -> None:
        self._timer.start()


def _without(mask: Mask, lesions: Sequence[Outline]) -> list[Any]:
    """Return the mask at every level without some of its lesions."""
    found, gone = mask.of.found, shapely.union_all([lesion.polygon for lesion in lesions])
    return made.without(made.mask_levels(found, mask.threshold, mask.sigma_px), found, gone)
