"""Verdicts on lesions, in the masks on the screen: what was rejected is left out, as exports leave it out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely
from qtpy.QtCore import QObject, QTimer

from napari_ifkd.errors import InputError
from napari_ifkd.export.corrected import corrections_for
from napari_ifkd.export.excluded import exclusion_for
from napari_ifkd.export.lesions import lesions_of, verdicts_for, verdicts_on
from napari_ifkd.runs.folder import RunFolder

from . import layers as made
from .worker import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.annotations.verdicts import Verdict, Word
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

    def lesions(self) -> list[Outline]:
        """Find its lesions, as an export would hold them before anybody rejected one; slow, for a thread."""
        found, run = self.of.found, RunFolder(self.of.run)
        parts = [part for part in (exclusion_for(found, run, ()), self.excluded) if part is not None]
        exclusion = shapely.union_all(parts) if parts else None
        return lesions_of(found, self.threshold, self.sigma_px, corrections_for(run, found), exclusion)

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
        self._asked = self._answered = 0
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
        looked_at = (self.session.shown, self.session.a, self.session.b)
        masks = {str(one.path): self.mask(one) for one in looked_at if one is not None and one.act != "file"}
        known, look = self._lesions, (self.session.threshold, self.session.sigma_px)
        self._asked += 1
        asked = self._asked

        def work() -> tuple[dict[str, list[Any]], dict[Mask, list[Outline]]]:
            rest, lesions = {}, {}
            for path, mask in masks.items():
                with suppress(InputError, OSError):  # nobody asked: who lists lesions is told
                    verdicts = mask.verdicts()
                    if any(verdict.verdict == "reject" for verdict in verdicts):
                        lesions[mask] = known[mask] if mask in known else mask.lesions()
                        words, _ = verdicts_on(lesions[mask], verdicts, mask.of.found)
                        rest[path] = _without_rejected(mask, lesions[mask], words)
            return rest, lesions

        def done(found: tuple[dict[str, list[Any]], dict[Mask, list[Outline]]]) -> None:
            self._answered = max(asked, self._answered)
            if asked == self._asked:  # else they are looked for once more
                rest, lesions = found
                self._lesions = {**{mask: known for mask, known in self._lesions.items() if mask in masks.values()}, **lesions}
                self.masks.judge(rest, *look)

        in_thread(work, done)

    def _wait(self) -> None:
        self._timer.start()


def _without_rejected(mask: Mask, lesions: Sequence[Outline], words: Sequence[Word | None]) -> list[Any]:
    """Return the mask at every level without the lesions that were rejected."""
    found = mask.of.found
    rejected = [lesion.polygon for lesion, word in zip(lesions, words, strict=True) if word == "reject"]
    return made.without(made.mask_levels(found, mask.threshold, mask.sigma_px), found, shapely.union_all(rejected))
