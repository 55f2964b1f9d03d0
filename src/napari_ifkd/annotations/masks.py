"""Label images as masks, read window by window: TIFF pyramids of any size, and PNG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr

from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

_TIFF = {".tif", ".tiff", ".svs", ".btf"}
_MOST_PX = 2**30  # of a PNG, which can only be read whole
_MPP = (0.05, 20.0)  # um/px; anything else is a tag of 72 dpi or the like
_UM_PER_UNIT = {1: None, 2: 25400.0, 3: 10000.0}  # TIFF's ResolutionUnit: none, inch, cm


class Mask:
    """A label image, opened by :func:`read_mask`; every value but 0 is foreground.

    Parameters
    ----------
    path : the file
    array : ``(y, x)`` or ``(y, x, channels)``, or anything that is cut like it
    mpp : um/px, None if the file says nothing believable

    Attributes
    ----------
    shape : height and width, px
    """

    def __init__(self, path: Path, array: Any, mpp: float | None, close: Any = None) -> None:
        self.path, self.mpp = path, mpp
        self._array, self._close = array, close
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.bool_]:
        """Read a window ``(height, width)``; False beyond the border.

        Raises
        ------
        AnnotationError
            If the file is damaged there.
        """
        window = np.zeros((height, width), bool)
        top, left = max(y0, 0), max(x0, 0)
        bottom, right = min(y0 + height, self.shape[0]), min(x0 + width, self.shape[1])
        if bottom > top and right > left:
            try:
                values = np.asarray(self._array[top:bottom, left:right]) != 0
            except Exception as error:
                raise AnnotationError(self.path, f"cannot be read at row {top}, column {left} ({type(error).__name__})") from error
            window[top - y0 : bottom - y0, left - x0 : right - x0] = values.any(-1) if values.ndim == 3 else values
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


def read_mask(path: str | Path) -> Mask:
    """Open a label image.

    Parameters
    ----------
    path : a TIFF (also tiled, pyramidal or OME; its finest level is used), or a PNG

    Raises
    ------
    AnnotationError
        If it is neither, damaged, or no 2-D image of whole numbers.
    """
    path = Path(path)
    remedy = "Give a label image: TIFF or PNG, 0 for background"
    if not path.is_file():
        raise AnnotationError(path, "is a folder" if path.is_dir() else "does not exist", remedy)
    try:
        mask = _tiff(path) if path.suffix.lower() in _TIFF else _picture(path)
    except AnnotationError:
        raise
    except Exception as error:  # decoders raise many kinds
        raise AnnotationError(path, f"cannot be read as a label image ({type(error).__name__}: {_line(error)})", remedy) from error
    if mask.shape[0] < 1 or mask.shape[1] < 1:
        raise AnnotationError(path, "has no pixels", remedy)
    return mask


def _tiff(path: Path) -> Mask:
    tiff = tifffile.TiffFile(path)
    try:
        series = tiff.series[0]
        shape = tuple(n for n in series.shape if n != 1)
        if len(shape) not in (2, 3) or (len(shape) == 3 and (shape[-1] not in (3, 4) or series.axes[-1] != "S")):
            raise AnnotationError(path, f"is no single 2-D image (its axes are {series.axes} {series.shape})", "Give one label image")
        if series.dtype.kind not in "ub":
            raise AnnotationError(path, f"holds {series.dtype} values", "Give whole numbers, 0 for background: uint8 or uint16")
        array = zarr.open_array(series.aszarr(level=0), mode="r")
        view = array if len(series.shape) == len(shape) else np.asarray(array).reshape(shape)
        return Mask(path, view, _resolution(tiff), tiff.close)
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


def _picture(path: Path) -> Mask:
    from PIL import Image  # keeps palette indices, which are the labels

    with Image.open(path) as image:
        if image.width * image.height > _MOST_PX:
            raise AnnotationError(path, f"is too large for this format ({image.width} x {image.height} px)", "Give a tiled TIFF")
        opaque = {"LA": "L", "RGBA": "RGB", "PA": "P"}.get(image.mode)  # opacity is no label
        values = np.asarray(image.convert(opaque) if opaque else image)
    if values.dtype.kind not in "uib":
        raise AnnotationError(path, f"holds {values.dtype} values", "Give whole numbers, 0 for background")
    return Mask(path, values, None)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:120]
