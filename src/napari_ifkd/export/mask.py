"""A mask that is ready to be written, and what the writers need to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.slides import Slide

    from .mask_store import MaskStore
    from .options import ExportOptions
    from .outlines import Outline

NOT_VALID = "phantom teacher: not valid on this slide"
BAND = 512  # rows at a time
_WIDE = 8 * BAND  # columns smoothed at a time


class Source(Protocol):
    """What an export needs of a probability map, or of labels in its place."""

    slide: dict[str, Any]
    model: dict[str, Any]
    warnings: list[str]
    domain_warning: str | None
    attributes: dict[str, Any]
    scale_yx: tuple[float, float]
    bounds_origin_yx_level0: tuple[int, int]
    mpp: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        ...

    @property
    def pixel_size_um_yx(self) -> tuple[float, float]:
        """Side lengths of a px, um."""
        ...

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a window of the probability, 255 times; 0 where nobody looked."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What a label means: the name and colour of its class."""

    name: str
    colour: tuple[int, int, int]


TUMOUR = Kind("Tumor", (200, 0, 0))  # QuPath's own name and colour


@dataclass(frozen=True)
class FinishedMask:
    """A mask with everything that is written of it.

    Parameters
    ----------
    source : where it was cut from
    store : its labels on the grid of the source
    image : its labels at the resolution that was asked for; the same where none was
    outlines : of its objects, in px of the source; empty unless a format needs them
    facts : its provenance, JSON-ready
    options : what was chosen
    seen_px : how many px of the source were looked at, by the network or by a person who marked tumour there
    slide : the slide, where it is there
    dicom : folder of the slide's instances, where it is DICOM
    check : called with steps done and in all; raises to stop
    kinds : what the labels mean
    corner_yx_level0 : where the corner of the source lies, level-0 px
    """

    source: Source
    store: MaskStore
    image: MaskStore
    outlines: Sequence[Outline]
    facts: dict[str, Any]
    options: ExportOptions
    seen_px: int
    slide: Slide | None
    check: Callable[[int, int], None]
    dicom: Path | None = None
    kinds: Mapping[int, Kind] = field(default_factory=lambda: {1: TUMOUR})
    corner_yx_level0: tuple[float, float] = (0.0, 0.0)

    @property
    def warning(self) -> str | None:
        """Why nobody should believe it, None if nothing speaks against it."""
        return self.facts.get("warning")

    @property
    def pixel_size_um_yx(self) -> tuple[float, float]:
        """Side lengths of a px of `image`, um."""
        sides, own, image = self.source.pixel_size_um_yx, self.store.shape, self.image.shape
        return sides[0] * own[0] / image[0], sides[1] * own[1] / image[1]

    def name_of(self, label: int) -> str:
        """Return the name of an object of a label, with a word where the network does not know the tissue."""
        name = self.kinds[label].name
        return f"{name} ({NOT_VALID})" if self.facts.get("out_of_domain") else name


def labels_in(band: NDArray[np.integer]) -> list[int]:
    """Return the labels in a band, in order; quickly where there is but one."""
    highest = int(band.max(initial=0))
    return [1] * highest if highest <= 1 else [label for label in np.unique(band).tolist() if label > 0]


def bands_of(source: ProbabilityMap, threshold: float, sigma_px: float, check: Callable[[int, int], None]) -> Iterator[NDArray[np.uint8]]:
    """Cut a mask from a map, from top to bottom in bands of 512 rows.

    Parameters
    ----------
    source, threshold, sigma_px : as in :meth:`ProbabilityMap.mask`
    check : called with the rows done and in all; raises to stop
    """
    height, width = source.shape
    for y in range(0, height, BAND):
        check(y, height)
        rows = min(BAND, height - y)
        seen = source.read(y, 0, rows, width) > 0
        mask = np.zeros((rows, width), np.uint8)
        for x in range(0, width, _WIDE):
            piece = slice(x, min(x + _WIDE, width))
            if seen[:, piece].any():  # smoothing never reaches what was not looked at
                probability = source.smoothed(y, x, rows, piece.stop - x, sigma_px)
                mask[:, piece] = (probability >= threshold) & (probability > 0)
        yield mask
