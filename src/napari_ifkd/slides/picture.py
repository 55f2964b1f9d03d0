"""A plain picture (PNG, JPEG, BMP, untiled TIFF), held in memory and read like a slide."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_ifkd.errors import SlideError

from .resample import resample
from .resolution import MPP_RANGE

if TYPE_CHECKING:
    import numpy.typing as npt

_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "1"})
_MOST_PX = 2**27  # such files can only be decoded whole: 400 MB
_REMEDY = "Give a readable 8-bit colour or grey image"


class Picture:
    """An image in memory; made by :func:`open_picture`.

    Coordinates are those of :class:`~napari_ifkd.slides.Slide`, of which this is the part that tissue, tiles and regions need.

    Attributes
    ----------
    path : Path
    name : file name
    mpp : um/px
    shape_level0 : (height, width), px
    bounds_origin_yx_level0 : (0, 0)
    """

    bounds_origin_yx_level0 = (0, 0)

    def __init__(self, path: Path, pixels: npt.NDArray[np.uint8], mpp: float) -> None:
        self.path, self.name, self.mpp = path, path.name, mpp
        self.shape_level0: tuple[int, int] = (pixels.shape[0], pixels.shape[1])
        self._source = _InMemory(pixels)

    def working_shape(self, mpp: float) -> tuple[int, int]:
        """Return (height, width) of the picture at `mpp` um/px, working px, at least 1."""
        return max(1, round(self.shape_level0[0] * self.mpp / mpp)), max(1, round(self.shape_level0[1] * self.mpp / mpp))

    def working_scale(self, mpp: float) -> tuple[float, float]:
        """Return px of the file per working px at `mpp`, (y, x)."""
        height, width = self.working_shape(mpp)
        return self.shape_level0[0] / height, self.shape_level0[1] / width

    def read_working(self, y0: int, x0: int, h: int, w: int, mpp: float) -> npt.NDArray[np.uint8]:
        """Read a box of the working grid, ``(h, w, 3)`` uint8, as :meth:`napari_ifkd.slides.Slide.read_working` does."""
        scale = self.working_scale(mpp)
        return resample(self._source, (y0 * scale[0], x0 * scale[1]), (h, w), scale)

    def overview(self, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Read the whole picture, ``(height, width, 3)`` uint8 of the given `shape`."""
        return resample(self._source, (0.0, 0.0), shape, (self.shape_level0[0] / shape[0], self.shape_level0[1] / shape[1]))


class _InMemory:
    """Pixels in memory, for `resample`."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self.shape: tuple[int, int, int] = (pixels.shape[0], pixels.shape[1], 3)
        self.tile = (1, 1)

    def read(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        return self._pixels[y0:y1, x0:x1]


def open_picture(path: str | Path, mpp: float) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    path : the file
    mpp : its um/px, which such files do not tell

    Raises
    ------
    SlideError
        If it cannot be read, is too large to be decoded whole, or is no 8-bit image; or if no microscope has this resolution.
    """
    path = Path(path)
    too_large = SlideError(path, "is too large to be decoded whole", "Convert it to a tiled TIFF, and give it as a slide")
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise SlideError(path, f"a resolution of {mpp:g} um/px cannot be right", f"Give one between {MPP_RANGE[0]:g} and {MPP_RANGE[1]:g}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns of odd metadata and of sizes, which are checked here
            with Image.open(path) as image:
                if image.width * image.height > _MOST_PX:
                    raise too_large
                if image.mode not in _MODES:
                    raise SlideError(path, f"is no 8-bit colour or grey image (mode {image.mode})", _REMEDY)
                return Picture(path, np.asarray(image.convert("RGB")), mpp)
    except SlideError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:  # decoders raise many kinds
        reason = (str(error).replace(str(path), path.name).splitlines() or [""])[0] or type(error).__name__
        raise SlideError(path, f"cannot be read ({reason})", _REMEDY) from error
