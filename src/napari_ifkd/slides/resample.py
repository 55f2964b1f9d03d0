"""Exact resampling of one pixel grid onto another: area means downwards, linear upwards, reflection beyond the border.

Grids meet at their edges, not at pixel centres: output pixel ``i`` covers ``[origin + i * scale, origin + (i + 1) * scale)`` of the
source. Only weights of the two axes are needed, so a region can be cut anywhere, in any blocks, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Source pixels decoded at once: large aligned reads are several times faster than tiles, and this keeps floats near 100 MB.
_BLOCK_ROWS, _BLOCK_COLUMNS = 2048, 4096
# Halves go up, however the sums were rounded: the result must not depend on how a region is cut.
_HALF_UP = np.float32(0.501)
# Products this small stay on one thread: BLAS threads that wait for each other beside a busy model cost ten times the work.
_PRODUCT_ROWS, _PRODUCT_COLUMNS = 128, 1024
_BAND_PX = 16  # source pixels of an axis in one product
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
    count: int
    factor: int | None  # the output is a plain mean of this many source pixels; None: use the bands
    bands: list[tuple[slice, slice, npt.NDArray[np.float32]]]  # output pixels, their source pixels from start, dense weights

    @classmethod
    def build(cls, origin: float, count: int, scale: float, size: int) -> _Axis:
        """Weigh `count` output pixels from `origin`, `scale` source pixels each, on an axis of `size` source pixels."""
        factor, first = round(scale), round(origin)
        aligned = factor >= 1 and abs(origin - first) < _NEAR and abs(scale - factor) * count < _NEAR
        if aligned and first >= 0 and first + factor * count <= size:
            return cls(first, first + factor * count, count, factor, [])
        index = np.arange(count, dtype=np.float64)
        if scale > 1 - 1e-3:
            low = origin + index * scale
            taps = np.floor(low + _NEAR)[:, None] + np.arange(int(np.ceil(scale)) + 1)
            weights = np.minimum((low + scale)[:, None], taps + 1) - np.maximum(low[:, None], taps)
            weights[weights < _NEAR] = 0
        else:
            centre = origin + (index + 0.5) * scale - 0.5
            taps = np.floor(centre)[:, None] + np.arange(2)
            weights = 1 - np.abs(centre[:, None] - taps)
        weights /= weights.sum(axis=1, keepdims=True)
        columns = np.mod(taps.astype(np.int64), 2 * size)
        columns = np.where(columns >= size, 2 * size - 1 - columns, columns)  # reflection, edge pixel repeated
        columns = np.where(weights > 0, columns, columns[:, :1])
        start, stop = int(columns[weights > 0].min()), int(columns[weights > 0].max()) + 1
        step = max(4, min(32, int(_BAND_PX / scale)))
        bands = [_band(slice(i, min(count, i + step)), columns, weights, start) for i in range(0, count, step)]
        return cls(start, stop, count, None, bands)

    def banded(self) -> _Axis:
        """Write a plain mean as weights, for use beside an axis that needs them."""
        factor = self.factor or 1
        index = np.arange(self.count * factor).reshape(-1, factor)
        step = max(4, min(32, _BAND_PX // factor))
        weights = np.full(index.shape, 1 / factor)
        bands = [_band(slice(i, min(self.count, i + step)), index, weights, 0) for i in range(0, self.count, step)]
        return _Axis(self.start, self.stop, self.count, None, bands)


def _band(
    rows: slice, columns: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], start: int
) -> tuple[slice, slice, npt.NDArray[np.float32]]:
    """Write the weights of some output pixels as a small dense matrix: products of those beat a sparse one by far."""
    taps, share = columns[rows], weights[rows]
    used = share > 0
    low, high = int(taps[used].min()), int(taps[used].max()) + 1
    dense = np.zeros((len(taps), high - low), np.float32)
    np.add.at(dense, (np.nonzero(used)[0], taps[used] - low), share[used])
    return rows, slice(low - start, high - start), dense


def _resize(image: npt.NDArray[np.uint8], rows: _Axis, columns: _Axis, out: npt.NDArray[np.uint8]) -> None:
    if rows.factor is not None and columns.factor is not None:
        out[:] = (
            image if rows.factor == columns.factor == 1 else cv2.resize(image, (columns.count, rows.count), interpolation=cv2.INTER_AREA)
        )
        return
    if rows.factor is not None:
        rows = rows.banded()
    if columns.factor is not None:
        columns = columns.banded()
    flat = image.reshape(image.shape[0], -1)  # (h_in, w_in * 3)
    tall = np.empty((rows.count, flat.shape[1]), np.float32)
    for left in range(0, flat.shape[1], _PRODUCT_COLUMNS):
        strip = slice(left, left + _PRODUCT_COLUMNS)
        part = flat[:, strip].astype(np.float32)
        for lines, taps, weights in rows.bands:
            np.matmul(weights, part[taps], out=tall[lines, strip])
    # The second axis stays interleaved: three times the products, and still faster than turning the image twice.
    for cells, taps, weights in columns.bands:
        interleaved = np.kron(weights.T, np.eye(3, dtype=np.float32))
        for top in range(0, rows.count, _PRODUCT_ROWS):
            lines = slice(top, top + _PRODUCT_ROWS)
            part = tall[lines, 3 * taps.start : 3 * taps.stop] @ interleaved  # (h, n * 3)
            part += _HALF_UP
            out[lines, cells] = part.reshape(len(part), -1, 3)  # the cast cuts off


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
            _resize(block, rows, columns, out[y : y + n_y, x : x + n_x])
    return out
