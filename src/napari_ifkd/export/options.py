"""What can be chosen of an export, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from napari_ifkd.errors import ExportError

OmeZarrVersion = Literal["0.5", "0.4"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is written of a mask, and how.

    Parameters
    ----------
    min_area_um2 : smaller objects are left out of all formats, um2
    simplify_um : outlines may deviate so much, um; 0 keeps every pixel's edge
    mpp : resolution of label images, um/px; None is the map's
    ome_zarr : version of OME-Zarr
    """

    min_area_um2: float = 0.0
    simplify_um: float = 0.0
    mpp: float | None = None
    ome_zarr: OmeZarrVersion = "0.5"

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        ExportError
            If a number is negative, the resolution is none, or the version is not known.
        """
        for name, value in (("smallest area", self.min_area_um2), ("simplification", self.simplify_um)):
            if not 0 <= value < float("inf"):
                raise ExportError(f"{name} {value}", "is negative or no number", "Give 0 or more")
        if self.mpp is not None and not 0.01 <= self.mpp <= 1000:
            raise ExportError(f"resolution {self.mpp} um/px", "is not believable", "Give um/px from 0.01 to 1000, or leave it out")
        if self.ome_zarr not in get_args(OmeZarrVersion):
            raise ExportError(f"OME-Zarr {self.ome_zarr}", "is not written", f"Choose {' or '.join(get_args(OmeZarrVersion))}")
