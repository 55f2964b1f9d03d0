"""Distance between the outlines of two masks, for images of any size: outlines are collected block by block, and compared as points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PX = 1 << 24  # outline px of a mask beyond which nothing is measured: a mask that ragged has no outline to speak of
_PERCENTILE = 95


class Outlines:
    """Outlines of a mask and of the truth, of one image.

    A px belongs to the outline if it is foreground and one of its four neighbours is not; beyond the border of the image is background.

    Parameters
    ----------
    shape : ``(H, W)`` of the image, px
    spacing_um : um/px along y and x
    """

    def __init__(self, shape: tuple[int, int], spacing_um: tuple[float, float]) -> None:
        self.shape, self.spacing_um = shape, spacing_um
        self._points: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
        self._counts = [0, 0]

    def add(self, mask: NDArray[np.bool_], truth: NDArray[np.bool_], y0: int, x0: int) -> None:
        """Add a block.

        Parameters
        ----------
        mask, truth : ``(h + 2, w + 2)`` bool: the block with one px of what surrounds it, False beyond the border of the image
        y0, x0 : of the block's first px, without the surroundings
        """
        for kind, image in enumerate((mask, truth)):
            inner = image[1:-1, 1:-1]
            outline = inner & ~(image[:-2, 1:-1] & image[2:, 1:-1] & image[1:-1, :-2] & image[1:-1, 2:])
            points = np.argwhere(outline).astype(np.int32)
            self._counts[kind] += len(points)
            if self._counts[kind] <= _MOST_PX:
                self._points[kind].append(points + np.array([y0, x0], np.int32))

    def hd95_um(self) -> float | None:
        """Return the 95th percentile of the distances between the outlines, the larger of both directions.

        Returns
        -------
        float or None
            um. The diagonal of the image where one of the masks is empty, 0 where both are; None where a mask has more than 16 million
            outline px.
        """
        if not all(self._counts):
            return math.hypot(*(n * um for n, um in zip(self.shape, self.spacing_um, strict=True))) if any(self._counts) else 0.0
        if max(self._counts) > _MOST_PX:
            return None
        mask, truth = (np.concatenate(points) * np.asarray(self.spacing_um) for points in self._points)
        return max(_percentile(mask, truth), _percentile(truth, mask))


def hd95_um(mask: NDArray[np.bool_], truth: NDArray[np.bool_], mpp: float | tuple[float, float]) -> float | None:
    """Return the 95th percentile of the distances between the outlines of two whole masks, see :meth:`Outlines.hd95_um`.

    Parameters
    ----------
    mask, truth : ``(H, W)`` bool
    mpp : um/px, or that along y and x
    """
    outlines = Outlines(mask.shape, (mpp, mpp) if isinstance(mpp, int | float) else mpp)
    outlines.add(np.pad(mask, 1), np.pad(truth, 1), 0, 0)
    return outlines.hd95_um()


def _percentile(points: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    # outlines lie on a grid: splitting at the middle is much faster than at the median, and as good
    tree = KDTree(others, leafsize=32, balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(points)
    return float(np.percentile(distances, _PERCENTILE))
