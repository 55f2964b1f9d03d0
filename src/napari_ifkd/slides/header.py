"""Small facts from the header of a slide, each checked before it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .reading import stored_series

if TYPE_CHECKING:
    from tiffslide import TiffSlide

#: What the software tag or the description of a phantom slide says.
PHANTOM_MARK = "napari-ifkd phantom"
_KNOWN_ASSOCIATED = {"thumbnail", "label", "macro", "overview", "map"}


def positive(value: Any) -> float | None:
    """Return a property as a finite number above 0, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def whole(value: Any) -> int:
    """Return a property as a whole number, or 0."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def is_phantom(file: Any) -> bool:
    """Look for the mark in all software and description tags of the first page: tifffile may write several, or wrap one in OME-XML."""
    page = file.pages[0].aspage()
    tags = [tag.value for code in (270, 305) for tag in (page.tags.getall(code) or [])]
    return any(PHANTOM_MARK in (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)) for value in tags)


def associated_names(tiff: TiffSlide) -> list[str]:
    """Name the kinds of extra images in a file, sorted; their content is never read, for it may name a patient."""
    own = {id(series) for series in stored_series(tiff)}
    names = [str(series.name).lower() for series in tiff.ts_tifffile.series if id(series) not in own]
    # A series may be named by hand, so only the usual words are passed on.
    return sorted({name if name in _KNOWN_ASSOCIATED else "other" for name in names})
