"""Pixel truth of a slide, for scoring the maps of a run. Nothing that trains or chooses may import this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.annotations import read_mask
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.distill.evaluate import evaluate_map

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.config import Config
    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide


class Truth:
    """The mask of one slide.

    Parameters
    ----------
    path : label image, tumour where it is not 0
    slide : the slide it covers

    Raises
    ------
    AnnotationError
        If it cannot be read, or was made of another slide.
    """

    def __init__(self, path: Path, slide: Slide) -> None:
        self.path, self.slide_name = path, slide.name
        check_slide(path, slide)
        read_mask(path).close()  # better now than after the first round

    def scores(self, pmap: ProbabilityMap, config: Config) -> dict[str, float]:
        """Score a map of the slide at threshold 0.5, smoothed as the settings say.

        Returns
        -------
        dict, see :meth:`napari_ifkd.distill.metrics.Evaluation.result`

        Raises
        ------
        AnnotationError
            If the mask does not fit the slide.
        """
        with read_mask(self.path) as mask:
            return evaluate_map(pmap, mask, 0.5, config.inference.sigma_px)
