"""Where a mask comes from: enough to make it again, and nothing that names a folder or a person."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from napari_ifkd import __version__

if TYPE_CHECKING:
    from napari_ifkd.inference import ProbabilityMap

_PACKAGES = ("numpy", "opencv-python-headless", "scipy", "shapely", "tiffslide", "tifffile", "timm", "torch", "zarr")


def provenance_of(source: ProbabilityMap, *, threshold: float, sigma_px: float, **more: Any) -> dict[str, Any]:
    """Collect the provenance of a mask, JSON-ready.

    Parameters
    ----------
    source : the map it was cut from
    threshold, sigma_px : how
    **more : such as round, config, seed
    """
    facts: dict[str, Any] = {
        **made_now(),
        "slide": source.slide,
        "model": source.model,
        "threshold": threshold,
        "sigma_px": sigma_px,
        "mpp": source.mpp,
        "scale_yx": list(source.scale_yx),
        "pixel_size_um_yx": list(source.pixel_size_um_yx),
        "bounds_origin_yx_level0": list(source.bounds_origin_yx_level0),
        "prediction": {key: source.attributes.get(key) for key in ("created", "tile_px", "settings", "tissue", "region", "exclusion")},
        "warnings": source.warnings,
        **{key: value for key, value in more.items() if value is not None},
    }
    if facts["warnings"]:
        facts["warning"] = " ".join(facts["warnings"])
    if source.domain_warning:
        facts["out_of_domain"] = True
    return facts


def made_now() -> dict[str, Any]:
    """Return which program made a file, when, and with what."""
    return {
        "made_by": f"napari-ifkd {__version__}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions()},
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that a mask depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
