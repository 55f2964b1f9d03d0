"""A pseudo-mask made elsewhere, in place of a teacher's map: label images, probability images, drawn regions, and maps of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import shapely

from napari_ifkd.annotations import rasterize, read_regions
from napari_ifkd.annotations.images import ImageFile, is_image, level0_scale, open_image
from napari_ifkd.annotations.told import check_slide
from napari_ifkd.errors import AnnotationError, RunError

from .probability_map import ProbabilityMap, open_map
from .pseudo_mask import gaussian_reach, smooth
from .stored_values import as_probability, doubtful, full_scale_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.slides import Slide

_BLOCK = 4096  # px read at once to find the highest value


class MapSource(Protocol):
    """What scoring needs of a map, ours or from a file."""

    path: Path
    scale_yx: tuple[float, float]
    slide: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        ...

    @property
    def pixel_size_um_yx(self) -> tuple[float, float] | None:
        """Side lengths of a px, um; None where nobody says."""
        ...

    def smoothed(self, y0: int, x0: int, height: int, width: int, sigma_px: float) -> NDArray[np.float32]:
        """Read a window inside the map as probability."""
        ...


class FileMap:
    """An image or regions of a slide, read as a map; opened by :func:`open_file_map`.

    It has the reading interface of :class:`~napari_ifkd.inference.ProbabilityMap`, and is computed window by window when read.

    Parameters
    ----------
    image : its pixels
    slide : identity of the slide it covers
    scale_yx : level-0 px of the slide per px of the image

    Attributes
    ----------
    path : the file
    shape : height and width, px
    scale_yx : level-0 px of the slide per px of the map
    slide : identity of the slide; of the image itself where no slide was given
    model : the file's name, in place of a network's
    exclusion : as (x, y) in level-0 px, what the file says not to look at; empty for images
    """

    def __init__(self, image: _Pixels, slide: dict[str, Any], scale_yx: tuple[float, float]) -> None:
        self._image = image
        self._full_scale: float | None = None
        self.path, self.shape = image.path, image.shape
        self.slide, self.scale_yx = slide, scale_yx
        self.model = {"name": image.path.name}
        self.exclusion: BaseGeometry = image.exclusion if isinstance(image, _Raster) else shapely.Polygon()

    @property
    def pixel_size_um_yx(self) -> tuple[float, float] | None:
        """Side lengths of a px, um; None where neither the slide nor the file tells a resolution."""
        mpp = self.slide.get("mpp")
        return (mpp * self.scale_yx[0], mpp * self.scale_yx[1]) if mpp else None

    @property
    def mpp(self) -> float | None:
        """Resolution, um/px (mean of the axes); None where neither the slide nor the file tells one."""
        sides = self.pixel_size_um_yx
        return None if sides is None else sum(sides) / 2

    @property
    def full_scale(self) -> float:
        """The value that means 1: of labels (0 and 1 only) and floating point 1, of other whole numbers the highest of their type.

        Raises
        ------
        AnnotationError
            As :meth:`survey`.
        """
        for _ in self.survey():
            pass
        assert self._full_scale is not None  # the survey is over
        return self._full_scale

    def survey(self) -> Iterator[tuple[int, int]]:
        """Find out what the values mean, once: whole numbers have to be read for it, all of them where they are labels.

        Yields
        ------
        blocks read, and blocks at most

        Raises
        ------
        AnnotationError
            If the file is damaged, or holds several labels.
        """
        if self._full_scale is not None:
            return
        dtype, highest = self._image.dtype, 0
        if dtype.kind in "ui":
            height, width = self.shape
            corners = [(y, x) for y in range(0, height, _BLOCK) for x in range(0, width, _BLOCK)]
            for done, (y, x) in enumerate(corners, 1):
                block = self._image.read(y, x, min(_BLOCK, height - y), min(_BLOCK, width - x))
                highest = max(highest, int(block.max()))
                if highest > doubtful(dtype):
                    break
                yield done, len(corners)
        self._full_scale = full_scale_of(self.path, dtype, highest)

    def probability(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.float32]:
        """Read a window ``(height, width)`` of probabilities, as exact as the file; 0 beyond the border.

        Raises
        ------
        AnnotationError
            If the file is damaged there, coloured, or holds what is no probability.
        """
        return as_probability(self.path, self._image.read(y0, x0, height, width), self.full_scale)

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a window as :meth:`ProbabilityMap.read` does: 255 times the probability, at least 1; 0 beyond the border."""
        values = np.maximum(np.rint(self.probability(y0, x0, height, width) * 255), 1).astype(np.uint8)
        rows, columns = np.arange(y0, y0 + height), np.arange(x0, x0 + width)
        inside = ((rows >= 0) & (rows < self.shape[0]))[:, None] & (columns >= 0) & (columns < self.shape[1])
        return values * inside

    def smoothed(self, y0: int, x0: int, height: int, width: int, sigma_px: float) -> NDArray[np.float32]:
        """Read a window as probability, smoothed with whatever surrounds it, so that neighbouring windows fit without a seam.

        Parameters
        ----------
        y0, x0, height, width : the window inside the map, px
        sigma_px : Gaussian, px
        """
        reach = gaussian_reach(sigma_px)
        top, left = max(y0 - reach, 0), max(x0 - reach, 0)
        bottom, right = min(y0 + height + reach, self.shape[0]), min(x0 + width + reach, self.shape[1])
        values = smooth(self.probability(top, left, bottom - top, right - left), sigma_px)
        return values[y0 - top : y0 - top + height, x0 - left : x0 - left + width]

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()


class _Raster:
    """Regions as the image they would give."""

    dtype = np.dtype(bool)
    mpp = None

    def __init__(self, path: Path, slide: Slide, mpp: float | None) -> None:
        regions = read_regions(path, slide)
        meant = regions.tumour
        if meant.is_empty and regions.normal.is_empty:
            meant = regions.other  # nothing says what they are
        if meant.is_empty:
            raise AnnotationError(path, "marks no tumour", "Classify its regions as tumour, or leave them unclassified")
        self.path, self.exclusion = path, regions.exclusion
        self._tumour = meant.difference(self.exclusion)
        self.shape, self.scale_yx = slide.shape_level0, (1.0, 1.0)
        if mpp is not None:
            self.shape, self.scale_yx = slide.working_shape(mpp), slide.working_scale(mpp)

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.bool_]:
        return rasterize(self._tumour, (height, width), self.scale_yx, (y0, x0))

    def close(self) -> None:
        """Hold nothing open."""


_Pixels = ImageFile | _Raster


def open_file_map(path: str | Path, slide: Slide | None = None, mpp: float | None = None) -> ProbabilityMap | FileMap:
    """Open a pseudo-mask of a slide, whatever made it.

    Parameters
    ----------
    path : a map of ours (a .zarr folder); a label image (0 and 1) or a probability image (8 or 16 bit, or floating point in [0, 1]) at
        any resolution; or regions (GeoJSON, XML), of which those that mean tumour count
    slide : the slide it belongs to; None takes the image's own extent for the slide's (regions need the slide)
    mpp : resolution at which regions are read, um/px; None takes the slide's finest level

    Raises
    ------
    AnnotationError
        If the file cannot be read, does not fit the slide, or marks nothing.
    RunError
        If it is a folder but no map, or the map of another slide.
    """
    path = Path(path)
    if path.is_dir():
        found = open_map(path)
        if slide is not None and found.slide.get("quick_hash", slide.quick_hash) != slide.quick_hash:
            raise RunError(
                path, f"is the map of another slide ({found.slide.get('name')}), not of {slide.name}", "Give the map of this slide"
            )
        return found
    if slide is not None:
        check_slide(path, slide)
    if path.exists() and not is_image(path):
        if slide is None:
            raise AnnotationError(path, "is no image, and drawn regions mean nothing without their slide", "Give the slide too")
        raster = _Raster(path, slide, mpp)
        return FileMap(raster, slide.identity(), raster.scale_yx)
    image = open_image(path, "ubf", "a label image (0 and 1) or a probability image")
    try:
        identity = {"name": path.name, "shape_level0": image.shape, "mpp": image.mpp} if slide is None else slide.identity()
        return FileMap(image, identity, level0_scale(image, identity))
    except BaseException:
        image.close()
        raise


def sha256_of(path: str | Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names, hex.

    Parameters
    ----------
    path : file or folder
    check : called after each MiB; may raise to stop

    Raises
    ------
    AnnotationError
        If there is none, or it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file, check)}\n".encode())
        return digest.hexdigest()
    try:
        with path.open("rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
                check()
    except OSError as error:
        raise AnnotationError(path, f"cannot be read ({error.strerror or error})", "Check the file") from error
    return digest.hexdigest()
