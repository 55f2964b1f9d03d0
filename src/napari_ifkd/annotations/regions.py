"""Regions drawn in other programs, by meaning: QuPath's GeoJSON, ASAP's XML, and NCRF's JSON of the Camelyon16 lesions."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import shapely
from shapely.affinity import translate

from napari_ifkd.errors import AnnotationError

from .asap import asap_regions
from .geojson import geojson_regions
from .ncrf import is_ncrf, ncrf_regions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shapely.geometry.base import BaseGeometry

    from .region import Meaning, Region

_REMEDY = "Give GeoJSON as QuPath writes it, ASAP's XML or NCRF's JSON, with polygons in pixels of the finest level"


class Frame(Protocol):
    """What regions are drawn on: a slide, a picture, or what is known of one."""

    @property
    def name(self) -> str:
        """File name."""
        ...

    @property
    def shape_level0(self) -> tuple[int, int]:
        """(height, width), px."""
        ...

    @property
    def bounds_origin_yx_level0(self) -> tuple[int, int]:
        """Corner of the scanned bounds, px."""
        ...


@dataclass(frozen=True)
class Regions:
    """All regions of a file; the unions are empty polygons where there is none of that meaning.

    Attributes
    ----------
    regions : in file order
    left_out : how many things of the file mark no area, such as points and lines
    """

    regions: tuple[Region, ...]
    left_out: int = 0

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


def read_regions(path: str | Path, slide: Frame | None = None) -> Regions:
    """Read the polygons of a file; points and lines are left out, and counted.

    What the file is, its content says, not its name: GeoJSON (a FeatureCollection, a list of Features, one Feature or a bare geometry),
    ASAP's XML, or NCRF's JSON of Camelyon16 lesions. The latter two draw holes as polygons of their own: these are cut out of the tumour,
    and are normal.

    Parameters
    ----------
    path : the file; also gzipped
    slide : the slide, or picture, it was drawn on. QuPath counts from the corner of the scanned bounds, so these are added to GeoJSON;
        and regions that all lie beside the slide are an error

    Raises
    ------
    AnnotationError
        If the file cannot be read, is none of these, holds no polygon, or lies beside the slide.
    """
    path = Path(path)
    data = _content(path)
    from_corner, left_out = False, 0
    if data.lstrip()[:1] == b"<":
        regions, left_out = asap_regions(path, data)
    elif is_ncrf(decoded := _json(path, data)):
        regions = ncrf_regions(path, decoded)
    else:
        (regions, left_out), from_corner = geojson_regions(path, decoded), True
    if not regions:
        raise AnnotationError(path, "holds no polygon; points and lines mark no area", _REMEDY)
    if slide is not None:
        regions = _placed(path, regions, slide, from_corner)
    return Regions(tuple(regions), left_out)


def _placed(path: Path, regions: list[Region], slide: Frame, from_corner: bool) -> list[Region]:
    """Bring regions to level-0 px of the whole slide, and check that they lie on it."""
    dy, dx = slide.bounds_origin_yx_level0
    if from_corner and (dy or dx):
        regions = [replace(region, geometry=translate(region.geometry, dx, dy)) for region in regions]
    height, width = slide.shape_level0
    frame = shapely.box(0, 0, width, height)
    if not any(region.geometry.intersects(frame) for region in regions):
        x, y, _, _ = regions[0].geometry.bounds
        raise AnnotationError(
            path,
            f"all regions lie outside {slide.name} ({width} x {height} px; the first begins at x {x:.0f}, y {y:.0f})",
            "Was it drawn on another slide or level? Coordinates must be pixels of the finest level",
        )
    return regions


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).removeprefix(b"\xef\xbb\xbf")
    except (OSError, EOFError, zlib.error) as error:
        raise AnnotationError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})", _REMEDY) from error


def _json(path: Path, data: bytes) -> object:
    if not data.strip():
        raise AnnotationError(path, "is empty", _REMEDY)
    try:
        return json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(path, f"is neither JSON nor XML ({str(error)[:100]})", _REMEDY) from error
