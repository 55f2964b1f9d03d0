"""F1 of a round's maps against the reference masks, for the eye: told with the round after it was decided about, and read by no rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.errors import Cancelled
from napari_ifkd.inference import open_map

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide

    from .reference import OnGrid, References

_WINDOW_PX = 2048  # of a map, read at once


class ReferenceF1:
    """Reference masks of slides against maps at the run's threshold; glass that a map did not look at counts as normal.

    Parameters
    ----------
    references : the masks; those of patches are left to the end of the run
    slides : of the run
    config : threshold and smoothing count
    exclusions : (x, y) in level-0 px, by the slide's name: not looked at
    should_stop : asked for each window
    """

    def __init__(
        self,
        references: References,
        slides: Sequence[Slide],
        config: Config,
        exclusions: Mapping[str, BaseGeometry],
        should_stop: Callable[[], bool],
    ) -> None:
        self.references, self.config, self.exclusions, self.should_stop = references, config, exclusions, should_stop
        self.slides = [slide for slide in slides if slide.name in references.of_slides]

    def scores(self, maps: Mapping[str, Path]) -> dict[str, float]:
        """Score the maps of a round.

        Parameters
        ----------
        maps : folder of the map of each slide, by the slide's name

        Returns
        -------
        ``reference_f1``, pooled over the slides; nothing where neither masks nor maps hold tumour

        Raises
        ------
        AnnotationError, EngineError
            If a mask or a map is damaged.
        Cancelled
            If the run shall stop.
        """
        hit = said = tumour = 0
        for slide in self.slides:
            pmap = open_map(maps[slide.name])
            with self.references.of_slide(slide) as reference:
                grid = reference.on_grid(pmap.scale_yx, self.exclusions.get(slide.name))
                here = held_against(grid, pmap.shape, partial(self._marked, pmap), self.should_stop)
                hit, said, tumour = hit + here[0], said + here[1], tumour + here[2]
        return {"reference_f1": 2 * hit / (said + tumour)} if said + tumour else {}

    def _marked(self, pmap: ProbabilityMap, y: int, x: int, height: int, width: int) -> NDArray[np.bool_]:
        smoothed = pmap.smoothed(y, x, height, width, self.config.inference.sigma_px)
        marked: NDArray[np.bool_] = smoothed >= self.config.inference.threshold
        return marked


def held_against(
    grid: OnGrid, shape: tuple[int, int], read: Callable[[int, int, int, int], NDArray[np.bool_]], should_stop: Callable[[], bool]
) -> tuple[int, int, int]:
    """Hold a mask against a reference.

    Parameters
    ----------
    grid : the reference, on the mask's grid
    shape : rows and columns of the grid
    read : reads a window of the mask: row, column, height and width, px
    should_stop : asked for each window

    Returns
    -------
    How many pixels are tumour in both, in the mask, and in the reference, of those that are known

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    """
    hit = said = tumour = 0
    for y in range(0, shape[0], _WINDOW_PX):
        for x in range(0, shape[1], _WINDOW_PX):
            if should_stop():
                raise Cancelled
            window = y, x, min(_WINDOW_PX, shape[0] - y), min(_WINDOW_PX, shape[1] - x)
            there, known = grid.read(*window)
            marked = known & read(*window)
            hit += int(np.count_nonzero(marked & there))
            said += int(np.count_nonzero(marked))
            tumour += int(np.count_nonzero(there))
    return hit, said, tumour
