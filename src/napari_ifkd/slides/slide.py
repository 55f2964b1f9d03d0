"""A whole-slide image: opened once, read at any resolution."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_ifkd.errors import SlideError

from .header import associated_names, is_phantom, positive, whole
from .pyramid import as_dask, build_pyramid
from .reading import open_tiff, slide_errors
from .resample import resample
from .resolution import Resolution, find_resolution

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np
    import numpy.typing as npt
    from tiffslide import TiffSlide


HASHED_BYTES = 2**20
_PROBE_PX = 16
_MAX_OVERVIEW_PX = 2**33
#: A level up to this much coarser than asked for is still fine enough: 0.499 and 0.5 um/px are the same objective.
_FINE_ENOUGH = 1.02


class Slide:
    """An open slide; made by :func:`open_slide`.

    Coordinates are (y, x). "Level-0 px" are pixels of the finest level, origin top left; "working px" are those of the grid that
    covers the same slide at a working resolution, cut so that both grids meet at their outer edges. A slide cannot be pickled:
    send its path and mpp to another process and open it there. Reading is safe from several threads.

    Attributes
    ----------
    path : Path
    name : file name
    size_bytes : of the file
    vendor, objective : as the file says, or None
    mpp : um/px of level 0 (mean of the axes), or None
    mpp_source : ``"file"``, ``"override"`` or None
    mpp_of_file : what the file says, or None where it says nothing that can be
    shape_level0 : (height, width), px
    level_scales : per level, level-0 px per px of the level, (y, x), from the real shapes
    stored_levels : how many levels come from the file; the others are built when read
    bounds_origin_yx_level0 : where the scanned area starts (SCN, MRXS); other programs count from there
    is_phantom : whether the file says that this package drew it
    """

    def __init__(self, path: Path, tiff: TiffSlide, mpp: float | None = None) -> None:
        self.path, self.name, self.size_bytes = path, path.name, path.stat().st_size
        self._tiff: TiffSlide | None = tiff
        properties = tiff.properties
        file = tiff.ts_tifffile
        self._resolution: Resolution = find_resolution(path, properties, file.ome_metadata if file.is_ome else None, mpp)
        self.mpp, self.mpp_source, self.mpp_of_file = self._resolution.mpp, self._resolution.source, self._resolution.of_file
        self._sources, self.stored_levels = build_pyramid(path, tiff)
        height, width, _ = self._sources[0].shape
        self.shape_level0: tuple[int, int] = (height, width)
        self.level_scales: list[tuple[float, float]] = [(height / s.shape[0], width / s.shape[1]) for s in self._sources]
        vendor = properties.get("tiffslide.vendor")
        self.vendor: str | None = str(vendor) if vendor else None
        self.objective = positive(properties.get("tiffslide.objective-power"))
        self.bounds_origin_yx_level0 = (whole(properties.get("tiffslide.bounds-y")), whole(properties.get("tiffslide.bounds-x")))
        self.is_phantom = is_phantom(file)
        self._associated = associated_names(tiff)

    def __enter__(self) -> Self:
        """Return the slide itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __repr__(self) -> str:
        """Name, size and resolution."""
        return f"Slide({self.name!r}, shape_level0={self.shape_level0}, mpp={self.mpp})"

    def __reduce__(self) -> Any:
        """Refuse to be pickled."""
        raise TypeError("a Slide holds an open file: send its path and mpp, and open it there")

    def close(self) -> None:
        """Close the file; reading afterwards raises `SlideError`."""
        if self._tiff is not None:
            self._tiff.close()
            self._tiff = None

    @cached_property
    def levels(self) -> list[da.Array]:
        """The pyramid as lazy dask arrays, (y, x, 3) uint8, finest first, down to 2048 px a side or less."""
        return [as_dask(source, f"slide-level{index}") for index, source in enumerate(self._sources)]

    @cached_property
    def quick_hash(self) -> str:
        """SHA-256 of the file's size, first and last MiB, hex: enough to tell slides apart without reading gigabytes."""
        digest = hashlib.sha256(str(self.size_bytes).encode())
        with slide_errors(self.path), self.path.open("rb") as file:
            digest.update(file.read(HASHED_BYTES))
            file.seek(max(0, self.size_bytes - HASHED_BYTES))
            digest.update(file.read(HASHED_BYTES))
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Tell which slide this is, for runs and exports: JSON-ready, and without the folder it lies in."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "quick_hash": self.quick_hash,
            "shape_level0": list(self.shape_level0),
            "mpp": self.mpp,
            "mpp_source": self.mpp_source,
        }

    def require_mpp(self) -> float:
        """Return the resolution of level 0, um/px.

        Raises
        ------
        SlideError
            If there is none that can be believed.
        """
        if self.mpp is None:
            raise SlideError(
                self.path,
                f"has no usable resolution: {self._resolution.why}",
                "Give it with --mpp X (um/px of the finest level, e.g. 0.25 for 40x, 0.5 for 20x)",
            )
        return self.mpp

    def associated_names(self) -> list[str]:
        """Return which extra images the file holds (thumbnail, label, macro ...): kinds only, for their content may name a patient."""
        return list(self._associated)

    @property
    def resolution_note(self) -> str:
        """Why there is no resolution; empty where there is one."""
        return self._resolution.why

    def working_shape(self, mpp: float) -> tuple[int, int]:
        """Return (height, width) of the whole slide at `mpp` um/px, working px, at least 1."""
        factor = self.require_mpp() / _working(self.path, mpp)
        return max(1, round(self.shape_level0[0] * factor)), max(1, round(self.shape_level0[1] * factor))

    def working_scale(self, mpp: float) -> tuple[float, float]:
        """Return level-0 px per working px at `mpp`, (y, x)."""
        height, width = self.working_shape(mpp)
        return self.shape_level0[0] / height, self.shape_level0[1] / width

    def read_working(self, y0: int, x0: int, h: int, w: int, mpp: float) -> npt.NDArray[np.uint8]:
        """Read a box of the working grid; whole rows at once are fastest.

        Parameters
        ----------
        y0, x0 : top-left corner, working px; may lie outside the slide
        h, w : size, working px
        mpp : working resolution, um/px

        Returns
        -------
        uint8 array, ``(h, w, 3)``: means over the area of each working pixel; reflected beyond the border

        Raises
        ------
        SlideError
            If the slide has no resolution or is damaged there.
        """
        scale = self.working_scale(mpp)
        return self._sample((y0 * scale[0], x0 * scale[1]), (h, w), scale)

    def read_region(self, origin_yx_level0: tuple[float, float], shape_px: tuple[int, int], mpp: float) -> npt.NDArray[np.uint8]:
        """Read a region of any origin at a working resolution.

        Parameters
        ----------
        origin_yx_level0 : top-left edge, level-0 px; fractions count
        shape_px : (height, width) of the result, px of `mpp`
        mpp : um/px of the result

        Returns
        -------
        uint8 array, ``(height, width, 3)``; reflected beyond the border

        Raises
        ------
        SlideError
            If the slide has no resolution or is damaged there.
        """
        scale = _working(self.path, mpp) / self.require_mpp()
        return self._sample(origin_yx_level0, shape_px, (scale, scale))

    def overview(self, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Read the whole slide, ``(height, width, 3)`` uint8 of the given `shape`, from a level fine enough.

        Raises
        ------
        SlideError
            If the slide has no coarse levels and is too large to be read as a whole.
        """
        scale = self.shape_level0[0] / shape[0], self.shape_level0[1] / shape[1]
        level = self._sources[min(self._level_for(scale), self.stored_levels - 1)]
        if level.shape[0] * level.shape[1] > _MAX_OVERVIEW_PX:
            size = f"{level.shape[1]} x {level.shape[0]}"
            raise SlideError(self.path, f"has no level coarser than {size} px, too large for an overview", "Convert it to a pyramidal TIFF")
        return self._sample((0.0, 0.0), shape, scale)

    def thumbnail(self, max_px: int = 1024) -> npt.NDArray[np.uint8]:
        """Read the whole slide at `max_px` a side at most, never enlarged; ``(height, width, 3)`` uint8."""
        factor = min(1.0, max_px / max(self.shape_level0))
        return self.overview((max(1, round(self.shape_level0[0] * factor)), max(1, round(self.shape_level0[1] * factor))))

    def _level_for(self, scale_yx: tuple[float, float]) -> int:
        """Return the coarsest level that is still fine enough for pixels of `scale_yx` level-0 px.

        A built level must be twice as fine as asked for: its own means would blur what can be had sharp from the stored one.
        """
        best = 0
        for index, own in enumerate(self.level_scales):
            finer = min(scale_yx[0] / own[0], scale_yx[1] / own[1])
            if finer >= (1 / _FINE_ENOUGH if index < self.stored_levels else 2 / _FINE_ENOUGH):
                best = index
        return best

    def _sample(self, origin_yx: tuple[float, float], shape: tuple[int, int], scale_yx: tuple[float, float]) -> npt.NDArray[np.uint8]:
        if self._tiff is None:
            raise SlideError(self.path, "has been closed", "Open it again")
        index = self._level_for(scale_yx)
        own = self.level_scales[index]
        origin = origin_yx[0] / own[0], origin_yx[1] / own[1]
        with slide_errors(self.path):
            return resample(self._sources[index], origin, shape, (scale_yx[0] / own[0], scale_yx[1] / own[1]))

    def probe(self) -> None:
        """Decode a few pixels of every stored level, so that a file that cannot be read fails when it is opened.

        Raises
        ------
        SlideError
            If they cannot be decoded.
        """
        for source in self._sources[: self.stored_levels]:
            y, x = source.shape[0] // 2, source.shape[1] // 2
            source.read(y, min(source.shape[0], y + _PROBE_PX), x, min(source.shape[1], x + _PROBE_PX))


def open_slide(path: str | Path, mpp: float | None = None) -> Slide:
    """Open a whole-slide image that tiffslide can read (svs, tif, ndpi, scn, bif and other TIFFs), or a folder of DICOM.

    Parameters
    ----------
    path : the file, or the folder of a DICOM slide's instances
    mpp : um/px of its finest level, which goes before what the file says

    Raises
    ------
    SlideError
        If it is no slide, damaged, or of a kind not supported; the message says which.
    """
    path = Path(path)
    from .dicom import DicomSlide, begins_dicom, is_dicom

    if is_dicom(path):
        with slide_errors(path):
            dicom = DicomSlide(path, mpp)
            try:
                dicom.probe()
            except BaseException:
                dicom.close()
                raise
        return dicom
    with slide_errors(path):
        try:
            tiff = open_tiff(path)
        except SlideError as error:
            if begins_dicom(path):  # a file may be both TIFF and DICOM
                raise SlideError(path, "is one file of a slide in DICOM", f"Give the folder of all of them: {path.parent}") from error
            raise
        try:
            slide = Slide(path, tiff, mpp)
            slide.probe()
        except BaseException:
            tiff.close()
            raise
    return slide


def _working(path: Path, mpp: float) -> float:
    if not 0 < mpp < float("inf"):
        raise SlideError(path, f"cannot be read at {mpp:g} um/px", "Give a working resolution above 0")
    return mpp
