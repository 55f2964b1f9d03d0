"""One region, and what its class means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapely.geometry.base import BaseGeometry

Meaning = Literal["tumour", "normal", "exclusion", "other"]

_WORDS: dict[Meaning, set[str]] = {
    "exclusion": {"exclusion", "exclude", "excluded", "ignore", "ignore*", "artefact", "artifact"},
    "normal": {"normal", "negative", "neg", "no tumour", "no tumor", "non-tumour", "non-tumor", "nontumour", "nontumor", "benign", "0"},
    "tumour": {"tumour", "tumor", "positive", "pos", "cancer", "malignant", "carcinoma", "metastasis", "metastases", "1"},
}


@dataclass(frozen=True)
class Region:
    """One region: a valid Polygon or MultiPolygon of (x, y) in level-0 px."""

    geometry: BaseGeometry
    name: str = ""
    classification: str | None = None

    @property
    def meaning(self) -> Meaning:
        """What its classification says, or its name where it has none."""
        said = (self.classification or self.name).strip().lower()
        return next((meaning for meaning, words in _WORDS.items() if said in words), "other")


def polygons_of(shaped: BaseGeometry) -> BaseGeometry | None:
    """Return the valid polygons of a geometry, as one; None if it has none."""
    if not bool(shapely.is_valid(shaped)):
        shaped = shapely.make_valid(shaped)
    parts = [part for part in shapely.get_parts(shapely.get_parts(shaped)) if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def cut_out(regions: Sequence[Region]) -> list[Region]:
    """Cut normal regions out of tumour regions, for formats that draw a hole as a polygon of its own.

    Parameters
    ----------
    regions : in file order

    Returns
    -------
    list of Region
        In the same order; tumour regions of which nothing is left are gone.
    """
    holes = shapely.union_all([region.geometry for region in regions if region.meaning == "normal"])
    left: list[Region] = []
    for region in regions:
        if region.meaning == "tumour" and region.geometry.intersects(holes):
            rest = polygons_of(region.geometry.difference(holes))
            if rest is None:
                continue
            region = replace(region, geometry=rest)
        left.append(region)
    return left
