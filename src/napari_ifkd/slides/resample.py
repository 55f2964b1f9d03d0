"""Exact resampling of one pixel grid onto another: area means downwards, linear upwards, reflection beyond the border.

Grids meet at their edges, not at pixel centres: output pixel ``i`` covers ``[origin + i * scale, origin + (i + 1) * scale)`` of the
source. Only weights of the two axes are needed, so a region can be cut anywhere, in any blocks, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import numpy.typing as npt

# Source pixels decoded at once: large aligned reads are several times faster than tiles, and this keeps floats near 100 MB.
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 4096
_NEAR = 1e-6  # of a source pixel


class PixelSource(Protocol):
    """Anything that hands out RGB pixels of a grid."""

    shape: tuple[int, int, int]  # (height, width, 3)
    tile: tuple[int, int]  # (height, width) of what is decoded at once

    def read(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Return rows ``y0:y1`` and columns ``x0:x1``, ``(y, x, 3)``; all inside the grid."""
        ...


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of the output is made from source pixels ``start:stop``."""

    start: int
    stop: int
    factor: int | None  # the output is a plain mean of this many source pixels; None: use the matrix
    matrix: Any  # scipy CSR, (n_out, stop - start), float32

    @classmethod
    def build(cls, origin: float, count: int, scale: float, size: int) -> _Axis:
        """Weigh `count` output pixels from `origin`, `scale` source pixels each, on an axis of `size` source pixels."""
        factor, first = round(scale), round(origin)
        aligned = factor >= 1 and abs(origin - first) < _NEAR and abs(scale - factor) * count < _NEAR
        if aligned and first >= 0 and first + factor * count <= size:
            return cls(first, first + factor * count, factor, None)
        index = np.arange(count, dtype=np.float64)
        if scale > 1 - 1e-3:
            low = origin + index * scale
            high = low + scale
            taps = np.floor(low + _NEAR)[:, None] + np.arange(int(np.ceil(scale)) + 1)
            weights = np.minimum(high[:, None], taps + 1) - np.maximum(low[:, None], taps)
            weights[weights < _NEAR] = 0
        else:
            centre = origin + (index + 0.5) * scale - 0.5
            taps = np.floor(centre)[:, None] + np.arange(2)
            weights = 1 - np.abs(centre[:, None] - taps)
        weights /= weights.sum(axis=1, keepdims=True)
        columns = np.mod(taps.astype(np.int64), 2 * size)
        columns = np.where(columns >= size, 2 * size - 1 - columns, columns)  # reflection, edge pixel repeated
        rows = np.broadcast_to(np.arange(count)[:, None], columns.shape)
        used = weights > 0
        start, stop = int(columns[used].min()), int(columns[used].max()) + 1
        matrix = sparse.csr_array((weights[used].astype(np.float32), (rows[used], columns[used] - start)), shape=(count, stop - start))
        return cls(start, stop, None, matrix)

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Resample the first axis of `image` ``(n_in, ...)`` to ``(n_out, ...)``."""
        if self.factor == 1:
            return image
        rest = image.shape[1:]
        flat = np.ascontiguousarray(image.reshape(image.shape[0], -1), dtype=np.float32)
        if self.factor is not None:
            mean: npt.NDArray[Any] = flat.reshape(-1, self.factor, flat.shape[1]).mean(axis=1)
            return mean.reshape(-1, *rest)
        result: npt.NDArray[Any] = self.matrix @ flat
        return result.reshape(-1, *rest)


def _resize(image: npt.NDArray[np.uint8], rows: _Axis, columns: _Axis) -> npt.NDArray[np.uint8]:
    if rows.factor == 1 and columns.factor == 1:
        return image
    if rows.factor is not None and columns.factor is not None:
        size = (image.shape[1] // columns.factor, image.shape[0] // rows.factor)
        small: npt.NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return small
    tall = rows.apply(image)  # (h_out, w_in, 3)
    wide = columns.apply(tall.transpose(1, 0, 2))  # (w_out, h_out, 3)
    return np.clip(np.rint(wide.transpose(1, 0, 2)), 0, 255).astype(np.uint8)


def resample(
    source: PixelSource, origin_yx: tuple[float, float], shape: tuple[int, int], scale_yx: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    """Read a region of `source` on another grid, block by block.

    Parameters
    ----------
    source : PixelSource
    origin_yx : top-left edge of output pixel (0, 0), source px; may lie outside
    shape : (height, width) of the output, px
    scale_yx : source px per output px, y and x

    Returns
    -------
    uint8 array, ``(height, width, 3)``; beyond the border of the source the image is reflected
    """
    height, width = shape
    out = np.empty((height, width, 3), dtype=np.uint8)
    step_y = max(1, int(max(_BLOCK_ROWS, source.tile[0]) / scale_yx[0]))
    # A block as wide as a stored tile at least: files of full-width stripes would be decoded again and again.
    step_x = max(1, int(max(_BLOCK_COLUMNS, source.tile[1]) / scale_yx[1]))
    for x in range(0, width, step_x):
        n_x = min(step_x, width - x)
        columns = _Axis.build(origin_yx[1] + x * scale_yx[1], n_x, scale_yx[1], source.shape[1])
        for y in range(0, height, step_y):
            n_y = min(step_y, height - y)
            rows = _Axis.build(origin_yx[0] + y * scale_yx[0], n_y, scale_yx[0], source.shape[0])
            block = source.read(rows.start, rows.stop, columns.start, columns.stop)
            out[y : y + n_y, x : x + n_x] = _resize(block, rows, columns)
    return out
