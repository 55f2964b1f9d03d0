"""What is seen of predictions: masks at the present threshold, heat and comparisons, without what a person rejected or excluded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from psygnal import Signal

from . import layers as made

if TYPE_CHECKING:
    from collections.abc import Collection

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
        # masks without what was rejected, by path: at what, levels, and what that was
        self._judged: dict[str, tuple[tuple[float, float], list[Any], BaseGeometry | None]] = {}
        self._excluded: BaseGeometry | None = None

    def judge(self, path: str, levels: list[Any], threshold: float, sigma_px: float, rejected: BaseGeometry | None) -> None:
        """Take a mask from which something was taken.

        Parameters
        ----------
        path : of the prediction
        levels : of the mask; none where it is as the network says
        threshold, sigma_px : at which it was made
        rejected : what was taken, px of the map; at any other threshold it is left out until somebody has looked what is a lesion there
        """
        self._judged[path] = (threshold, sigma_px), levels, rejected
        self.changed.emit({path})

    def keep(self, paths: Collection[str]) -> None:
        """Forget the masks of all predictions but these."""
        self._judged = {path: judged for path, judged in self._judged.items() if path in paths}

    def exclude(self, excluded: BaseGeometry | None) -> None:
        """Leave out what is excluded on the active slide, (x, y) in level-0 px."""
        if excluded != self._excluded:
            self._excluded = excluded
            self.changed.emit(None)

    def of(self, candidate: Candidate) -> list[Any]:
        """Return the mask of a prediction at every level."""
        look = self.session.threshold, self.session.sigma_px
        at, known, rejected = self._judged.get(str(candidate.path), (look, [], None))
        levels = known if known and at == look else made.mask_levels(candidate.found, *look)
        if at != look and rejected is not None:
            levels = made.without(levels, candidate.found, rejected)
        return self._without_excluded(levels, candidate)

    def heat(self, candidate: Candidate) -> list[Any]:
        """Return its probability."""
        return self._without_excluded(made.heat_levels(candidate.found), candidate)

    def uncertainty(self, candidate: Candidate) -> list[Any]:
        """Return how unsure it is."""
        return self._without_excluded(made.uncertainty_levels(candidate.found, self.session.threshold), candidate)

    def disagreement(self, a: Candidate, b: Candidate) -> list[Any]:
        """Return where two predictions on the same grid differ, of what both looked at."""
        parts = [one.found for one in (a, b) if one.of_region]
        return made.disagreement_levels(self.of(a), self.of(b), parts)

    def _without_excluded(self, levels: list[Any], candidate: Candidate) -> list[Any]:
        if self._excluded is None:
            return levels
        scale_y, scale_x = candidate.found.scale_yx
        return made.without(levels, candidate.found, shapely.transform(self._excluded, lambda xy: xy / (scale_x, scale_y)))
