"""The commands that score and hand out what was made: evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from napari_ifkd.config import load_config
from napari_ifkd.errors import InputError

from .options import AsJson, ConfigFile, Device, Mpp


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
) -> None:
    """Write the mask of a run's round, or of a map, for other programs."""
    from napari_ifkd.console import bar, say
    from napari_ifkd.export import ExportOptions, export_run

    names = [name.strip() for name in formats.split(",") if name.strip()]
    options = ExportOptions(min_area, simplify, mpp, cast("Any", ome_zarr))  # it checks what it is given
    with bar("export") as progress:
        written = export_run(source, names, out, round=round_, threshold=threshold, options=options, slides=slide or (), progress=progress)
    for path in written:
        say(str(path))
