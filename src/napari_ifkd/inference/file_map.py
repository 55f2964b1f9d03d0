"""A pseudo-mask from a file, brought to the working grid of its slide as an ordinary map; and the windows of maps that tiles see."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from napari_ifkd.bags.bags import array_store
from napari_ifkd.errors import Cancelled, SlideError
from napari_ifkd.pace import Pace
from napari_ifkd.slides import find_tissue

from .coverage import Coverage
from .map_source import FileMap, open_file_map, sha256_of
from .map_writer import MapWriter, map_facts
from .probability_map import ProbabilityMap
from .reader import spans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config, TileConfig
    from napari_ifkd.events import Event
    from napari_ifkd.slides import Slide, Tissue

_ROWS, _PX = 1024, 1 << 25  # of the source, read at once: wide, for files of full-width stripes, and bounded
_SEEN = 0.5  # least share of a px of the map that the source must cover


def write_file_map(
    source_path: str | Path,
    slide: Slide,
    out: str | Path,
    config: Config,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    exclusion: BaseGeometry | None = None,
) -> Generator[Event, None, ProbabilityMap]:
    """Resample a pseudo-mask to the working grid of its slide, and write it as a map.

    A px of the map has the mean of the source over its area, so labels become shares. Where labels cover exactly half of a px, the one in
    its middle says on which side of 0.5 it lies: were all of them tumour, areas would grow by some percent.

    Parameters
    ----------
    source_path : as for :func:`open_file_map`
    slide : open, with a resolution
    out : folder of the map, such as ``maps/slide.zarr``; it appears when complete, and replaces an older one
    config : ``tiles.mpp`` is the resolution; with ``inference.tissue_only`` glass is left out, as if not looked at
    should_stop : asked several times a second
    exclusion : as (x, y) in level-0 px; not looked at, besides what the source itself excludes

    Yields
    ------
    Progress

    Returns
    -------
    ProbabilityMap
        0 on glass and in excluded regions, else at least 1: normal tissue was looked at. Its attribute ``drawn`` tells whether the source
        says of every px that it is tumour, or that it is not.

    Raises
    ------
    AnnotationError, RunError
        If the source cannot be read, or does not fit the slide.
    SlideError
        If the slide has no resolution, or no tissue.
    EngineError
        If the disk fails.
    Cancelled
        If `should_stop` said so; no half map is left.
    """

    def check() -> None:
        if should_stop():
            raise Cancelled

    mpp, path = config.tiles.mpp, Path(source_path)
    shape, scale = slide.working_shape(mpp), slide.working_scale(mpp)
    with ExitStack() as stack:
        source = open_file_map(path, slide, mpp)
        tissue = None
        if isinstance(source, FileMap):
            stack.enter_context(source)
            reading = Pace("reading pseudo-mask", 1, "blocks")
            for done, reading.total in source.survey():
                check()
                if (event := reading.at(done)) is not None:
                    yield event
            tissue = _tissue(slide) if config.inference.tissue_only else None
            if not source.exclusion.is_empty:
                exclusion = source.exclusion if exclusion is None else source.exclusion.union(exclusion)
        coverage = Coverage(shape, scale, tissue, None, exclusion)
        model = {"name": path.name, "sha256": sha256_of(path, check)}
        facts = map_facts(slide, mpp, config, coverage) | {"model": model, "warnings": []}
        if isinstance(source, ProbabilityMap):
            facts |= {"warnings": source.warnings, "domain_warning": source.domain_warning}
        pace = Pace("teacher map", shape[0], "rows")
        writer = stack.enter_context(MapWriter(Path(out), shape))
        drawn = True
        for rows, certain in _resampled(source, shape, scale, check):
            drawn &= certain
            keep = coverage.rows(writer.row, len(rows))
            writer.append(rows if keep is None else rows * keep)
            if (event := pace.at(writer.row)) is not None:
                yield event
        return writer.complete(facts | {"drawn": drawn}, check)


def maps_of_tiles(pmap: ProbabilityMap, origins: NDArray[np.integer], tiles: TileConfig) -> NDArray[np.float16]:
    """Cut the windows of a map that tiles of its slide see.

    Parameters
    ----------
    pmap : on the grid of ``tiles.mpp``
    origins : ``(N, 2)`` int, y and x of each tile, px of that grid, in any order
    tiles : ``size_px`` and ``mpp`` matter

    Returns
    -------
    ``(N, H, W)`` float16 in [0, 1]; reflected beyond the border, as the images are; 0 where the map was not looked at

    Raises
    ------
    ValueError
        If the map has another resolution than the tiles.
    """
    if abs(pmap.mpp / tiles.mpp - 1) > 1e-6:
        raise ValueError(f"the map has {pmap.mpp:g} um/px, the tiles {tiles.mpp:g}")
    size = tiles.size_px
    origins = np.asarray(origins, np.int64).reshape(-1, 2)
    maps = array_store((len(origins), size, size), np.float16)
    order = np.lexsort((origins[:, 1], origins[:, 0]))
    done = 0
    for y, columns in spans(origins[order], size):  # neighbours together: a chunk is decoded once
        rows = _reflected(np.arange(y, y + size), pmap.shape[0])
        width = _reflected(np.arange(columns[0], columns[-1] + size), pmap.shape[1])
        top, left = int(rows.min()), int(width.min())
        strip = pmap.read(top, left, int(rows.max()) - top + 1, int(width.max()) - left + 1)
        strip = strip[np.ix_(rows - top, width - left)]
        for x in columns:
            maps[order[done]] = strip[:, x - columns[0] : x - columns[0] + size] / np.float32(255)
            done += 1
    return maps


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Mirror places beyond the border, the outermost px repeated (as slides are read)."""
    index = np.mod(index, 2 * size)
    mirrored: NDArray[np.int64] = np.where(index >= size, 2 * size - 1 - index, index)
    return mirrored


def _resampled(
    source: ProbabilityMap | FileMap, shape: tuple[int, int], scale_yx: tuple[float, float], check: Callable[[], None]
) -> Generator[tuple[NDArray[np.uint8], bool], None, None]:
    """Yield rows ``(n, W)`` of the working grid, from top to bottom, and whether the source is certain of each px they are made of."""
    step_y, step_x = (working / own for working, own in zip(scale_yx, source.scale_yx, strict=True))  # source px per px
    rows = max(1, min(shape[0], int(_ROWS / step_y)))
    columns = max(1, min(shape[1], int(_PX / _ROWS / step_x)))
    for y in range(0, shape[0], rows):
        band, certain = np.zeros((min(rows, shape[0] - y), shape[1]), np.uint8), True
        for x in range(0, shape[1], columns):
            check()
            part = band[:, x : x + columns]
            top, of_rows = _area_weights(y, part.shape[0], step_y)
            left, of_columns = _area_weights(x, part.shape[1], step_x)
            probability, seen = _values(source, top, left, of_rows.shape[1], of_columns.shape[1])
            certain = certain and bool(((probability <= 0.5 / 255) | (probability >= 254.5 / 255)).all())
            share = (of_columns @ (of_rows @ seen).T).T  # of each px that the source covers
            total = (of_columns @ (of_rows @ probability).T).T
            mean = total / np.maximum(share, np.float32(_SEEN))
            middle = probability[np.ix_(_middles(y, part.shape[0], step_y) - top, _middles(x, part.shape[1], step_x) - left)]
            tie = (np.abs(mean - 0.5) < 1e-6) & ((middle == 0) | (middle == 1))  # of labels
            values = np.where(tie, np.where(middle == 1, 128, 127), np.rint(mean * 255))
            part[:] = np.where(share >= _SEEN - 1e-4, np.clip(values, 1, 255), 0)
        yield band, certain


def _middles(start: int, count: int, step: float) -> NDArray[np.int64]:
    """Return the source px in the middle of px `start`..., that before it where it lies between two."""
    px = np.arange(start, start + count)
    middles: NDArray[np.int64] = np.floor(np.maximum((px + 0.5) * step - 0.5, px * step) + 1e-9).astype(np.int64)
    return middles


def _values(source: ProbabilityMap | FileMap, y0: int, x0: int, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read probability, 0 where there is none, and where there is one (1 or 0); ``(height, width)`` each."""
    stored = source.read(y0, x0, height, width)
    seen = (stored > 0).astype(np.float32)
    if isinstance(source, FileMap):
        return source.probability(y0, x0, height, width), seen
    return stored.astype(np.float32) / np.float32(255), seen


def _area_weights(start: int, count: int, step: float) -> tuple[int, sparse.csr_array]:
    """Weigh source px by the share of px `start`... that they cover: first source px, and ``(count, n)``."""
    low = np.arange(start, start + count) * step
    first = int(np.floor(low[0] + 1e-9))
    taps = np.floor(low + 1e-9).astype(np.int64)[:, None] + np.arange(int(np.ceil(step)) + 1)
    covered = np.minimum((low + step)[:, None], taps + 1) - np.maximum(low[:, None], taps)
    covered = np.where(covered > 1e-9, covered, 0) / step
    index = np.repeat(np.arange(count), taps.shape[1])
    place = (taps - first).ravel()
    weights = sparse.coo_array((covered.ravel().astype(np.float32), (index, place)), shape=(count, int(place.max()) + 1))
    return first, weights.tocsr()


def _tissue(slide: Slide) -> Tissue:
    tissue = find_tissue(slide)
    if not tissue.found:
        raise SlideError(
            slide.name, f"nothing to learn from: {tissue.reason}", "Give settings with `inference: {tissue_only: false}` by --config"
        )
    return tissue
