"""The facts of a slide, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tissue import find_tissue

if TYPE_CHECKING:
    from .slide import Slide


def slide_info(slide: Slide) -> dict[str, Any]:
    """Describe a slide: size, levels, resolution, scanner, tissue. Nothing of the patient: neither free text nor label or macro content.

    Parameters
    ----------
    slide : Slide

    Raises
    ------
    SlideError
        If the slide cannot be read for its overview.
    """
    tissue = find_tissue(slide)
    levels = [
        {"shape": list(level.shape[:2]), "scale_yx": [round(s, 6) for s in scale], "stored": index < slide.stored_levels}
        for index, (level, scale) in enumerate(zip(slide.levels, slide.level_scales, strict=True))
    ]
    return {
        **slide.identity(),
        "width": slide.shape_level0[1],
        "height": slide.shape_level0[0],
        "mpp_note": slide.resolution_note or None,
        "objective": slide.objective,
        "vendor": slide.vendor,
        "levels": levels,
        "bounds_origin_yx_level0": list(slide.bounds_origin_yx_level0),
        "is_phantom": slide.is_phantom,
        "has_associated": slide.associated_names(),
        "tissue": {
            "found": tissue.found,
            "reason": tissue.reason,
            "area_mm2": tissue.area_mm2,
            "share": round(float(tissue.mask.mean()), 4),
        },
    }
