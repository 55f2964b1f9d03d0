"""A mask, or a probability map, as OME-TIFF: tiled, pyramidal, compressed, written tile by tile."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from .mask import NOT_VALID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

TILE = 512


def write_ome_tiff(
    path: Path,
    levels: Sequence[zarr.Array[Any]],
    pixel_size_um_yx: tuple[float, float],
    provenance: dict[str, Any],
    check: Callable[[int, int], None],
    *,
    what: str = "tumour mask",
    channel: str = "tumour",
) -> None:
    """Write one value a pixel, such as labels (1 is tumour), with the coarse levels as SubIFDs.

    Parameters
    ----------
    path : of the file
    levels : ``(y, x)`` unsigned integers, finest first
    pixel_size_um_yx : of the finest level, um
    provenance : goes into OME's Description, its ``warning`` first
    check : called with the tile rows done and in all; raises to stop
    what, channel : what the image and its one channel are called
    """
    warning = provenance.get("warning")
    description = (f"WARNING: {warning}\n" if warning else "") + json.dumps(provenance)
    slide = str(provenance.get("slide", {}).get("name", ""))
    metadata = {
        "axes": "YX",
        "UUID": str(uuid.uuid4()),  # tifffile's own would hold the network address of this machine
        "Name": f"{what} of {slide}" + (f" ({NOT_VALID})" if provenance.get("out_of_domain") else ""),
        "Description": description,
        "PhysicalSizeX": pixel_size_um_yx[1],
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": pixel_size_um_yx[0],
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [channel]},
    }
    total = sum(-(-level.shape[0] // TILE) for level in levels)
    done = 0

    def tiles(level: zarr.Array[Any]) -> Iterator[NDArray[np.unsignedinteger]]:
        nonlocal done
        for y in range(0, level.shape[0], TILE):
            check(done, total)
            band = np.asarray(level[y : y + TILE])
            band = np.pad(band, [(0, TILE - band.shape[0]), (0, -band.shape[1] % TILE)])
            for x in range(0, band.shape[1], TILE):
                yield np.ascontiguousarray(band[:, x : x + TILE])
            done += 1

    with tifffile.TiffWriter(path, ome=True, bigtiff=levels[0].size > 2**31) as file:
        for index, level in enumerate(levels):
            factor = 2**index
            file.write(
                tiles(level),
                shape=level.shape,
                dtype=level.dtype,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="zlib",
                subifds=len(levels) - 1 if index == 0 else 0,
                subfiletype=0 if index == 0 else 1,
                resolution=(1e4 / (pixel_size_um_yx[1] * factor), 1e4 / (pixel_size_um_yx[0] * factor)),
                resolutionunit="CENTIMETER",
                metadata=metadata if index == 0 else None,
            )
