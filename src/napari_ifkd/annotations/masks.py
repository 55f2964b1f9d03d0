"""Label images as masks, read window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from .images import open_image

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from .images import ImageFile


class Mask:
    """A label image, opened by :func:`read_mask`; every value but 0 is foreground.

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
        foreground: NDArray[np.bool_] = (values != 0).any(-1) if values.ndim == 3 else values != 0
        return foreground

    def close(self) -> None:
        """Close the file."""
        self._image.close()

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
    return Mask(open_image(path, "uib", "a label image, 0 for background"))
