"""A mask without what a person excluded, band by band."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_ifkd.annotations import rasterize
from napari_ifkd.runs.regions import all_of, exclusion_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.inference import ProbabilityMap
    from napari_ifkd.runs.folder import RunFolder

    from .mask import Source


_ROWS = 512  # of a map that are read at once


@dataclass(frozen=True)
class _Frame:
    """What is known of a slide from a map of it: enough to place regions."""

    name: str
    shape_level0: tuple[int, int]
    bounds_origin_yx_level0: tuple[int, int]


def exclusion_for(source: Source, run: RunFolder | None, exclude: Sequence[str | Path]) -> BaseGeometry | None:
    """Return what is excluded on the slide of a map, (x, y) in level-0 px: by its run, and by files given besides.

    Raises
    ------
    InputError
        If a file cannot be read, or belongs to another slide.
    """
    height, width = (round(n * scale) for n, scale in zip(source.shape, source.scale_yx, strict=True))
    frame = _Frame(str(source.slide["name"]), (height, width), source.bounds_origin_yx_level0)
    files = [run.exclusion_path(frame.name)] if run is not None and run.exclusion_path(frame.name).is_file() else []
    files += exclusion_files(exclude, [frame]).values()
    parts = [all_of(path, frame) for path in files]
    return shapely.union_all(parts) if parts else None


def cleared(bands: Iterable[NDArray[np.uint8]], exclusion: BaseGeometry, scale_yx: tuple[float, float]) -> Iterator[NDArray[np.uint8]]:
    """Clear a mask that comes in bands where it is excluded; a pixel is where its centre is.

    Parameters
    ----------
    bands : ``(n, W)``, from top to bottom; changed in place
    exclusion : (x, y) in level-0 px
    scale_yx : level-0 px per px of the mask
    """
    _, top, _, bottom = exclusion.bounds
    y = 0
    for band in bands:
        if y * scale_yx[0] <= bottom and (y + len(band)) * scale_yx[0] >= top:
            band[rasterize(exclusion, band.shape, scale_yx, (y, 0))] = 0
        y += len(band)
        yield band


def unseen(source: ProbabilityMap, exclusion: BaseGeometry) -> ProbabilityMap:
    """Return a map as if what is excluded, (x, y) in level-0 px, had not been looked at, and were no tissue."""
    rest, tissue = source.without(exclusion), source.attributes.get("tissue") or {}
    if not tissue.get("area_mm2") or exclusion.is_empty:
        return rest
    (height, width), (scale_y, scale_x) = source.shape, source.scale_yx
    left, top, right, bottom = exclusion.bounds
    columns = slice(max(0, int(left / scale_x)), min(width, ceil(right / scale_x)))
    seen = 0
    for y in range(max(0, int(top / scale_y)), min(height, ceil(bottom / scale_y)), _ROWS):
        band = source.read(y, columns.start, min(_ROWS, height - y), max(0, columns.stop - columns.start))
        seen += int(np.count_nonzero(band[rasterize(exclusion, band.shape, source.scale_yx, (y, columns.start))]))
    pixel_y, pixel_x = source.pixel_size_um_yx
    area = max(0.0, tissue["area_mm2"] - seen * pixel_y * pixel_x / 1e6)
    return type(rest)(rest.path, rest.levels, {**rest.attributes, "tissue": {**tissue, "area_mm2": area}})


def excluded_facts(exclusion: BaseGeometry, source: Source) -> dict[str, float]:
    """Return what the provenance says of what was excluded, JSON-ready."""
    pixel_y, pixel_x = (own / scale for own, scale in zip(source.pixel_size_um_yx, source.scale_yx, strict=True))
    return {"excluded_mm2": round(exclusion.area * pixel_y * pixel_x / 1e6, 9)}
