"""Masks out: GeoJSON, OME-TIFF, OME-Zarr, ASAP's XML, tables, pictures and DICOM, with their provenance."""

from .export import export_map, export_run
from .formats import FORMATS, check_formats
from .options import ExportOptions
from .outlines import Outline, OutlineTracer
from .writing import write_mask

__all__ = ["FORMATS", "ExportOptions", "Outline", "OutlineTracer", "check_formats", "export_map", "export_run", "write_mask"]
