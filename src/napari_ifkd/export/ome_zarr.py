"""A mask as an OME-Zarr label image, beside the probability it was cut from.

Pixels go out band by band, so that memory is bounded and a cancelled export stops at once; metadata are written by the ome-zarr library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .mask import FinishedMask

NAME = "tumour"  # of the label image
_CHUNK = 512
_AXES: list[dict[str, str]] = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]


def write_ome_zarr(path: Path, mask: FinishedMask) -> None:
    """Write ``labels/tumour``, and as the image it belongs to the probability, in um.

    Parameters
    ----------
    path : an empty folder
    mask : with 0.4 or 0.5 among its options
    """
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_label_metadata

    fmt = FormatV04() if mask.options.ome_zarr == "0.4" else FormatV05()
    root = zarr.open_group(path, mode="w", zarr_format=fmt.zarr_format)
    mask.image.build_levels()
    probability = getattr(mask.source, "levels", None)
    if probability is not None:
        _write_levels(root, probability, mask.source.pixel_size_um_yx, "tumour probability", fmt, mask.check)
    labels = root.require_group("labels")
    image = labels.create_group(NAME)
    sides = zip(mask.corner_yx_level0, mask.source.pixel_size_um_yx, mask.source.scale_yx, strict=True)
    corner_um = tuple(corner * side / scale for corner, side, scale in sides)
    _write_levels(image, mask.image.levels, mask.pixel_size_um_yx, mask.name_of(min(mask.kinds)), fmt, mask.check, corner_um)
    more: dict[str, Any] = {} if probability is None else {"source": {"image": "../../"}}
    colours = [{"label-value": label, "rgba": [*kind.colour, 255]} for label, kind in mask.kinds.items()]
    properties = [{"label-value": label, "name": mask.name_of(label)} for label in mask.kinds]
    write_label_metadata(labels, NAME, colors=colours, properties=properties, fmt=fmt, **more)
    root.attrs["napari_ifkd"] = mask.facts


def _write_levels(
    group: zarr.Group,
    levels: Sequence[zarr.Array[Any]],
    pixel_size_um_yx: tuple[float, float],
    name: str,
    fmt: Any,
    check: Callable[[int, int], None],
    corner_um: tuple[float, ...] = (0.0, 0.0),
) -> None:
    from ome_zarr.writer import write_multiscales_metadata

    total = sum(-(-level.shape[0] // _CHUNK) for level in levels)
    done, datasets = 0, []
    for index, level in enumerate(levels):
        more: dict[str, Any] = {"dimension_names": ("y", "x")} if fmt.zarr_format == 3 else {}
        more["chunk_key_encoding"] = {"name": "default" if fmt.zarr_format == 3 else "v2", "separator": "/"}
        array = group.create_array(str(index), shape=level.shape, chunks=(_CHUNK, _CHUNK), dtype=level.dtype, fill_value=0, **more)
        for y in range(0, level.shape[0], _CHUNK):
            check(done, total)
            band = np.asarray(level[y : y + _CHUNK])
            if band.any():
                array[y : y + _CHUNK] = band
            done += 1
        shift = (2**index - 1) / 2  # OME-Zarr places the centres of pixels
        steps = [
            {"type": "scale", "scale": [side * 2**index for side in pixel_size_um_yx]},
            {"type": "translation", "translation": [at + side * shift for at, side in zip(corner_um, pixel_size_um_yx, strict=True)]},
        ]
        datasets.append({"path": str(index), "coordinateTransformations": steps})
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=_AXES, name=name)
