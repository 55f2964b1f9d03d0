"""Images of one value a pixel (label images, probability images), opened without being read: TIFF, OME-Zarr labels, PNG, NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr

from napari_ifkd.errors import AnnotationError

from .zarr_labels import holds_labels, is_zarr_group, open_zarr_labels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"\x93NUMPY")
_MOST_PX = 2**30  # of a PNG, which can only be read whole
_MPP = (0.05, 20.0)  # um/px; anything else is a tag of 72 dpi or the like
_UM_PER_UNIT = {1: None, 2: 25400.0, 3: 10000.0}  # TIFF's ResolutionUnit: none, inch, cm


class ImageFile:
    """An image on disk, opened by :func:`open_image`.

    Parameters
    ----------
    path : the file
    array : ``(y, x)`` or ``(y, x, channels)``, or anything that is cut like it
    mpp : um/px, None if the file says nothing believable
    close : called when it is closed
    lossy : whether it is a JPEG, whose values are near those once written

    Attributes
    ----------
    shape : height and width, px
    dtype : of the values
    channels : values a pixel
    """

    def __init__(self, path: Path, array: Any, mpp: float | None, close: Any = None, lossy: bool = False) -> None:
        self.path, self.mpp, self.lossy = path, mpp, lossy
        self._array, self._close = array, close
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.channels = int(array.shape[2]) if len(array.shape) == 3 else 1

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[Any]:
        """Read a window, ``(height, width)`` or ``(height, width, channels)`` of `dtype`; 0 beyond the border.

        Raises
        ------
        AnnotationError
            If the file is damaged there.
        """
        window = np.zeros((height, width, *self._array.shape[2:]), self.dtype)
        top, left = max(y0, 0), max(x0, 0)
        bottom, right = min(y0 + height, self.shape[0]), min(x0 + width, self.shape[1])
        if bottom > top and right > left:
            try:
                values = np.asarray(self._array[top:bottom, left:right])
            except Exception as error:
                raise AnnotationError(self.path, f"cannot be read at row {top}, column {left} ({type(error).__name__})") from error
            window[top - y0 : bottom - y0, left - x0 : right - x0] = values
        return window

    def close(self) -> None:
        """Close the file."""
        if self._close is not None:
            self._close()
            self._close = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()


def open_image(path: str | Path, kinds: str = "ubf", what: str = "an image of one value a pixel") -> ImageFile:
    """Open an image.

    Parameters
    ----------
    path : a TIFF (also tiled, pyramidal or OME; its finest level is used), a folder of OME-Zarr with labels, a PNG or another plain
        picture, or a ``.npy``
    kinds : which values will do, as NumPy names kinds of types: u unsigned, i signed, b bool, f floating point
    what : what it should be, for errors

    Raises
    ------
    AnnotationError
        If it is none of these, damaged, no 2-D image, or holds other values.
    """
    path = Path(path)
    remedy = f"Give {what}: TIFF or PNG"
    if is_zarr_group(path):
        return _checked(ImageFile(path, *open_zarr_labels(path)), kinds, what)
    if not path.is_file():
        raise AnnotationError(path, "is a folder" if path.is_dir() else "does not exist", remedy)
    try:
        start = _start(path)
        image = _tiff(path, remedy) if start.startswith(_TIFF) else _numpy(path) if start.startswith(_OTHER[-1]) else _picture(path)
    except AnnotationError:
        raise
    except Exception as error:  # decoders raise many kinds
        raise AnnotationError(path, f"cannot be read as {what} ({type(error).__name__}: {_line(error)})", remedy) from error
    return _checked(image, kinds, what)


def _checked(image: ImageFile, kinds: str, what: str) -> ImageFile:
    if image.shape[0] < 1 or image.shape[1] < 1:
        raise AnnotationError(image.path, "has no pixels", f"Give {what}")
    if image.dtype.kind not in kinds:
        image.close()
        wanted = "whole numbers (uint8 or uint16)" + (", or floating point from 0 to 1" if "f" in kinds else "")
        raise AnnotationError(image.path, f"holds {image.dtype} values", f"Give {what}: {wanted}")
    return image


def is_image(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is an image that :func:`open_image` may open; a folder, whether it has OME-Zarr labels."""
    path = Path(path)
    if is_zarr_group(path):
        return holds_labels(path)
    try:
        return _start(path).startswith(_TIFF + _OTHER)
    except OSError:
        return False


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


class _Extent(Protocol):
    """What is needed of an image to lay it over a slide."""

    path: Path
    shape: tuple[int, int]
    mpp: float | None


def level0_scale(image: _Extent, slide: Mapping[str, Any]) -> tuple[float, float]:
    """Return level-0 px of a slide per px of an image of it, (y, x).

    An image of the slide's proportions covers the whole slide. Any other must know its resolution, and then begins at the same corner
    (such images were padded to whole tiles).

    Parameters
    ----------
    image : the image
    slide : identity of the slide: its name, ``shape_level0`` and ``mpp``

    Raises
    ------
    AnnotationError
        If neither holds.
    """
    height, width = slide["shape_level0"]
    scale_y, scale_x = height / image.shape[0], width / image.shape[1]
    # a px of rounding at each side of the smaller image is no difference
    slack = 0.005 + 1 / min(image.shape)
    if abs(scale_y / scale_x - 1) <= slack:
        return scale_y, scale_x
    mpp = slide.get("mpp")
    if image.mpp and mpp:
        scale = image.mpp / mpp
        if 0.75 < scale / scale_y < 1.34 and 0.75 < scale / scale_x < 1.34:
            return scale, scale
    raise AnnotationError(
        image.path,
        f"does not fit {slide['name']}: {image.shape[1]} x {image.shape[0]} px against {width} x {height} px",
        "Give an image or a mask of all of this slide, at any resolution",
    )


def _tiff(path: Path, remedy: str) -> ImageFile:
    tiff = tifffile.TiffFile(path)
    try:
        series = tiff.series[0]
        shape = tuple(n for n in series.shape if n != 1)
        if len(shape) not in (2, 3) or (len(shape) == 3 and (shape[-1] not in (3, 4) or series.axes[-1] != "S")):
            raise AnnotationError(path, f"is no single 2-D image (its axes are {series.axes} {series.shape})", remedy)
        array = zarr.open_array(series.aszarr(level=0), mode="r")
        view = array if len(series.shape) == len(shape) else np.asarray(array).reshape(shape)
        return ImageFile(path, view, _resolution(tiff), tiff.close)
    except BaseException:
        tiff.close()
        raise


def _resolution(tiff: tifffile.TiffFile) -> float | None:
    """Return um/px by OME's physical size or the resolution tags; None where they say nothing believable."""
    mpp = None
    if tiff.is_ome and tiff.ome_metadata:
        try:
            root = ElementTree.fromstring(tiff.ome_metadata)
        except ElementTree.ParseError:
            return None
        pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels")), None)
        if pixels is not None and pixels.get("PhysicalSizeXUnit", "µm") in ("µm", "um", "μm"):
            mpp = float(pixels.get("PhysicalSizeX", "nan"))
    else:
        tags = tiff.pages.first.tags
        unit = _UM_PER_UNIT.get(int(tags.valueof(296, 1)))
        count, per = tags.valueof(282, (0, 1))
        mpp = unit * per / count if unit and count else None
    return mpp if mpp is not None and math.isfinite(mpp) and _MPP[0] <= mpp <= _MPP[1] else None


def _numpy(path: Path) -> ImageFile:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != 2:
        raise AnnotationError(path, f"is no 2-D image (its shape is {array.shape})", "Give an array of height x width")
    return ImageFile(path, array, None)


def _picture(path: Path) -> ImageFile:
    from PIL import Image  # keeps palette indices, which are the labels

    with Image.open(path) as image:
        if image.width * image.height > _MOST_PX:
            raise AnnotationError(path, f"is too large for this format ({image.width} x {image.height} px)", "Give a tiled TIFF")
        opaque = {"LA": "L", "RGBA": "RGB", "PA": "P"}.get(image.mode)  # opacity is no label
        values = np.asarray(image.convert(opaque) if opaque else image)
        lossy = image.format in {"JPEG", "MPO"}
    values = values.astype(np.uint16) if values.dtype == np.int32 else values  # 16-bit grey, as older Pillow gives it
    return ImageFile(path, values, None, lossy=lossy)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120]
