"""The formats there are: how they are called, how their files end, who writes them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_ifkd.errors import ExportError

from .asap import write_asap
from .dicom_seg import write_dicom_seg
from .geojson import write_geojson, write_geojson_gz
from .ome_tiff import write_ome_tiff
from .ome_zarr import write_ome_zarr
from .picture import write_picture
from .tables import write_lesions_csv, write_lesions_parquet, write_slide_csv, write_slide_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .mask import FinishedMask

    Write = Callable[[Path, FinishedMask], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Parameters
    ----------
    label : for people
    what : what it is for
    files : how its files end, and who writes each
    outlines : whether it is made of outlines
    folder : whether each file is a folder
    needs : package, and the extra it comes with, where a plain install has it not
    """

    label: str
    what: str
    files: tuple[tuple[str, Write], ...]
    outlines: bool = False
    folder: bool = False
    needs: tuple[str, str] | None = None


def _labels(path: Path, mask: FinishedMask) -> None:
    mask.image.build_levels()
    write_ome_tiff(path, mask.image.levels, mask.pixel_size_um_yx, mask.facts, mask.check)


def _probability(path: Path, mask: FinishedMask) -> None:
    levels = getattr(mask.source, "levels", None)
    if levels is None:
        raise ExportError("prob-ome-tiff", "needs a probability map, and these are labels", "Choose another format")
    facts = {**mask.facts, "values": "0 was not looked at, else 255 times the probability, at least 1"}
    channel = "probability x 255"
    write_ome_tiff(path, levels, mask.source.pixel_size_um_yx, facts, mask.check, what="tumour probability", channel=channel)


FORMATS: dict[str, Format] = {
    "geojson": Format(
        "GeoJSON", "Outlines for QuPath and others, in pixels of the slide's finest level", ((".geojson", write_geojson),), outlines=True
    ),
    "geojson.gz": Format(
        "GeoJSON .gz", "The same outlines, packed: several times smaller", ((".geojson.gz", write_geojson_gz),), outlines=True
    ),
    "ome-tiff": Format("OME-TIFF", "A pyramidal label image with its physical size", ((".ome.tif", _labels),)),
    "ome-zarr": Format(
        "OME-Zarr",
        "A pyramidal label image beside its probability map, for napari and others",
        ((".ome.zarr", write_ome_zarr),),
        folder=True,
    ),
    "asap": Format("ASAP XML", "Outlines for ASAP, holes as polygons of the group Exclusion", ((".xml", write_asap),), outlines=True),
    "csv": Format(
        "CSV tables",
        "Lesions with area, perimeter, probability and place; and the slide's areas",
        ((".lesions.csv", write_lesions_csv), (".slide.csv", write_slide_csv)),
        outlines=True,
    ),
    "parquet": Format(
        "Parquet tables",
        "The same tables, for pandas, R and others",
        ((".lesions.parquet", write_lesions_parquet), (".slide.parquet", write_slide_parquet)),
        outlines=True,
        needs=("pyarrow", "parquet"),
    ),
    "prob-ome-tiff": Format(
        "Probability", "The probability itself as OME-TIFF: 255 is 1, 0 was not looked at", ((".prob.ome.tif", _probability),)
    ),
    "png": Format("PNG picture", "A small picture of the slide with the mask over it", ((".png", write_picture),)),
    "dicom-seg": Format(
        "DICOM SEG",
        "A segmentation of a DICOM slide, one instance a level; needs the slide",
        ((".dcm.d", write_dicom_seg),),
        folder=True,
        needs=("highdicom", "dicom"),
    ),
}
"""Known formats, by the name they have on the command line."""
ENDINGS = {
    ".geojson.gz": "geojson.gz",
    ".geojson": "geojson",
    ".ome.tif": "ome-tiff",
    ".ome.tiff": "ome-tiff",
    ".ome.zarr": "ome-zarr",
    ".xml": "asap",
}
"""Format of a label image by its ending."""


def format_of(path: Path) -> str:
    """Return the format that the ending of a file to be written tells.

    Raises
    ------
    ExportError
        If it tells none.
    """
    name = next((name for end, name in ENDINGS.items() if path.name.lower().endswith(end)), None)
    if name is None:
        raise ExportError(path, "has an ending that tells no format", f"Give one of {', '.join(ENDINGS)}")
    return name


def check_formats(formats: Sequence[str]) -> list[str]:
    """Return the formats, each once, in the order given.

    Raises
    ------
    ExportError
        If one is unknown, or needs what is not installed, or there is none.
    """
    names = list(dict.fromkeys(name.strip().lower() for name in formats if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        cause = f"unknown: {', '.join(unknown)}" if unknown else "none was given"
        raise ExportError("format", cause, f"Known formats: {', '.join(FORMATS)}")
    for name in names:
        needs = FORMATS[name].needs
        if needs is not None and find_spec(needs[0]) is None:
            raise ExportError(name, f"needs {needs[0]}, which is not installed", f'Install it: pip install "napari-ifkd[{needs[1]}]"')
    return names
