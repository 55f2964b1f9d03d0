"""What another program marked, as something to compare predictions with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.config import Config
from napari_ifkd.inference import open_map, write_file_map
from napari_ifkd.session_records import Candidate

from .layers import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.slides import Slide


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
    out = folder / f"{path.name}-on-{slide.name}-{path.stat().st_mtime_ns:x}-{mpp:g}"
    if not (out / "map.zarr").exists():
        for _ in write_file_map(path, slide, out / "map.zarr", config):
            pass
    found = open_map(out / "map.zarr")
    prepare(found, threshold, sigma_px)
    return Candidate(out, "file", 0, slide.name, found)
