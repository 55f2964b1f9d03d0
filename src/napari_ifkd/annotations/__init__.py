"""Regions and masks in: GeoJSON, ASAP's XML, NCRF's JSON, and label images; what a person painted and answered, in and out."""

from .corrections import Corrections
from .masks import Mask, read_mask
from .points import Point, points_on, read_points, write_points
from .raster import rasterize
from .region import Region
from .regions import Regions, negative, positive, read_regions

__all__ = [
    "Corrections",
    "Mask",
    "Point",
    "Region",
    "Regions",
    "negative",
    "points_on",
    "positive",
    "rasterize",
    "read_mask",
    "read_points",
    "read_regions",
    "write_points",
]
