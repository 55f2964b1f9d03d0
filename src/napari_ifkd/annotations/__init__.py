"""Regions and masks in: GeoJSON, ASAP's XML, NCRF's JSON, and label images."""

from .masks import Mask, read_mask
from .raster import rasterize
from .region import Region
from .regions import Regions, negative, positive, read_regions

__all__ = ["Mask", "Region", "Regions", "negative", "positive", "rasterize", "read_mask", "read_regions"]
