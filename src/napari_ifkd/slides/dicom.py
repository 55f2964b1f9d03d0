"""Slides in DICOM: a folder of instances, read through wsidicom (extra ``dicom``). Label, overview and thumbnail are never opened."""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.errors import SlideError

from .pyramid import complete_pyramid
from .reading import MAX_LEVEL0_PX, cut, slide_errors
from .resolution import find_resolution
from .slide import HASHED_BYTES, Slide

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image
_PREAMBLE = 128


def is_dicom(folder: Path) -> bool:
    """Tell by their first bytes whether a folder holds DICOM files."""
    return folder.is_dir() and any(begins_dicom(file) for file in folder.iterdir() if file.is_file())


def volume_headers(folder: Path) -> list[tuple[Path, Any]]:
    """Return the files of a slide's levels with their headers, finest first.

    Parameters
    ----------
    folder : of the instances

    Raises
    ------
    SlideError
        If it holds none, or pydicom is not installed.
    """
    if find_spec("pydicom") is None or find_spec("wsidicom") is None:
        raise SlideError(folder, "is a DICOM slide, and wsidicom is not installed", 'Install it: pip install "napari-ifkd[dicom]"')
    import pydicom

    found = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.is_file() and begins_dicom(file):
            with slide_errors(file):
                header = pydicom.dcmread(file, stop_before_pixels=True)
            if header.get("SOPClassUID") == _STORAGE and "VOLUME" in header.get("ImageType", ()):
                found.append((file, header))
    if not found:
        raise SlideError(folder, "holds no DICOM slide", "Give the folder of the instances of one slide")
    return sorted(found, key=lambda item: -int(item[1].TotalPixelMatrixColumns))


class DicomSlide(Slide):
    """An open DICOM slide; made by :func:`napari_ifkd.slides.open_slide`.

    Parameters
    ----------
    path : folder of the instances
    mpp : um/px that goes before what the files say
    """

    def __init__(self, path: Path, mpp: float | None = None) -> None:
        from wsidicom import WsiDicom

        self.path, self.name = path, path.name
        self._files = [file for file, _ in volume_headers(path)]
        self.size_bytes = sum(file.stat().st_size for file in self._files)
        opened: Any = WsiDicom.open(self._files)
        self._tiff = opened
        try:
            levels = [_Level(opened, level) for level in sorted(opened.levels, key=lambda each: each.level)]
            height, width, _ = levels[0].shape
            if height * width > MAX_LEVEL0_PX:
                raise SlideError(path, f"claims {width} x {height} px, more than any scanner makes", "Copy it again from its source")
            own = opened.levels.base_level.mpp
            said = {"tiffslide.mpp-x": own.width, "tiffslide.mpp-y": own.height}
            self._resolution = find_resolution(path, said, None, mpp)
        except BaseException:
            opened.close()
            raise
        self.mpp, self.mpp_source, self.mpp_of_file = self._resolution.mpp, self._resolution.source, self._resolution.of_file
        self._sources, self.stored_levels = complete_pyramid(list(levels))
        self.shape_level0 = (height, width)
        self.level_scales = [(height / s.shape[0], width / s.shape[1]) for s in self._sources]
        self.vendor, self.objective = "dicom", None
        self.bounds_origin_yx_level0 = (0, 0)
        self.is_phantom = False
        self._associated = []

    @cached_property
    def quick_hash(self) -> str:
        """SHA-256 of the size, first and last MiB of each file of the levels, hex."""
        digest = hashlib.sha256()
        for path in self._files:
            size = path.stat().st_size
            digest.update(str(size).encode())
            with slide_errors(path), path.open("rb") as file:
                digest.update(file.read(HASHED_BYTES))
                file.seek(max(0, size - HASHED_BYTES))
                digest.update(file.read(HASHED_BYTES))
        return digest.hexdigest()


class _Level:
    """A stored level, read as RGB; one read at a time.

    Parameters
    ----------
    opened : the open slide
    level : of its pyramid
    """

    ndim = 3
    dtype = np.dtype(np.uint8)
    _lock = threading.Lock()

    def __init__(self, opened: Any, level: Any) -> None:
        self._opened, self._level = opened, level.level
        self.shape = (int(level.size.height), int(level.size.width), 3)
        self.tile = (int(level.tile_size.height), int(level.tile_size.width))

    def read(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Return rows ``y0:y1`` and columns ``x0:x1`` inside the level, ``(y, x, 3)``."""
        with self._lock:
            image = self._opened.read_region((x0, y0), self._level, (x1 - x0, y1 - y0))
        return np.ascontiguousarray(np.asarray(image.convert("RGB")))

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
        """Cut by slices, as dask does."""
        return cut(self, key)


def begins_dicom(file: Path) -> bool:
    """Tell by its first bytes whether a file is DICOM."""
    try:
        with file.open("rb") as stream:
            return stream.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False
