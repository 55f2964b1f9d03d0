"""Tiles of a slide as bags, read by runs of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.pace import Pace

from .bags import Bags, image_store

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_ifkd.config import TileConfig
    from napari_ifkd.events import Progress
    from napari_ifkd.slides import Slide

_RUN_TILES = 16  # neighbours read at once


def read_bags(
    slide: Slide, origins: NDArray[np.int64], labels: NDArray[np.int8], tiles: TileConfig, stage: str = "reading tiles"
) -> Generator[Progress, None, Bags]:
    """Read tiles of a slide; the name of a bag tells its slide and place.

    Parameters
    ----------
    slide : where the pixels come from, and the group of all of them
    origins : ``(N, 2)``: top left corners (y, x), working px, row by row
    labels : ``(N,)`` in {0, 1}
    tiles : size and resolution
    stage : name of the work in Progress events

    Yields
    ------
    Progress, several times a second

    Returns
    -------
    Bags

    Raises
    ------
    SlideError
        If the slide has no resolution or is damaged there.
    """
    size = tiles.size_px
    images = image_store((len(origins), size, size, 3))
    pace = Pace(stage, len(origins))
    for rows in runs(origins, size):
        y, x = (int(v) for v in origins[rows[0]])
        strip = slide.read_working(y, x, size, int(origins[rows[-1]][1]) - x + size, tiles.mpp)
        for row in rows:
            left = int(origins[row][1]) - x
            images[row] = strip[:, left : left + size]
        if (event := pace.add(len(rows))) is not None:
            yield event
    groups, names = np.full(len(origins), slide.name), [f"{slide.name}@{y},{x}" for y, x in origins]
    return Bags(images, labels, groups, names, tiles.mpp, slide.name, origins)


def runs(origins: NDArray[np.int64], size_px: int) -> Iterator[list[int]]:
    """Group tiles (in row order) into runs of neighbours."""
    run: list[int] = []
    for row, (y, x) in enumerate(origins):
        if run and (y != origins[run[0]][0] or x - origins[run[-1]][1] != size_px or len(run) == _RUN_TILES):
            yield run
            run = []
        run.append(row)
    if run:
        yield run
