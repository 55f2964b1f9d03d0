"""The pyramid of a slide: stored levels, and coarse ones built lazily where the file has too few."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from .reading import StoredLevel, cut
from .resample import PixelSource, resample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from tiffslide import TiffSlide

#: px; side of the chunks handed to dask (less where the file's tiles do not divide it).
CHUNK_PX = 2048
#: px; the pyramid goes on until its coarsest level fits into this square.
COARSEST_PX = 2048
_BLOCK_PX = 1024
_CACHE_BYTES = 192 * 2**20
_MAX_CHUNK_PX = 2**25


class BlockCache:
    """Built blocks of all coarse levels of a slide, the least recently used dropped first: panning must not decode level 0 again."""

    def __init__(self, limit_bytes: int = _CACHE_BYTES) -> None:
        self._limit, self._bytes = limit_bytes, 0
        self._blocks: OrderedDict[tuple[int, int, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
        """Return a block, ``(y, x, 3)``, or None."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
            return block

    def put(self, key: tuple[int, int, int], block: npt.NDArray[np.uint8]) -> None:
        """Keep a block, and drop old ones over the limit."""
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes


class BuiltLevel:
    """A level that the file lacks: area means of the level before, half its size, computed block by block when read.

    Parameters
    ----------
    source : the next finer level
    cache : shared by the built levels of a slide
    index : of this level in the pyramid
    """

    ndim = 3
    dtype = np.dtype(np.uint8)
    tile = (_BLOCK_PX, _BLOCK_PX)

    def __init__(self, source: PixelSource, cache: BlockCache, index: int) -> None:
        self._source, self._cache, self._index = source, cache, index
        height, width, _ = source.shape
        self.shape = (max(1, height // 2), max(1, width // 2), 3)
        # From the real shapes, so that an odd pixel is shared out instead of shifting the level.
        self._scale = height / self.shape[0], width / self.shape[1]

    def _block(self, row: int, column: int) -> npt.NDArray[np.uint8]:
        key = (self._index, row, column)
        block = self._cache.get(key)
        if block is None:
            y, x = row * _BLOCK_PX, column * _BLOCK_PX
            shape = min(_BLOCK_PX, self.shape[0] - y), min(_BLOCK_PX, self.shape[1] - x)
            block = resample(self._source, (y * self._scale[0], x * self._scale[1]), shape, self._scale)
            self._cache.put(key, block)
        return block

    def read(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Return rows ``y0:y1`` and columns ``x0:x1`` inside the level, ``(y, x, 3)``."""
        out = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        for row in range(y0 // _BLOCK_PX, (y1 - 1) // _BLOCK_PX + 1):
            for column in range(x0 // _BLOCK_PX, (x1 - 1) // _BLOCK_PX + 1):
                block, top, left = self._block(row, column), row * _BLOCK_PX, column * _BLOCK_PX
                a, b = max(y0, top), min(y1, top + block.shape[0])
                c, d = max(x0, left), min(x1, left + block.shape[1])
                out[a - y0 : b - y0, c - x0 : d - x0] = block[a - top : b - top, c - left : d - left]
        return out

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
        """Cut by slices, as dask does."""
        return cut(self, key)


def build_pyramid(path: Path, slide: TiffSlide) -> tuple[list[PixelSource], int]:
    """List the levels of a slide, finest first, and how many of them are stored in the file.

    Stored levels that are no reduction of level 0 (another aspect, or larger than the one before) are left out.
    """
    levels: list[PixelSource] = []
    for index in range(slide.level_count):
        level = StoredLevel(path, slide, index)
        if not levels or _reduces(level.shape, levels[0].shape, levels[-1].shape):
            levels.append(level)
    return complete_pyramid(levels)


def complete_pyramid(levels: list[PixelSource]) -> tuple[list[PixelSource], int]:
    """Add the coarse levels that are missing to the stored ones, finest first; return all, and how many were stored."""
    stored, cache = len(levels), BlockCache()
    while max(levels[-1].shape[:2]) > COARSEST_PX:
        levels.append(BuiltLevel(levels[-1], cache, len(levels)))
    return levels, stored


def _reduces(shape: tuple[int, ...], finest: tuple[int, ...], last: tuple[int, ...]) -> bool:
    """Tell whether a stored level shows all of level 0, smaller than the level before."""
    smaller = shape[0] <= last[0] and shape[1] <= last[1] and shape[:2] != last[:2]
    scale = max(finest[0] / shape[0], finest[1] / shape[1])
    # Writers round to whole pixels or pad to whole blocks: two pixels or 2 % are theirs to lose.
    return smaller and all(abs(finest[axis] / scale - shape[axis]) <= max(2, 0.02 * shape[axis]) for axis in (0, 1))


def chunk_shape(shape: tuple[int, int, int], tile: tuple[int, int]) -> tuple[int, int, int]:
    """Choose dask's chunks, (y, x, 3): about `CHUNK_PX` a side, and whole tiles of the file."""
    width = tile[1] * max(1, CHUNK_PX // tile[1])
    rows = max(1, min(CHUNK_PX, _MAX_CHUNK_PX // width) // tile[0])
    return min(shape[0], tile[0] * rows), min(shape[1], width), 3


def as_dask(level: PixelSource, name: str) -> da.Array:
    """Wrap a level as a lazy dask array, ``(y, x, 3)`` uint8, in large aligned chunks."""
    # A name of our own: dask would else try to hash an open file.
    source: Any = level
    chunks = chunk_shape(level.shape, level.tile)
    array: da.Array = da.from_array(  # type: ignore[no-untyped-call]
        source, chunks=chunks, name=f"{name}-{uuid.uuid4().hex}", asarray=False, fancy=False, meta=np.empty((0, 0, 0), np.uint8)
    )
    return array
