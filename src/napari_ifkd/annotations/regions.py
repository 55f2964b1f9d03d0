"""Regions drawn in other programs: GeoJSON in, unions by meaning out."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import shapely
from shapely.affinity import translate
from shapely.geometry import shape as to_shape

from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.slides import Slide

Meaning = Literal["tumour", "normal", "exclusion", "other"]

_WORDS: dict[Meaning, set[str]] = {
    "exclusion": {"exclusion", "exclude", "excluded", "ignore", "ignore*", "artefact", "artifact"},
    "normal": {"normal", "negative", "neg", "no tumour", "no tumor", "non-tumour", "non-tumor", "nontumour", "nontumor", "benign", "0"},
    "tumour": {"tumour", "tumor", "positive", "pos", "cancer", "malignant", "carcinoma", "1"},
}
_REMEDY = "Give GeoJSON as QuPath writes it (Features with polygons in pixels of the finest level)"


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


@dataclass(frozen=True)
class Regions:
    """All regions of a file; the unions are empty polygons where there is none of that meaning."""

    regions: tuple[Region, ...]

    def __iter__(self) -> Iterator[Region]:
        """Go through the regions in file order."""
        return iter(self.regions)

    def __len__(self) -> int:
        """Count the regions."""
        return len(self.regions)

    @cached_property
    def tumour(self) -> BaseGeometry:
        """Union of what is classified tumour, tumor, positive, ..."""
        return self._union("tumour")

    @cached_property
    def normal(self) -> BaseGeometry:
        """Union of what is classified normal, negative, no tumour, ..."""
        return self._union("normal")

    @cached_property
    def exclusion(self) -> BaseGeometry:
        """Union of what is classified exclusion, ignore, ..."""
        return self._union("exclusion")

    @cached_property
    def other(self) -> BaseGeometry:
        """Union of everything else."""
        return self._union("other")

    @cached_property
    def inside(self) -> BaseGeometry:
        """Union of everything but the exclusions: where to look when the file says where."""
        return shapely.union_all([region.geometry for region in self.regions if region.meaning != "exclusion"])

    def _union(self, meaning: Meaning) -> BaseGeometry:
        return shapely.union_all([region.geometry for region in self.regions if region.meaning == meaning])


def positive(regions: Iterable[Region]) -> Regions:
    """Return the regions that mean tumour."""
    return Regions(tuple(region for region in regions if region.meaning == "tumour"))


def negative(regions: Iterable[Region]) -> Regions:
    """Return the regions that mean normal tissue."""
    return Regions(tuple(region for region in regions if region.meaning == "normal"))


def read_regions(path: str | Path, slide: Slide | None = None) -> Regions:
    """Read the polygons of a GeoJSON file; points and lines are left out.

    Parameters
    ----------
    path : a FeatureCollection, a list of Features, one Feature or a bare geometry; also gzipped
    slide : the slide it was drawn on. QuPath counts from the corner of the scanned bounds, so these are added;
        and regions that all lie beside the slide are an error

    Raises
    ------
    AnnotationError
        If the file cannot be read, is no GeoJSON, holds no polygon, or lies beside the slide.
    """
    path = Path(path)
    regions = [region for index, feature in enumerate(_features(path, _load(path))) for region in _regions(path, index, feature)]
    if not regions:
        raise AnnotationError(path, "holds no polygon", _REMEDY)
    if slide is not None:
        dy, dx = slide.bounds_origin_yx_level0
        if dy or dx:
            regions = [Region(translate(r.geometry, dx, dy), r.name, r.classification) for r in regions]
        height, width = slide.shape_level0
        frame = shapely.box(0, 0, width, height)
        if not any(region.geometry.intersects(frame) for region in regions):
            x, y, _, _ = regions[0].geometry.bounds
            raise AnnotationError(
                path,
                f"all regions lie outside {slide.name} ({width} x {height} px; the first begins at x {x:.0f}, y {y:.0f})",
                "Was it drawn on another slide or level? Coordinates must be pixels of the finest level",
            )
    return Regions(tuple(regions))


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return json.loads(data.decode("utf-8-sig"))
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise AnnotationError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})", _REMEDY) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(path, f"is no JSON ({str(error)[:100]})", _REMEDY) from error


def _features(path: Path, data: Any) -> list[dict[str, Any]]:
    """Bring every flavour to a list of Features."""
    if isinstance(data, dict):
        kind = data.get("type")
        if kind == "FeatureCollection" and isinstance(data.get("features"), list):
            data = data["features"]
        elif kind == "Feature":
            data = [data]
        elif "coordinates" in data or "geometries" in data:
            data = [{"type": "Feature", "geometry": data}]
    if isinstance(data, list) and all(isinstance(item, dict) and item.get("type") == "Feature" for item in data):
        return data
    raise AnnotationError(path, "is JSON, but no GeoJSON", _REMEDY)


def _regions(path: Path, index: int, feature: dict[str, Any]) -> Iterator[Region]:
    geometry = feature.get("geometry")
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if not isinstance(geometry, dict):
        return  # GeoJSON allows null
    try:
        shaped = shapely.force_2d(to_shape(geometry))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
        raise AnnotationError(path, f"feature {index + 1} has a broken geometry ({str(error)[:100]})", _REMEDY) from error
    polygons = _polygons(shaped)
    if polygons is not None:
        yield Region(polygons, str(properties.get("name") or ""), _classification(properties))


def _polygons(shaped: BaseGeometry) -> BaseGeometry | None:
    """Return the valid polygons of a geometry, as one; None if it has none."""
    if not bool(shapely.is_valid(shaped)):
        shaped = shapely.make_valid(shaped)
    parts = [part for part in shapely.get_parts(shapely.get_parts(shaped)) if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _classification(properties: dict[str, Any]) -> str | None:
    """Read QuPath's classification: an object with a name or names, or plain text."""
    said = properties.get("classification")
    if isinstance(said, dict):
        names = said.get("names")
        said = said.get("name") or (names[0] if isinstance(names, list) and names else None)
    return str(said) if said else None
