"""A probability map on disk: a zarr v3 group of uint8 levels that knows its slide, its network and its warnings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dask.array as da
import numpy as np
import zarr

from napari_ifkd.annotations.raster import rasterize
from napari_ifkd.errors import RunError

from .pseudo_mask import gaussian_reach, smooth_window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

ATTRIBUTE = "napari_ifkd"
_BLOCK = 1024  # px a side of a lazily computed block


class ProbabilityMap:
    """Probability of tumour over a whole slide; opened by :func:`open_map`.

    Values are uint8: 0 was not looked at (glass, outside the region), else the probability times 255, at least 1.

    Attributes
    ----------
    path : folder of the map
    levels : zarr arrays ``(y, x)`` uint8, finest first, each half the size of the one before
    mpp : nominal resolution of level 0 of the map, um/px
    scale_yx : level-0 px of the slide per px of the map
    slide : identity of the slide (name, size_bytes, quick_hash, shape_level0, mpp, mpp_source)
    model : name, weights_sha256 and domain of the network
    identity : hash of all that it follows from, "" if that is not known
    warnings : what whoever looks at the map must know
    domain_warning : the one of them that says the network does not know this kind of slide, else None
    attributes : everything stored with it
    """

    def __init__(self, path: Path, levels: list[zarr.Array[Any]], attributes: dict[str, Any]) -> None:
        self.path, self.levels, self.attributes = path, levels, attributes
        self.mpp = float(attributes["mpp"])
        self.scale_yx: tuple[float, float] = (float(attributes["scale_yx"][0]), float(attributes["scale_yx"][1]))
        self.slide: dict[str, Any] = dict(attributes["slide"])
        self.model: dict[str, Any] = dict(attributes.get("model", {}))
        self.identity = str(attributes.get("identity", ""))
        self.warnings: list[str] = [str(w) for w in attributes.get("warnings", [])]
        self.domain_warning: str | None = attributes.get("domain_warning") or None
        origin = attributes.get("bounds_origin_yx_level0") or (0, 0)
        self.bounds_origin_yx_level0: tuple[int, int] = (int(origin[0]), int(origin[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the finest level, px."""
        height, width = self.levels[0].shape
        return int(height), int(width)

    @property
    def pixel_size_um_yx(self) -> tuple[float, float]:
        """Side lengths of a px of level 0 of the map, um: the slide's resolution times the exact scale."""
        mpp = self.slide.get("mpp")
        return (mpp * self.scale_yx[0], mpp * self.scale_yx[1]) if mpp else (self.mpp, self.mpp)

    def read(self, y0: int, x0: int, height: int, width: int, level: int = 0) -> NDArray[np.uint8]:
        """Read a window ``(height, width)`` of a level; 0 beyond the border."""
        array = self.levels[level]
        window = np.zeros((height, width), np.uint8)
        top, left = max(y0, 0), max(x0, 0)
        bottom, right = min(y0 + height, array.shape[0]), min(x0 + width, array.shape[1])
        if bottom > top and right > left:
            window[top - y0 : bottom - y0, left - x0 : right - x0] = np.asarray(array[top:bottom, left:right])
        return window

    def smoothed(self, y0: int, x0: int, height: int, width: int, sigma_px: float, level: int = 0) -> NDArray[np.float32]:
        """Read a window as probability, smoothed with whatever surrounds it, so that neighbouring windows fit without a seam.

        Parameters
        ----------
        y0, x0, height, width : the window inside the level, px of the level
        sigma_px : Gaussian, px of the level; what was not looked at stays 0 and weighs nothing
        level : of the map

        Returns
        -------
        ``(height, width)`` float32 in [0, 1]
        """
        rows, columns = self.levels[level].shape
        reach = gaussian_reach(sigma_px)
        top, left = max(y0 - reach, 0), max(x0 - reach, 0)
        bottom, right = min(y0 + height + reach, rows), min(x0 + width + reach, columns)
        values = np.asarray(self.levels[level][top:bottom, left:right], np.uint8)
        return smooth_window(values, sigma_px)[y0 - top : y0 - top + height, x0 - left : x0 - left + width]

    def without(self, exclusion: BaseGeometry) -> Self:
        """Return the map as if a region, (x, y) in level-0 px, had not been looked at."""
        levels: list[Any] = [
            _Cleared(level, exclusion, (self.scale_yx[0] * 2**index, self.scale_yx[1] * 2**index))
            for index, level in enumerate(self.levels)
        ]
        return type(self)(self.path, levels, self.attributes)

    def mask(self, threshold: float, sigma_px: float, level: int = 0) -> da.Array:
        """Return the pseudo-mask, computed block by block when looked at.

        Parameters
        ----------
        threshold : a pixel is tumour from this probability on; what was not looked at never is
        sigma_px : Gaussian smoothing, px of `level`
        level : of the map

        Returns
        -------
        dask array ``(y, x)`` bool
        """
        rows, columns = self.levels[level].shape
        chunks = tuple(_pieces(n) for n in (rows, columns))

        def block(block_info: Any = None) -> NDArray[np.bool_]:
            (y0, y1), (x0, x1) = block_info[None]["array-location"]
            probability = self.smoothed(y0, x0, y1 - y0, x1 - x0, sigma_px, level)
            return (probability >= threshold) & (probability > 0)

        lazy: da.Array = da.map_blocks(block, chunks=chunks, dtype=bool, meta=np.empty((0, 0), bool))  # type: ignore[no-untyped-call]
        return lazy

    def mask_levels(self, threshold: float, sigma_px: float) -> list[da.Array]:
        """Return the pseudo-mask at every level, for display; `sigma_px` is in px of level 0."""
        return [self.mask(threshold, sigma_px / 2**level, level) for level in range(len(self.levels))]

    def __repr__(self) -> str:
        """Name the slide and the size."""
        return f"ProbabilityMap({self.slide.get('name')!r}, {self.shape[0]} x {self.shape[1]} px at {self.mpp} um/px)"


class _Cleared:
    """A level of a map, read like one, in which a region was not looked at; a pixel is where its centre is."""

    def __init__(self, level: zarr.Array[Any], exclusion: BaseGeometry, scale_yx: tuple[float, float]) -> None:
        self._level, self._exclusion, self._scale_yx = level, exclusion, scale_yx
        self.shape, self.dtype, self.ndim, self.size = level.shape, level.dtype, level.ndim, level.size

    def __getitem__(self, key: slice | tuple[slice, slice]) -> NDArray[np.uint8]:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        values = np.array(self._level[rows, columns])
        corner = rows.indices(self.shape[0])[0], columns.indices(self.shape[1])[0]
        values[rasterize(self._exclusion, values.shape, self._scale_yx, corner)] = 0
        return values


def _pieces(length: int) -> tuple[int, ...]:
    return tuple(min(_BLOCK, length - start) for start in range(0, length, _BLOCK))


def open_map(path: str | Path) -> ProbabilityMap:
    """Open a map written by :func:`predict_map`.

    Raises
    ------
    RunError
        If `path` is no such map, or a damaged one.
    """
    path = Path(path)
    remedy = "Give a .zarr folder that `napari-ifkd predict` or `distill` wrote"
    if not path.is_dir():
        raise RunError(path, "is no folder" if path.exists() else "does not exist", remedy)
    try:
        group = zarr.open_group(path, mode="r")
        attributes = group.attrs.asdict().get(ATTRIBUTE)
        arrays = [node for _, node in sorted(((int(k), v) for k, v in group.arrays() if k.isdigit()), key=lambda item: item[0])]
    except Exception as error:  # zarr raises many kinds for a foreign or broken folder
        raise RunError(path, f"is no probability map ({type(error).__name__})", remedy) from error
    if not isinstance(attributes, dict) or not arrays:
        raise RunError(path, "is no probability map of this program", remedy)
    if any(array.ndim != 2 or array.dtype != np.uint8 for array in arrays):
        raise RunError(path, "is a damaged probability map (its levels are not 2-D uint8)", remedy)
    try:
        return ProbabilityMap(path, arrays, attributes)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(path, f"is a damaged probability map ({type(error).__name__}: {error})", remedy) from error
