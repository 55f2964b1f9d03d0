"""Label images as masks, read window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from napari_ifkd.errors import AnnotationError

from .images import open_image

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from .images import ImageFile


#: Value from which a pixel of a JPEG is foreground: its compression leaves noise beside every edge.
LOSSY_FOREGROUND = 128


class Mask:
    """A label image, opened by :func:`read_mask`; every value but 0 is foreground, and of a JPEG the brighter half.

    Parameters
    ----------
    image : the file, of one or more channels

    Attributes
    ----------
    path : the file's
    shape : height and width, px
    mpp : um/px, None if the file says nothing believable
    """

    def __init__(self, image: ImageFile) -> None:
        self._image = image
        self.path, self.shape, self.mpp = image.path, image.shape, image.mpp

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.bool_]:
        """Read a window ``(height, width)``; False beyond the border.

        Raises
        ------
        AnnotationError
            If the file is damaged there.
        """
        values = self._image.read(y0, x0, height, width)
        marked = values >= LOSSY_FOREGROUND if self._image.lossy else values != 0
        return np.asarray(marked.any(-1) if values.ndim == 3 else marked, np.bool_)

    def sampled(self, y0: int, x0: int, height: int, width: int, step_yx: tuple[float, float]) -> NDArray[np.bool_]:
        """Read a window of another grid, by the px at the centres of its own.

        Parameters
        ----------
        y0, x0, height, width : the window, px of that grid, inside the image
        step_yx : px of the image per px of that grid

        Raises
        ------
        AnnotationError
            If the file is damaged there.
        """
        rows, columns = centres(y0, height, step_yx[0]), centres(x0, width, step_yx[1])
        window = self.read(int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1)
        found: NDArray[np.bool_] = window[np.ix_(rows - rows[0], columns - columns[0])]
        return found

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()


def centres(start: int, count: int, step: float) -> NDArray[np.int64]:
    """Return the px at the centres of `count` px of another grid, `step` times as large."""
    found: NDArray[np.int64] = np.floor((np.arange(start, start + count) + 0.5) * step + 1e-9).astype(np.int64)
    return found


def read_mask(path: str | Path) -> Mask:
    """Open a label image.

    Parameters
    ----------
    path : a TIFF (also tiled, pyramidal or OME; its finest level is used), OME-Zarr with labels, a PNG, or a JPEG of black and white

    Raises
    ------
    AnnotationError
        If it is none of these, damaged, no 2-D image of whole numbers, or a JPEG of labels (which are lost in it).
    """
    image = open_image(path, "uib", "a label image, 0 for background")
    if image.lossy:
        brightest = int(image.read(0, 0, *image.shape).max())
        if 0 < brightest < LOSSY_FOREGROUND:
            cause = f"is a JPEG with values up to {brightest}, which do not tell labels from noise"
            raise AnnotationError(path, cause, "Give black and white (0 and 255), or labels as PNG or TIFF")
    return Mask(image)
