"""The commands that score what was made, hand it out and take it back: evaluate, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from napari_ifkd.config import load_config
from napari_ifkd.errors import InputError

from .options import AsJson, ConfigFile, Device, Exclude, Mpp


def evaluate(
    model: Annotated[
        str | None, typer.Option(help="RUN, weights FILE, NAME, or folder of maps named as the patches; with --patches")
    ] = None,
    patches: Annotated[Path | None, typer.Option(help="patch folder with masks")] = None,
    map_: Annotated[
        Path | None, typer.Option("--map", help="map, RUN with one, label or probability image, or regions; with --truth")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="mask of the map's slide")] = None,
    slide: Annotated[Path | None, typer.Option(help="slide of a --map that is an image (for its resolution) or regions")] = None,
    mpp: Mpp = None,
    device: Device = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Score a model or maps on patches, or a map of a slide, against pixel truth."""
    from napari_ifkd.console import note, say_json, say_table

    if (model is None) != (patches is None) or (map_ is None) != (truth is None) or (model is None) == (map_ is None):
        raise InputError("evaluate", "needs either --model and --patches, or --map and --truth", "Give one of these pairs")
    if map_ is None and (slide is not None or mpp is not None):
        raise InputError("evaluate", "--slide and --mpp tell of the slide of a --map", "Leave them out, or set tiles.mpp for patches")
    settings = load_config(config).replaced(device=device)
    from napari_ifkd.runs.evaluation import evaluate_map_of, evaluate_model, flattering

    if model is not None and patches is not None:
        scores, warning = evaluate_model(model, patches, settings), flattering(model, patches)
    else:
        assert map_ is not None  # the pairs were checked
        assert truth is not None
        scores, warning = evaluate_map_of(map_, truth, settings, slide, mpp), flattering(map_, truth)
    if warning is not None:
        note(f"warning: {warning}", style="yellow")
    if as_json:
        say_json(scores)
    else:
        say_table(("measure", "value"), ((k, f"{v:.4f}" if isinstance(v, float) else v) for k, v in scores.items()))


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|MAP")],
    out: Annotated[Path, typer.Option("--out", help="folder for the files")],
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="comma-separated: geojson, geojson.gz, ome-tiff, ome-zarr, asap, csv, parquet, prob-ome-tiff, png, dicom-seg",
        ),
    ] = "geojson",
    round_: Annotated[int | None, typer.Option("--round", help="round of the run; default the accepted one")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="probability from which a pixel is tumour")] = None,
    min_area: Annotated[float, typer.Option(min=0, help="leave smaller objects out of all formats, um2")] = 0.0,
    simplify: Annotated[float, typer.Option(min=0, help="outlines may deviate so much, um; 0 keeps every pixel's edge")] = 0.0,
    mpp: Annotated[float | None, typer.Option(help="resolution of ome-tiff and ome-zarr, um/px; default the map's")] = None,
    ome_zarr: Annotated[str, typer.Option(help="version of OME-Zarr: 0.5 or 0.4")] = "0.5",
    slide: Annotated[
        list[Path] | None, typer.Option(help="the slide, for png, or the folder of its DICOM, for dicom-seg; again for more")
    ] = None,
    exclude: Exclude = None,
) -> None:
    """Write the mask of a run's round, or of a map, for other programs."""
    from napari_ifkd.console import bar, say
    from napari_ifkd.export import ExportOptions, export_run

    names = [name.strip() for name in formats.split(",") if name.strip()]
    options = ExportOptions(min_area, simplify, mpp, cast("Any", ome_zarr))  # it checks what it is given
    places, without = slide or (), exclude or ()
    with bar("export") as progress:
        written = export_run(
            source, names, out, round=round_, threshold=threshold, options=options, slides=places, exclude=without, progress=progress
        )
    for path in written:
        say(str(path))


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="GeoJSON, ASAP XML, NCRF JSON; label image as OME-TIFF, TIFF, OME-Zarr or PNG")
    ],
    slide: Annotated[Path, typer.Option(help="the slide it was drawn on")],
    out: Annotated[
        Path | None, typer.Option("--out", help="mask to write: .geojson, .geojson.gz, .ome.tif, .ome.zarr or .xml", metavar="MASK")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="run with a map of the slide: paint the file into its corrections", metavar="RUN")
    ] = None,
    tumour: Annotated[
        list[str] | None, typer.Option(help="class that means tumour, where it is not called so; again for more", metavar="CLASS")
    ] = None,
    rest_is_normal: Annotated[
        bool, typer.Option("--rest-is-normal", help="with --into: the file is the whole truth, all else the run looked at is normal")
    ] = False,
    resolution: Annotated[float | None, typer.Option(min=0.01, help="um/px on which regions are drawn; default tiles.mpp")] = None,
    mpp: Mpp = None,
) -> None:
    """Bring in what another program drew: as a mask (for --reference, --regions or --truth), or as corrections of a run."""
    from napari_ifkd.config import Config
    from napari_ifkd.console import bar, note, say
    from napari_ifkd.export.incoming import import_corrections, import_mask
    from napari_ifkd.runs.folder import RunFolder
    from napari_ifkd.slides import open_slide

    if (out is None) == (into is None):
        raise InputError("import", "needs either --out MASK or --into RUN", "Give one of them")
    if into is None and rest_is_normal:
        raise InputError("import", "--rest-is-normal tells of corrections", "Give --into RUN, or leave it out")
    named = tumour or []
    with open_slide(slide, mpp) as opened:
        if out is not None:
            written, notes = import_mask(file, opened, out, mpp=resolution or Config().tiles.mpp, tumour=named)
            told = [str(path) for path in written]
        else:
            assert into is not None  # one of them is given
            with bar("import") as progress:
                painted, notes = import_corrections(
                    file, opened, RunFolder.open(into), tumour=named, rest_is_normal=rest_is_normal, progress=progress
                )
            told = [f"{painted.area_mm2(2):.3f} mm2 tumour and {painted.area_mm2(1):.3f} mm2 normal in {painted.path}"]
    for line in notes:
        note(f"note: {line}")
    for line in told:
        say(line)
