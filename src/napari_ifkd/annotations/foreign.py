"""JSON of programs that are known by name but not read: so that the refusal tells why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

_REMEDY = "Export the annotations from there as GeoJSON, in pixels of the finest level"


def refuse_foreign(path: Path, data: Any) -> None:
    """Refuse what another program wrote in a format of its own.

    Parameters
    ----------
    path : the file, for the message
    data : decoded JSON

    Raises
    ------
    AnnotationError
        If it is V7 Darwin's, Cytomine's or Sectra's.
    """
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return
    if "darwin" in str(first.get("schema_ref", "")):
        raise AnnotationError(path, "is V7 Darwin's own JSON, which is not read", _REMEDY)
    if isinstance(first.get("annotation"), dict) and "cytomine" in str(first["annotation"].get("class", "")):
        raise AnnotationError(path, "is Cytomine's own JSON, whose rows count from below, and is not read", _REMEDY)
    if "slideId" in first and isinstance(first.get("content"), list):
        raise AnnotationError(path, "is Sectra's own JSON, which gives shares of a picture and no pixels, and is not read", _REMEDY)
