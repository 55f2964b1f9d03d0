"""What is seen of predictions: masks at the present threshold, heat and comparisons, without what a person rejected or excluded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from psygnal import Signal

from . import layers as made

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate


class Masks:
    """Make the levels of what is seen of predictions on the active slide; all of it is uint8.

    Parameters
    ----------
    session : knows threshold and smoothing
    """

    changed = Signal(object)  # something else is left out, of predictions known by their paths; None: of all

    def __init__(self, session: Session) -> None:
        self.session = session
        self._judged: tuple[tuple[float, float], dict[str, list[Any]]] = ((0.0, 0.0), {})  # masks without what was rejected, by path
        self._excluded: BaseGeometry | None = None

    def judge(self, judged: dict[str, list[Any]], threshold: float, sigma_px: float) -> None:
        """Take masks from which something was taken.

        Parameters
        ----------
        judged : their levels, by the path of the prediction; all others are as the networks say
        threshold, sigma_px : at which they were made; at any other they do not hold
        """
        former = self._judged[1]
        self._judged = (threshold, sigma_px), judged
        if former or judged:
            self.changed.emit({*former, *judged})

    def exclude(self, excluded: BaseGeometry | None) -> None:
        """Leave out what is excluded on the active slide, (x, y) in level-0 px."""
        if excluded != self._excluded:
            self._excluded = excluded
            self.changed.emit(None)

    def of(self, candidate: Candidate) -> list[Any]:
        """Return the mask of a prediction at every level."""
        look = self.session.threshold, self.session.sigma_px
        judged = self._judged[1].get(str(candidate.path)) if self._judged[0] == look else None
        return self._without_excluded(judged or made.mask_levels(candidate.found, *look), candidate)

    def heat(self, candidate: Candidate) -> list[Any]:
        """Return its probability."""
        return self._without_excluded(made.heat_levels(candidate.found), candidate)

    def uncertainty(self, candidate: Candidate) -> list[Any]:
        """Return how unsure it is."""
        return self._without_excluded(made.uncertainty_levels(candidate.found, self.session.threshold), candidate)

    def disagreement(self, a: Candidate, b: Candidate) -> list[Any]:
        """Return where two predictions on the same grid differ."""
        return made.disagreement_levels(self.of(a), self.of(b))

    def _without_excluded(self, levels: list[Any], candidate: Candidate) -> list[Any]:
        if self._excluded is None:
            return levels
        scale_y, scale_x = candidate.found.scale_yx
        return made.without(levels, candidate.found, shapely.transform(self._excluded, lambda xy: xy / (scale_x, scale_y)))
