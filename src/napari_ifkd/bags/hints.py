"""Hints: tiles in which a person corrected pixels, for the next round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .bags import Bags


@dataclass(frozen=True)
class Hints:
    """Bags that hold corrected pixels, and these pixels.

    Parameters
    ----------
    bags : the tiles; label 0 where all of a tile is known to be normal, else 1, so that the teacher is asked about the rest
    labels : ``(N, H, W)`` uint8, as large as the images: 0 not corrected, 1 normal, 2 tumour
    """

    bags: Bags
    labels: NDArray[np.uint8]
