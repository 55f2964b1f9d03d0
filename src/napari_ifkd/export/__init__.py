"""Masks out: GeoJSON and OME-TIFF, with their provenance."""

from .export import FORMATS, check_formats, export_map, export_run
from .outlines import Outline, OutlineTracer

__all__ = ["FORMATS", "Outline", "OutlineTracer", "check_formats", "export_map", "export_run"]
