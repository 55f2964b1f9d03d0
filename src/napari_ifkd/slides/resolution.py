"""Resolution of a slide: what the file says, whether to believe it, and the user's override."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from napari_ifkd.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: um/px of the finest level that a microscope slide can have; a 72-dpi tag would read as 352.8.
MPP_RANGE = (0.05, 20.0)
#: um/px; who says what differs by less says the same, for four digits are shown.
SAME_MPP = 5e-5
_MAX_ANISOTROPY = 1.1
_UNIT_UM = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25400.0, "Å": 1e-4, "pm": 1e-6}


@dataclass(frozen=True, slots=True)
class Resolution:
    """Resolution of level 0, um/px (mean of the axes), where it comes from, why there is none, and what the file says."""

    mpp: float | None
    source: Literal["file", "override"] | None
    why: str = ""
    of_file: float | None = None


def find_resolution(path: Path, properties: Mapping[str, Any], ome_xml: str | None, override: float | None) -> Resolution:
    """Settle the resolution of a slide; never guess.

    Parameters
    ----------
    path : of the slide, for errors
    properties : tiffslide's, of which ``tiffslide.mpp-x`` and ``-y`` are read
    ome_xml : OME metadata (tiffslide ignores its ``PhysicalSizeX``), or None
    override : the user's, um/px; goes before the file's, unless it is the same

    Raises
    ------
    SlideError
        If the override lies outside `MPP_RANGE`.
    """
    low, high = MPP_RANGE
    if override is not None:
        if not (math.isfinite(override) and low <= override <= high):
            raise SlideError(path, f"a resolution of {override:g} um/px cannot be right", f"Give one between {low:g} and {high:g} um/px")
        own = _of_file(properties, ome_xml)
        same = own.mpp is not None and abs(own.mpp - override) < SAME_MPP
        return own if same else Resolution(float(override), "override", of_file=own.mpp)
    return _of_file(properties, ome_xml)


def _of_file(properties: Mapping[str, Any], ome_xml: str | None) -> Resolution:
    low, high = MPP_RANGE
    axes = _ome(ome_xml) or _number(properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y"))
    if axes is None:
        return Resolution(None, None, "the file names none")
    if not all(low <= value <= high for value in axes):
        said = " x ".join(f"{value:.4g}" for value in dict.fromkeys(axes))
        return Resolution(None, None, f"the file says {said} um/px, outside {low:g} to {high:g}, which is not believed")
    if max(axes) / min(axes) > _MAX_ANISOTROPY:
        return Resolution(None, None, f"the file says {axes[0]:.4g} x {axes[1]:.4g} um/px, and its axes should not differ")
    return Resolution(sum(axes) / 2, "file", of_file=sum(axes) / 2)


def _number(x: Any, y: Any) -> tuple[float, float] | None:
    try:
        values = float(x), float(y)
    except (TypeError, ValueError, OverflowError):
        return None
    return values if all(math.isfinite(value) and value > 0 for value in values) else None


def _ome(xml: str | None) -> tuple[float, float] | None:
    """Read the physical pixel size of the first image of OME metadata, um."""
    if not xml or "<!DOCTYPE" in xml or "<!ENTITY" in xml:  # entities can blow up memory
        return None
    try:
        pixels = next((e for e in ElementTree.fromstring(xml).iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    except ElementTree.ParseError:
        return None
    if pixels is None:
        return None
    size = _number(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeY"))
    units = [_UNIT_UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"]
    if size is None or units[0] is None or units[1] is None:
        return None
    return size[0] * units[0], size[1] * units[1]
