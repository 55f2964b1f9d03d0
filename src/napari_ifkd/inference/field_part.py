"""What a prediction of a field consists of, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FieldPart:
    """Part of a field, predicted.

    Attributes
    ----------
    values : ``(h, w)`` uint8: 0 where nothing was looked at, else the probability times 255
    origin_yx : its corner, px of its own grid
    scale_yx : level-0 px per px
    coarse : whether it was made at a coarser resolution than the network's
    to_come : how many parts follow at most
    """

    values: NDArray[np.uint8]
    origin_yx: tuple[int, int]
    scale_yx: tuple[float, float]
    coarse: bool
    to_come: int = 0
