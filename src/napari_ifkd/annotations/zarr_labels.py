"""Label images in OME-Zarr 0.4 and 0.5, found by their metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_ifkd.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_REMEDY = "Give the folder of a label image: of OME-Zarr, or one inside its labels"
_OURS = "tumour"


class Plane:
    """The one plane of an array whose other axes have length 1, cut like a 2-D array.

    Parameters
    ----------
    array : ``(..., y, x)``
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._front: tuple[Any, ...] = (0,) * (array.ndim - 2)
        self.shape, self.dtype = array.shape[-2:], array.dtype

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        """Read a window."""
        return np.asarray(self._array[(*self._front, *window)])


def is_zarr_group(path: Path) -> bool:
    """Tell whether a folder is one of zarr's groups, of either version."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def holds_labels(path: Path) -> bool:
    """Tell whether a folder is an OME-Zarr label image, or an image that has some."""
    try:
        group = zarr.open_group(path, mode="r")
        return "labels" in group or "image-label" in _told(group)
    except Exception:  # noqa: BLE001 - zarr raises many kinds for a foreign or broken folder
        return False


def open_zarr_labels(path: Path) -> tuple[Plane, float | None]:
    """Open the label image of a folder, and return with it its um/px, None if it says nothing.

    Parameters
    ----------
    path : the label image, or the image it belongs to. Of several, the one called "tumour" is taken

    Raises
    ------
    AnnotationError
        If there is none, or it is not clear which is meant.
    """
    try:
        group = zarr.open_group(path, mode="r")
        if "image-label" not in _told(group) and "labels" in group:
            group = _chosen(path, group["labels"])
        told = _told(group)
        if "image-label" not in told:
            raise AnnotationError(path, "holds no label image", _REMEDY)
        scales = told["multiscales"][0]
        first = scales["datasets"][0]
        array = group[str(first["path"])]
        if not isinstance(array, zarr.Array) or array.ndim < 2 or any(n != 1 for n in array.shape[:-2]):
            raise AnnotationError(path, "is no single 2-D image", _REMEDY)
        return Plane(array), _mpp(scales, first)
    except AnnotationError:
        raise
    except Exception as error:  # zarr raises many kinds for a foreign or broken folder
        raise AnnotationError(path, f"cannot be read as OME-Zarr ({type(error).__name__}: {str(error)[:100]})", _REMEDY) from error


def _told(group: zarr.Group) -> dict[str, Any]:
    """Return OME's metadata: 0.5 has them in a member of their own."""
    attributes: dict[str, Any] = group.attrs.asdict()
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def _chosen(path: Path, labels: Any) -> zarr.Group:
    names = sorted(_told(labels).get("labels") or labels.group_keys())
    name = names[0] if len(names) == 1 else _OURS if _OURS in names else None
    if name is None:
        cause = f"holds several label images: {', '.join(names)}" if names else "holds no label image"
        raise AnnotationError(path, cause, "Give the folder of one of them" if names else _REMEDY)
    group = labels[name]
    assert isinstance(group, zarr.Group)  # or reading it fails as any other broken file
    return group


def _mpp(scales: dict[str, Any], dataset: dict[str, Any]) -> float | None:
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in scales.get("axes", ())][-2:]
    scale = next((step["scale"] for step in dataset.get("coordinateTransformations", ()) if step.get("type") == "scale"), None)
    return float(scale[-1]) if scale is not None and units == ["micrometer", "micrometer"] else None
