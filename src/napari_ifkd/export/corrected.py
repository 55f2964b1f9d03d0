"""A mask with the pixels that a person corrected, band by band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.annotations import Corrections
from napari_ifkd.annotations.corrections import NORMAL, TUMOUR
from napari_ifkd.annotations.masks import centres
from napari_ifkd.errors import ExportError

from .mask import BAND

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_ifkd.runs.folder import RunFolder

    from .mask import Source
    from .mask_store import MaskStore


def corrections_for(run: RunFolder, source: Source) -> Corrections | None:
    """Return what a person painted on the slide of a map, None if nothing.

    Raises
    ------
    AnnotationError
        If it is damaged.
    ExportError
        If it was painted on another slide of that name.
    """
    path = run.corrections_path(str(source.slide["name"]))
    if not path.is_dir():
        return None
    found = Corrections.open(path)
    if found.slide.get("quick_hash") != source.slide.get("quick_hash"):
        cause = f"was painted on another slide than the map's ({found.slide.get('name')}, of other contents)"
        raise ExportError(path, cause, "Move the corrections away")
    return None if found.is_empty else found


def corrected(bands: Iterable[NDArray[np.uint8]], corrections: Corrections, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Let corrections win over a mask that comes in bands.

    Parameters
    ----------
    bands : ``(n, W)`` of 0 and 1, from top to bottom; changed in place
    corrections : of the same slide; on another grid the pixel at the centre counts
    shape : of the mask, px
    """
    step_y, step_x = (own / of_mask for own, of_mask in zip(corrections.shape, shape, strict=True))
    columns = centres(0, shape[1], step_x)
    boxes = corrections.boxes()
    y = 0
    for band in bands:
        rows = centres(y, len(band), step_y)
        for top, left, height, width in boxes[(boxes[:, 0] <= rows[-1]) & (boxes[:, 0] + boxes[:, 2] > rows[0])].tolist():
            own_rows = np.flatnonzero((rows >= top) & (rows < top + height))
            own_columns = np.flatnonzero((columns >= left) & (columns < left + width))
            if len(own_rows) == 0 or len(own_columns) == 0:
                continue
            painted = corrections.read(top, left, height, width)[np.ix_(rows[own_rows] - top, columns[own_columns] - left)]
            part = band[own_rows[0] : own_rows[-1] + 1, own_columns[0] : own_columns[-1] + 1]
            part[painted == TUMOUR] = 1
            part[painted == NORMAL] = 0
        y += len(band)
        yield band


def painted_in(store: MaskStore, corrections: Corrections) -> int:
    """Return how many px of a mask are tumour that a person painted: some lies in lesions that were left out."""
    nothing = (np.zeros((min(BAND, store.shape[0] - y), store.shape[1]), np.uint8) for y in range(0, store.shape[0], BAND))
    y = count = 0
    for painted in corrected(nothing, corrections, store.shape):
        if painted.any():
            count += int(np.count_nonzero(painted.astype(bool) & (np.asarray(store.levels[0][y : y + len(painted)]) > 0)))
        y += len(painted)
    return count


def told(corrections: Corrections | None) -> dict[str, Any]:
    """Return what the provenance says of corrections, JSON-ready."""
    if corrections is None:
        return {}
    areas = {"tumour_mm2": corrections.area_mm2(TUMOUR), "normal_mm2": corrections.area_mm2(NORMAL)}
    return {"corrections": {name: round(area, 9) for name, area in areas.items()}}
