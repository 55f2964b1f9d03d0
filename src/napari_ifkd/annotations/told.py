"""The provenance inside a file of ours, read back."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import tifffile
import zarr

from napari_ifkd.annotations.zarr_labels import is_zarr_group
from napari_ifkd.errors import AnnotationError, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.slides import Slide

KEY = "napari_ifkd"
_HEAD = 2**22  # bytes in which the provenance of a text file lies, which stands at its beginning
_SIDECAR = ".provenance.json"


def provenance_in(path: str | Path) -> dict[str, Any] | None:
    """Return the provenance of a mask or map: from inside the file, else from the sidecar that names it.

    Parameters
    ----------
    path : a file or folder that this program wrote

    Returns
    -------
    The provenance, JSON-ready; None if it has none

    Raises
    ------
    ExportError
        If it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(path, "does not exist", "Give a slide, or a file that this program wrote")
    try:
        inside = _inside(path)
    except PermissionError as error:
        raise ExportError(path, f"cannot be read ({error.strerror})", "Give another file, or let yourself read it") from error
    except Exception:  # noqa: BLE001 - decoders raise many kinds for a foreign or broken file: it tells nothing of ours
        inside = None
    return inside if inside is not None else _beside(path)


def check_slide(path: str | Path, slide: Slide) -> None:
    """Refuse a file of ours that was made of another slide: its outlines would lie somewhere.

    Raises
    ------
    AnnotationError
        If it says so. Files of other programs do not say; that a file is missing, its reader says.
    """
    if not Path(path).exists():
        return
    told = (provenance_in(path) or {}).get("slide")
    if isinstance(told, dict) and told.get("quick_hash") not in (None, slide.quick_hash):
        raise AnnotationError(path, f"was made of another slide ({told.get('name')}; this one is {slide.name})", "Open that slide first")


def _inside(path: Path) -> dict[str, Any] | None:
    if path.is_dir():
        return _of_zarr(path) if is_zarr_group(path) else None
    name = path.name.lower()
    if name.endswith(_SIDECAR):
        return _checked(json.loads(path.read_text(encoding="utf-8")))
    read = next((read for end, read in _READERS.items() if name.endswith(end)), None)
    return None if read is None else read(path)


def _of_geojson(path: Path) -> dict[str, Any] | None:
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        return _first(r'"napari_ifkd":\s*', file.read(_HEAD).decode("utf-8", "ignore"))


def _of_xml(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as file:
        return _first(r"<!-- napari_ifkd ", file.read(_HEAD).decode("utf-8", "ignore"))


def _first(before: str, text: str) -> dict[str, Any] | None:
    found = re.search(before, text)
    return None if found is None else _checked(json.JSONDecoder().raw_decode(text, found.end())[0])


def _of_tiff(path: Path) -> dict[str, Any] | None:
    with tifffile.TiffFile(path) as tiff:
        said = tiff.ome_metadata if tiff.is_ome else None
    if not said:
        return None
    text = next((each.text for each in ElementTree.fromstring(said).iter() if each.tag.endswith("}Description")), None) or ""
    return _first(r"(?m)^(?=\{)", text)


def _of_picture(path: Path) -> dict[str, Any] | None:
    from PIL import Image

    with Image.open(path) as image:
        text = image.info.get(KEY)
    return _checked(json.loads(text)) if text else None


def _of_parquet(path: Path) -> dict[str, Any] | None:
    import pyarrow.parquet as pq

    text = (pq.read_schema(path).metadata or {}).get(KEY.encode())
    return _checked(json.loads(text)) if text else None


def _of_zarr(path: Path) -> dict[str, Any] | None:
    found = zarr.open(path, mode="r").attrs.asdict().get(KEY)
    return _checked(found)


def _beside(path: Path) -> dict[str, Any] | None:
    """Return what the sidecar says that names a file."""
    for sidecar in sorted(path.absolute().parent.glob(f"*{_SIDECAR}")):
        try:
            facts = json.loads(sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and path.name in facts.get("files", ()):
            return _checked(facts)
    return None


def _checked(facts: Any) -> dict[str, Any] | None:
    return facts if isinstance(facts, dict) and facts else None


_READERS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    ".geojson": _of_geojson,
    ".geojson.gz": _of_geojson,
    ".xml": _of_xml,
    ".tif": _of_tiff,
    ".tiff": _of_tiff,
    ".png": _of_picture,
    ".parquet": _of_parquet,
}
