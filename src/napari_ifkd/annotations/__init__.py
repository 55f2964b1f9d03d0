"""Regions and masks in: GeoJSON and label images."""

from .masks import Mask, read_mask
from .raster import rasterize
from .regions import Region, Regions, negative, positive, read_regions

__all__ = ["Mask", "Region", "Regions", "negative", "positive", "rasterize", "read_mask", "read_regions"]
