"""Writing a probability map: rows come from top to bottom; the folder appears under its name only when complete."""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_ifkd import __version__
from napari_ifkd.errors import RunError
from napari_ifkd.files import cannot_write, make_folder, naming, sync, sync_tree

from .probability_map import ATTRIBUTE, ProbabilityMap, open_map
from .standing import Standing, aside_of, forget_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from napari_ifkd.config import Config
    from napari_ifkd.slides import Slide

    from .coverage import Coverage

CHUNK = 512
_COARSEST = 1024  # px; levels are added until one fits


class MapWriter:
    """Context manager; leaves nothing behind unless :meth:`complete` was reached, or what was written shall be kept.

    Parameters
    ----------
    path : the map's folder; an older one there is replaced at the very end
    shape : ``(H, W)`` of the finest level, px
    keep : leave an unfinished map aside for another writer to take up
    standing : go on with the map that a writer left aside then

    Raises
    ------
    RunError
        From the block and all methods, if it cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int], *, keep: bool = False, standing: Standing | None = None) -> None:
        self.path, self.shape, self._keep, self._standing = path, shape, keep, standing
        self._aside = aside_of(path)
        self._old = path.with_name(f".{path.name}.old")
        self._rows = np.zeros((CHUNK, shape[1]), np.uint8)
        self._filled, self._written = 0, 0
        self._unsynced: list[Path] = []  # folders of chunks

    def __enter__(self) -> MapWriter:
        """Make the unfinished map beside its place."""
        with self._writing():
            make_folder(self.path.parent)
            if self._old.exists() and not self.path.exists():
                self._old.rename(self.path)  # a process was killed between two renames
            if self._standing is None:
                forget_standing(self.path)  # first: it belongs to what lies aside
                shutil.rmtree(self._aside, ignore_errors=True)  # left by a killed process
            self._group = zarr.open_group(self._aside, mode="a", zarr_format=3)
            self._finest = self._level(0, self.shape)
            if self._standing is not None:
                self._written, self._filled = self._standing.written, len(self._standing.rows)
                self._rows[: self._filled] = self._standing.rows
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove whatever is unfinished, unless it shall be kept."""
        if not self._keep:
            shutil.rmtree(self._aside, ignore_errors=True)

    @property
    def row(self) -> int:
        """The next row to come."""
        return self._written + self._filled

    @property
    def waiting(self) -> NDArray[np.uint8]:
        """Rows that were appended and are not yet on disk, ``(n, W)``."""
        return self._rows[: self._filled]

    def written(self) -> int:
        """Return the number of rows on disk, having made sure that they are."""
        with self._writing():
            while self._unsynced:
                sync_tree(self._unsynced.pop())
        return self._written

    def append(self, rows: NDArray[np.uint8]) -> None:
        """Append rows ``(n, W)``."""
        while len(rows):
            take = min(CHUNK - self._filled, len(rows))
            self._rows[self._filled : self._filled + take] = rows[:take]
            self._filled += take
            rows = rows[take:]
            if self._filled == CHUNK or self.row == self.shape[0]:
                self._flush()

    def complete(self, attributes: dict[str, Any], check: Callable[[], None]) -> ProbabilityMap:
        """Build the coarse levels, write the attributes and put the map in its place.

        Parameters
        ----------
        attributes : JSON-ready, stored with the map
        check : called now and then; raises to stop
        """
        if self.row != self.shape[0]:
            raise ValueError(f"{self.row} of {self.shape[0]} rows were written")
        with self._writing():
            levels = [self._finest]
            while max(levels[-1].shape) > _COARSEST:
                rows, columns = levels[-1].shape
                levels.append(self._level(len(levels), (math.ceil(rows / 2), math.ceil(columns / 2))))
                _halve(levels[-2], levels[-1], check)
            self._group.attrs.put({ATTRIBUTE: attributes, "ome": _multiscales(len(levels), attributes)})
            check()
            sync_tree(self._aside)
            shutil.rmtree(self._old, ignore_errors=True)
            if self.path.exists():
                self.path.rename(self._old)
            self._aside.rename(self.path)
            sync(self.path.parent)
            shutil.rmtree(self._old, ignore_errors=True)
        return open_map(self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk says into what a user can do."""
        try:
            with naming(self.path, self._aside):
                yield
        except OSError as error:
            raise cannot_write(RunError, error.filename, error) from error

    def _level(self, index: int, shape: tuple[int, int]) -> zarr.Array[Any]:
        if isinstance(made := self._group.get(str(index)), zarr.Array):  # of a map that is taken up
            return made
        return self._group.create_array(str(index), shape=shape, chunks=(CHUNK, CHUNK), dtype="uint8", dimension_names=("y", "x"))

    def _flush(self) -> None:
        with self._writing():
            if self._rows[: self._filled].any():  # empty chunks read as 0
                self._finest[self._written : self.row] = self._rows[: self._filled]
                self._unsynced.append(self._aside / "0" / "c" / str(self._written // CHUNK))
        self._written, self._filled = self.row, 0


def _halve(fine: zarr.Array[Any], coarse: zarr.Array[Any], check: Callable[[], None]) -> None:
    """Fill `coarse` by means of 2 x 2 px, a band and at most 8,192 columns at a time; an odd border px stands for its pair."""
    for y in range(0, coarse.shape[0], CHUNK):
        for x in range(0, coarse.shape[1], 8 * CHUNK):
            check()
            block = np.asarray(fine[2 * y : 2 * (y + CHUNK), 2 * x : 2 * (x + 8 * CHUNK)])
            if block.any():
                coarse[y : y + CHUNK, x : x + 8 * CHUNK] = halved(block)


def halved(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the means of 2 x 2 px, rounded; ``(H, W)`` to ``(ceil(H / 2), ceil(W / 2))``."""
    block = np.pad(block, [(0, block.shape[0] % 2), (0, block.shape[1] % 2)], mode="edge").astype(np.uint16)
    sums = block[::2, ::2] + block[1::2, ::2] + block[::2, 1::2] + block[1::2, 1::2]
    return ((sums + 2) // 4).astype(np.uint8)


def _multiscales(count: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """Describe the levels as OME-Zarr 0.5, so that other programs show the map at its place."""
    side_y, side_x = attributes["pixel_size_um_yx"]
    datasets = []
    for k in range(count):
        shift = (2**k - 1) / 2  # OME-Zarr places the centres of pixels
        steps = [
            {"type": "scale", "scale": [side_y * 2**k, side_x * 2**k]},
            {"type": "translation", "translation": [side_y * shift, side_x * shift]},
        ]
        datasets.append({"path": str(k), "coordinateTransformations": steps})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    return {"version": "0.5", "multiscales": [{"name": "tumour probability", "axes": axes, "datasets": datasets}]}


def map_facts(slide: Slide, mpp: float, config: Config, coverage: Coverage) -> dict[str, Any]:
    """Collect what any map knows of itself; no path is in it.

    Parameters
    ----------
    slide : what it is a map of
    mpp : nominal resolution of the map, um/px
    config : ``inference`` is written down
    coverage : where the map looks
    """
    mpp0, scale, tissue = slide.require_mpp(), coverage.scale_yx, coverage.tissue
    return {
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "slide": slide.identity(),
        "bounds_origin_yx_level0": [int(v) for v in slide.bounds_origin_yx_level0],
        "shape": list(coverage.shape),
        "mpp": mpp,
        "scale_yx": list(scale),
        "pixel_size_um_yx": [mpp0 * scale[0], mpp0 * scale[1]],
        "settings": config.inference.model_dump(mode="json"),
        "tissue": None if tissue is None else {"reason": tissue.reason, "area_mm2": coverage.tissue_mm2()},
        "region": coverage.region is not None,
        "exclusion": coverage.exclusion is not None,
    }
