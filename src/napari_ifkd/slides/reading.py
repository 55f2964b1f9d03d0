"""One stored level of a slide as plain RGB pixels, and every failure of the libraries below as one `SlideError`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import tifffile
from tiffslide import TiffSlide
from tiffslide._zarr import get_zarr_selection
from zarr.core.sync import sync

from napari_ifkd.errors import Cancelled, SlideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

# tifffile logs what it also raises or what we check ourselves; without a handler Python would print it on stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_COPY = "Copy it again from its source, or rescan the slide"
_VIPS = "vips tiffsave IN OUT --tile --pyramid --compression jpeg"
_CONVERT = f"Convert it to a tiled, pyramidal 8-bit RGB TIFF, for example with the free program vips: {_VIPS}"
_TAIL = 64  # bytes at the end of a tile in which the end-of-image mark of JPEG must stand
_MAX_TILE_BYTES = 2**30
#: px; the largest scanners stay below 5e10. A damaged header may claim 10^12, and nothing sensible can follow.
MAX_LEVEL0_PX = 10**11


def _quieten(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop what zarr's loop says of the other tiles of a read that failed: the first failure has been raised, and tells it all."""
    task = context.get("future") or context.get("task")
    if "concurrent_map" not in repr(task):
        loop.default_exception_handler(context)


async def _quieten_running_loop() -> None:
    asyncio.get_running_loop().set_exception_handler(_quieten)


async def _finish_others() -> None:
    """Wait for the other tiles of a read that failed: left alone they would complain when the process ends."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if others:
        await asyncio.wait(others, timeout=10)


def explain(error: Exception) -> tuple[str, str]:
    """Tell the cause and the remedy of a failure of the libraries that read slides."""
    text = (str(error).strip().splitlines() or [""])[0][:160]
    if isinstance(error, tifffile.TiffFileError) and "not a TIFF" in text:
        return (
            "is not a slide (not a TIFF file)",
            f"Give a whole-slide image (svs, tif, ndpi, scn, bif); a picture in another format can be made one: {_VIPS}",
        )
    if isinstance(error, ValueError) and "closed file" in text:
        return "was closed while it was read", "Open it again"
    if isinstance(error, MemoryError):
        return "does not fit into memory", _CONVERT
    if isinstance(error, ZeroDivisionError):
        return "has an image or tile size of zero in its header", _COPY
    if isinstance(error, IndexError):
        return "is truncated or damaged: its directory of images cannot be read", _COPY
    if isinstance(error, NotImplementedError):
        if "ndim" in text:
            return "is a stack of pictures (planes, times or many channels), not one flat picture", _CONVERT
        return f"holds an image of a kind that is not supported ({text})", _CONVERT
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})", "Check the path and your rights on it"
    unknown = re.match(r"(\d+) is not a known COMPRESSION", text)
    if unknown is not None:
        return f"says that it is compressed by method {unknown[1]}, which no decoder knows", _CONVERT
    if "COMPRESSION" in text or "codec" in text.lower():
        return f"uses a compression that cannot be decoded ({text})", _CONVERT
    if re.match(r"(Jpeg|Lzw|Zlib|Deflate|Zstd|Webp)", type(error).__name__):
        return f"is damaged: a part of the picture cannot be decoded ({text})", _COPY
    return f"is damaged or not a slide ({type(error).__name__}: {text})", _COPY


@contextlib.contextmanager
def slide_errors(path: Path) -> Iterator[None]:
    """Turn whatever fails inside into a `SlideError` that names the file, the cause and a remedy."""
    try:
        yield
    except (SlideError, Cancelled):
        raise
    except Exception as error:
        raise SlideError(path, *explain(error)) from error


def open_tiff(path: Path) -> TiffSlide:
    """Open a slide with tiffslide and check its header before anything is decoded.

    Raises
    ------
    SlideError
        If it is no slide, truncated, or claims sizes that cannot be.
    """
    if path.is_dir():
        raise SlideError(path, "is a folder, not a slide", "Give one slide file")
    if not path.exists():
        raise SlideError(path, "does not exist", "Check the path")
    if path.stat().st_size == 0:
        raise SlideError(path, "is empty (0 bytes)", _COPY)
    slide = None
    try:
        with slide_errors(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tiffslide warns of vendors it parses in part
            sync(_quieten_running_loop())  # else a damaged tile prints a traceback for each of its neighbours
            slide = TiffSlide(path)
            _check_header(path, slide)
    except SlideError:
        if slide is not None:
            slide.close()
        raise
    return slide


def _check_header(path: Path, slide: TiffSlide) -> None:
    width, height = slide.dimensions
    if width < 1 or height < 1:
        raise SlideError(path, f"claims a size of {width} x {height} px", _COPY)
    if width * height > MAX_LEVEL0_PX:
        raise SlideError(path, f"claims {width} x {height} px, more than any scanner makes: its header is damaged", _COPY)
    tiff = slide.ts_tifffile
    size = path.stat().st_size
    for page in (page for series in stored_series(slide) for level in series.levels for page in level.pages if page is not None):
        if page.parent is not tiff:  # one file of several of an OME set
            continue
        offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
        if len(offsets) == len(counts) and np.any((counts > 0) & (offsets + counts > size)):
            lost = int(np.sum((counts > 0) & (offsets + counts > size)))
            raise SlideError(path, f"is truncated: {lost} of {len(offsets)} tiles of a level lie beyond the end of the file", _COPY)


def stored_series(slide: TiffSlide) -> list[Any]:
    """Return the tifffile series that make up the slide itself: never a label or macro image."""
    composition = slide.properties.get("tiffslide.series-composition")
    indices = composition["located_series"] if composition else [slide.properties.get("tiffslide.series-index", 0)]
    return [slide.ts_tifffile.series[int(index)] for index in indices]


class StoredLevel:
    """A level in the file, read as RGB: an array-like that dask can cut and `resample` can read.

    Parameters
    ----------
    path : of the slide
    slide : the open tiffslide
    level : index of the level
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, slide: TiffSlide, level: int) -> None:
        self._path, self._level, self._file = path, level, slide.ts_tifffile.filehandle
        self._axes = slide.properties["tiffslide.series-axes"]
        self._group = slide.zarr_group  # thread-local in tiffslide, but its arrays may be read from any thread
        width, height = slide.level_dimensions[level]
        self.shape = (height, width, 3)
        composed = slide.properties.get("tiffslide.series-composition")
        page = stored_series(slide)[0].levels[level].pages[0].keyframe
        array: Any = self._group[f"{next(iter(composed['located_series']))}/{level}" if composed else str(level)]
        self._array = None if composed else array
        y = self._axes.index("Y")
        self.tile: tuple[int, int] = tuple(array.chunks[y : y + 2])
        self._channels = array.shape[self._axes.index("S" if "S" in self._axes else "C")] if len(self._axes) == 3 else 1
        self._check_kind(array)
        self._ends = None if composed else _TileEnds.of(path, page, self._axes)

    def _check_kind(self, array: Any) -> None:
        if array.dtype != np.uint8:
            raise SlideError(self._path, f"holds {array.dtype} pixels; 8 bits a channel are needed", _CONVERT)
        if self._channels not in (1, 3, 4):
            raise SlideError(self._path, f"has {self._channels} channels; RGB or grey is needed", _CONVERT)
        stored = int(np.prod(array.chunks, dtype=np.int64))
        if stored > _MAX_TILE_BYTES:
            raise SlideError(self._path, f"is stored in blocks of {stored / 2**30:.0f} GiB, which cannot be read in part", _CONVERT)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Return rows ``y0:y1`` and columns ``x0:x1`` inside the level, ``(y, x, 3)``; tiles missing in the file are black.

        Raises
        ------
        SlideError
            If the file is damaged there, or has been closed.
        """
        if self._file.closed:
            raise SlideError(self._path, "has been closed", "Open it again")
        with slide_errors(self._path):
            if self._ends is not None:
                self._ends.check(y0, y1, x0, x1)
            box = slice(y0, y1), slice(x0, x1)
            selection: Any = {"YX": box, "YXS": (*box, slice(None)), "CYX": (slice(None), *box)}[self._axes]
            pixels = self._decode(selection)
        if self._axes == "CYX":
            pixels = pixels.transpose(1, 2, 0)
        if self._channels == 1:
            pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
        return np.ascontiguousarray(pixels[..., :3])

    def _decode(self, selection: Any) -> npt.NDArray[np.uint8]:
        try:
            return np.asarray(get_zarr_selection(self._group, self._level, selection) if self._array is None else self._array[selection])
        except Exception:
            sync(_finish_others())
            raise

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
        """Cut by slices, as dask does."""
        return cut(self, key)


def cut(source: Any, key: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
    """Cut a `PixelSource` by a tuple of up to three slices."""
    key = (*key, *[slice(None)] * (3 - len(key)))
    (y0, y1, step_y), (x0, x1, step_x) = key[0].indices(source.shape[0]), key[1].indices(source.shape[1])
    if y1 <= y0 or x1 <= x0:
        return np.zeros((max(0, y1 - y0), max(0, x1 - x0), 3), np.uint8)[:, :, key[2]]
    pixels: npt.NDArray[np.uint8] = source.read(y0, y1, x0, x1)[::step_y, ::step_x, key[2]]
    return pixels


class _TileEnds:
    """Check that JPEG tiles are complete: decoders fill a tile that was zeroed half-way with grey, without a word."""

    def __init__(self, path: Path, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], tile: tuple[int, int]) -> None:
        self._path, self._offsets, self._counts, self._tile = path, offsets, counts, tile
        self._good = np.zeros(offsets.shape, bool)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, path: Path, page: Any, axes: str) -> _TileEnds | None:
        """Make the check for a level, or None where it does not apply (not JPEG, not tiled, or tiles without an end of their own)."""
        if not page.is_tiled or page.compression != tifffile.COMPRESSION.JPEG or page.is_ndpi or axes == "CYX":
            return None
        tile = page.tilelength, page.tilewidth
        grid = -(-page.imagelength // tile[0]), -(-page.imagewidth // tile[1])
        offsets, counts = (np.asarray(v, np.int64) for v in (page.dataoffsets, page.databytecounts))
        if offsets.size != grid[0] * grid[1] or counts.size != offsets.size:
            return None
        return cls(path, offsets.reshape(grid), counts.reshape(grid), tile)

    def check(self, y0: int, y1: int, x0: int, x1: int) -> None:
        """Look at the last bytes of the tiles of a box, once each."""
        rows = slice(y0 // self._tile[0], (y1 - 1) // self._tile[0] + 1)
        columns = slice(x0 // self._tile[1], (x1 - 1) // self._tile[1] + 1)
        todo = np.argwhere(~self._good[rows, columns] & (self._counts[rows, columns] > 0)) + np.array([rows.start, columns.start])
        if len(todo) == 0:
            return
        with self._lock, self._path.open("rb", buffering=0) as file:
            bad = [(int(y), int(x)) for y, x in todo if not self._complete(file, y, x)]
        if bad:
            y, x = bad[0][0] * self._tile[0], bad[0][1] * self._tile[1]
            what = "a tile is" if len(bad) == 1 else f"{len(bad)} tiles are"
            raise SlideError(self._path, f"is damaged: {what} cut short (at x {x}, y {y} px of its level)", _COPY)

    def _complete(self, file: BinaryIO, y: int, x: int) -> bool:
        count = int(self._counts[y, x])
        tail = min(_TAIL, count)
        file.seek(int(self._offsets[y, x]) + count - tail)
        self._good[y, x] = b"\xff\xd9" in file.read(tail)
        return bool(self._good[y, x])
