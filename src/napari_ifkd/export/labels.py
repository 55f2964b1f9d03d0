"""Labels that no map stands behind, such as those drawn in a viewer, as something to export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_ifkd.errors import ExportError

from .mask import BAND, TUMOUR, Kind
from .provenance import provenance_of
from .writing import Steps, write_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MOST_LABELS = 10_000  # that are named in a file


class LabelImage:
    """A label image with its place on a slide; it has what an export asks of a map.

    Parameters
    ----------
    array : ``(y, x)`` whole numbers, 0 for nothing; NumPy, dask, zarr or whatever is cut like them
    slide : identity of the slide
    pixel_size_um_yx : side lengths of a px, um
    scale_yx : level-0 px per px
    corner_yx_level0 : where its corner lies, level-0 px
    bounds_origin_yx_level0 : where the slide's scanned area starts
    """

    def __init__(
        self,
        array: Any,
        slide: dict[str, Any],
        pixel_size_um_yx: tuple[float, float],
        scale_yx: tuple[float, float] = (1.0, 1.0),
        corner_yx_level0: tuple[float, float] = (0.0, 0.0),
        bounds_origin_yx_level0: tuple[int, int] = (0, 0),
    ) -> None:
        self._array, self.slide = array, slide
        self.pixel_size_um_yx, self.scale_yx = pixel_size_um_yx, scale_yx
        self.corner_yx_level0, self.bounds_origin_yx_level0 = corner_yx_level0, bounds_origin_yx_level0
        self.shape = (int(array.shape[0]), int(array.shape[1]))
        self.mpp = sum(pixel_size_um_yx) / 2
        self.model: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.domain_warning: str | None = None
        self.attributes: dict[str, Any] = {}

    def labels(self, y0: int, rows: int) -> NDArray[np.integer]:
        """Read whole rows."""
        return np.asarray(self._array[y0 : y0 + rows])

    def read(self, y0: int, x0: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a window inside the image: 255 where there is a label, else 1."""
        return np.where(self.labels(y0, height)[:, x0 : x0 + width] > 0, np.uint8(255), np.uint8(1))

    def known(self) -> list[int]:
        """Return the labels there are, in order.

        Raises
        ------
        ExportError
            If there are too many, or negative ones.
        """
        found: set[int] = set()
        for y in range(0, self.shape[0], BAND):
            found.update(np.unique(self.labels(y, BAND)).tolist())
            if len(found) > _MOST_LABELS:
                raise ExportError("labels", f"are over {_MOST_LABELS:,}", "Save them with napari's own writer")
        if min(found, default=0) < 0:
            raise ExportError("labels", "hold negative numbers", "Give labels from 0 on")
        return sorted(found - {0})


def facts_of_labels(image: LabelImage, name: str, **more: Any) -> dict[str, Any]:
    """Collect the provenance of labels, JSON-ready.

    Parameters
    ----------
    image : the labels
    name : what they are called
    **more : whatever else is known
    """
    facts = provenance_of(cast("Any", image), threshold=0.0, sigma_px=0.0, labels=name, **more)
    for of_a_map in ("threshold", "sigma_px", "prediction", "model"):
        facts.pop(of_a_map, None)
    return facts


def export_labels(
    image: LabelImage, path: Path, format: str, facts: dict[str, Any], colour_of: Callable[[int], tuple[int, int, int]] | None = None
) -> list[Path]:
    """Write a label image to a file.

    Parameters
    ----------
    image : to write; a single label is taken for tumour, several are called by their numbers
    path : the file, or folder
    format : one of :data:`FORMATS` that is one file
    facts : its provenance, of :func:`facts_of_labels`
    colour_of : colour of each label; None leaves tumour red

    Raises
    ------
    ExportError
        If the labels or the place cannot be.
    """
    known = image.known() or [1]
    kinds = {k: Kind(TUMOUR.name if len(known) == 1 else f"Label {k}", TUMOUR.colour if colour_of is None else colour_of(k)) for k in known}
    dtype = np.min_scalar_type(known[-1])

    def bands() -> Iterator[NDArray[np.unsignedinteger]]:
        for y in range(0, image.shape[0], BAND):
            steps(y, image.shape[0])
            yield image.labels(y, BAND).astype(dtype)

    steps = Steps()
    corner = image.corner_yx_level0
    return write_mask(
        image, bands(), path.parent, path.name, [format], facts,
        steps=steps, kinds=kinds, dtype=dtype, paths={format: path}, corner_yx_level0=corner,
    )  # fmt: skip
