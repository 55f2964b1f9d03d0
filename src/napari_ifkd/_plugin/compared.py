"""What another program marked, as something to compare predictions with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ifkd.config import Config
from napari_ifkd.inference import ProbabilityMap, open_map, write_file_map
from napari_ifkd.session_records import Candidate

from .layers import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.slides import Slide


class DrawnMap(ProbabilityMap):
    """What somebody drew, as a map: its mask is what was drawn, at whatever threshold and smoothing predictions are looked at."""

    def mask(self, threshold: float, sigma_px: float, level: int = 0) -> Any:
        """Return the mask, as of any map."""
        return super().mask(0.5, 0.0, level)


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
