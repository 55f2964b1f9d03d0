"""What another program marked, as something to compare predictions with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.config import Config
from napari_ifkd.inference import ProbabilityMap, open_map, write_file_map
from napari_ifkd.session_records import Candidate

from .layers import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.slides import Slide


_OVER_HALF = 128.5 / 255  # half of a px is stored as 128


class DrawnMap(ProbabilityMap):
    """What somebody drew, as a map: its mask is what was drawn, at whatever threshold and smoothing predictions are looked at."""

    def mask(self, threshold: float, sigma_px: float, level: int = 0) -> Any:
        """Return the mask, as of any map; at coarser levels every second px that is half covered is in it, so that areas stay."""
        most: Any = super().mask(0.5, 0.0, level)
        return most if level == 0 else most.map_blocks(_every_second, super().mask(_OVER_HALF, 0.0, level), dtype=bool)


def _every_second(most: NDArray[np.bool_], least: NDArray[np.bool_], block_info: Any = None) -> NDArray[np.bool_]:
    """Take the one mask on the white squares of a chessboard, and the other on the black ones."""
    (y0, y1), (x0, x1) = block_info[0]["array-location"]
    white = np.add.outer(np.arange(y0, y1), np.arange(x0, x1)) % 2 == 0
    return np.where(white, most, least)


def file_candidate(path: Path, slide: Slide, folder: Path, mpp: float, threshold: float, sigma_px: float) -> Candidate:
    """Read a mask or regions onto the grid of predictions; slow enough to be done in a thread.

    Parameters
    ----------
    path : label image, probability map or regions on the slide
    slide : what it lies on
    folder : where the map of it is kept, for this file as it is now and this resolution
    mpp : resolution of the predictions it is to be compared with, um/px
    threshold, sigma_px : at which it will be seen

    Raises
    ------
    InputError
        If it cannot be read, or does not fit the slide.
    """
    config = Config().replaced(**{"tiles.mpp": mpp, "inference.tissue_only": False})  # all of what it marks, also on glass
    out = folder / f"{path.name}-on-{slide.name}-{path.stat().st_mtime_ns:x}-{mpp:g}-3" / "map.zarr"  # 3: keeps areas
    if not out.exists():
        for _ in write_file_map(path, slide, out, config):
            pass
    return kept_candidate(out, slide, threshold, sigma_px)


def kept_candidate(path: Path, slide: Slide, threshold: float, sigma_px: float) -> Candidate:
    """Open the map of a file that :func:`file_candidate` has kept; in a thread too.

    Raises
    ------
    InputError
        If it is there no more.
    """
    found = open_map(path)
    if found.attributes.get("drawn"):
        found = DrawnMap(found.path, found.levels, found.attributes)
    prepare(found, threshold, sigma_px)
    return Candidate(path.parent, "file", 0, slide.name, found)
