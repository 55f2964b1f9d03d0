"""Measurements of a mask as tables: its lesions, and the slide."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

from .mask import BAND, labels_in
from .placed import ids_of, perimeter_um

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .mask import FinishedMask

Row = dict[str, Any]
LESION_COLUMNS = (
    "slide", "id", "class", "area_mm2", "perimeter_mm", "mean_probability", "max_probability",
    "centroid_x_level0", "centroid_y_level0", "centroid_x_um", "centroid_y_um",
    "left_level0", "top_level0", "right_level0", "bottom_level0", "warning",
)  # fmt: skip


def lesions(mask: FinishedMask) -> list[Row]:
    """Measure every object: one row each, keyed by :data:`LESION_COLUMNS`.

    Areas are counted in pixels. Level-0 px count from the corner of the whole slide, and so do um.
    """
    source, slide = mask.source, str(mask.source.slide.get("name", ""))
    side_y, side_x = source.pixel_size_um_yx
    scale_y, scale_x = source.scale_yx
    highest = _highest(mask)
    rows = []
    for (identity, outline), most in zip(ids_of(mask), highest.tolist(), strict=True):
        centre = outline.polygon.centroid
        left, top, right, bottom = outline.polygon.bounds
        measured = (
            slide,
            identity,
            mask.kinds[outline.label].name,
            round(outline.area_px * side_y * side_x / 1e6, 9),
            round(perimeter_um(outline.polygon, source.pixel_size_um_yx) / 1e3, 6),
            round(outline.mean_probability, 6),
            round(most / 255, 6),
            *(round(v, 2) for v in (centre.x * scale_x, centre.y * scale_y)),
            *(round(v, 3) for v in (centre.x * side_x, centre.y * side_y)),
            *(round(v, 2) for v in (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)),
            mask.warning,
        )
        rows.append(dict(zip(LESION_COLUMNS, measured, strict=True)))
    return rows


def summary(mask: FinishedMask) -> Row:
    """Measure the slide: one row. What is not known is None."""
    source = mask.source
    px_mm2 = source.pixel_size_um_yx[0] * source.pixel_size_um_yx[1] / 1e6
    count = sum(outline.area_px for outline in mask.outlines)
    tissue = (source.attributes.get("tissue") or {}).get("area_mm2")
    seen = mask.seen_px * px_mm2
    weighted = sum(outline.area_px * outline.mean_probability for outline in mask.outlines)
    return {
        "slide": str(source.slide.get("name", "")),
        "round": mask.facts.get("round"),
        "threshold": mask.facts.get("threshold"),
        "lesions": len(mask.outlines),
        "tumour_mm2": round(count * px_mm2, 9),
        "tissue_mm2": None if tissue is None else round(float(tissue), 9),
        "looked_at_mm2": round(seen, 9),
        "tumour_share_of_tissue": round(count * px_mm2 / tissue, 6) if tissue else None,
        "tumour_share_of_looked_at": round(count * px_mm2 / seen, 6) if seen else None,
        "largest_lesion_mm2": round(max((outline.area_px for outline in mask.outlines), default=0) * px_mm2, 9),
        "mean_probability": round(weighted / count, 6) if count else None,
        "warning": mask.warning,
    }


def write_lesions_csv(path: Path, mask: FinishedMask) -> None:
    """Write a row for each lesion."""
    _csv(path, LESION_COLUMNS, lesions(mask))


def write_slide_csv(path: Path, mask: FinishedMask) -> None:
    """Write the row of the slide."""
    row = summary(mask)
    _csv(path, tuple(row), [row])


def write_lesions_parquet(path: Path, mask: FinishedMask) -> None:
    """Write a row for each lesion, with the provenance in the file's metadata."""
    _parquet(path, LESION_COLUMNS, lesions(mask), mask)


def write_slide_parquet(path: Path, mask: FinishedMask) -> None:
    """Write the row of the slide."""
    row = summary(mask)
    _parquet(path, tuple(row), [row], mask)


def _csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


_TEXT = ("slide", "id", "class", "warning")
_WHOLE = ("round", "lesions")


def _parquet(path: Path, columns: Sequence[str], rows: Sequence[Row], mask: FinishedMask) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    # types are told, or an empty table would have none
    kinds = [(name, pa.string() if name in _TEXT else pa.int64() if name in _WHOLE else pa.float64()) for name in columns]
    schema = pa.schema(kinds, metadata={"napari_ifkd": json.dumps(mask.facts)})
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _highest(mask: FinishedMask) -> NDArray[np.uint8]:
    """Return the highest probability in each object, times 255, in the order of the outlines; a band at a time."""
    highest = np.zeros(len(mask.outlines), np.uint8)
    if not len(highest):
        return highest
    tree = shapely.STRtree([outline.polygon for outline in mask.outlines])
    height, width = mask.store.shape
    for y in range(0, height, BAND):
        mask.check(y, height)
        rows = min(BAND, height - y)
        band = np.asarray(mask.store.levels[0][y : y + rows])
        if not band.any():
            continue
        values = mask.source.read(y, 0, rows, width)
        for label in labels_in(band):
            count, parts = cv2.connectedComponents((band == label).astype(np.uint8), connectivity=4)
            inside = np.flatnonzero(parts)
            of_part = parts.ravel()[inside]
            most, first = np.zeros(count, np.uint8), np.zeros(count, np.int64)
            np.maximum.at(most, of_part, values.ravel()[inside])
            first[of_part[::-1]] = inside[::-1]  # a pixel of each part; every part is of one object
            centres = shapely.points(first[1:] % width + 0.5, first[1:] // width + y + 0.5)
            part, object_ = tree.query(centres, predicate="within")
            np.maximum.at(highest, object_, most[part + 1])
    return highest
