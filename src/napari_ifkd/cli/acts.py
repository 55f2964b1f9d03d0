"""The commands that make something: demo, patches, train, predict, distill."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_ifkd.config import Config, Method, Mode, NetworkName, Structure, load_config
from napari_ifkd.errors import Cancelled

from .follow import follow
from .options import ConfigFile, Device, Epochs, Exclude, GroupColumn, Mpps, Out, Seed, resolutions


def demo(
    out: Annotated[Path, typer.Option("--out", help="folder for everything the demo makes")] = Path("napari-ifkd-demo"),
    window: Annotated[bool, typer.Option("--window/--no-window", help="show the result in napari afterwards")] = True,
    device: Device = None,
) -> None:
    """Do the whole workflow on the built-in phantom slide with the built-in teacher."""
    from napari_ifkd.console import note, say, say_table
    from napari_ifkd.demo import display_missing, run_demo, summary_rows

    why_not = display_missing() if window else None
    follow(lambda stop: run_demo(out, Config().replaced(device=device), should_stop=stop))
    say_table(*summary_rows(out))
    say(f"Everything is in {out}: comparison.png, summary.json, masks/, run/, slide/")
    if not window:
        return
    if why_not is not None:
        note(f"No window: {why_not}.")
        return
    import subprocess

    if subprocess.run([sys.executable, "-m", "napari_ifkd._plugin", str(out)], check=False).returncode:
        note("The window could not be kept open; all results are in the folder.")


def patches(
    out: Annotated[Path, typer.Option("--out", help="new folder for the patches", metavar="PATCHES")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SLIDE|FOLDER...", help="annotated slides; folders of pictures with masks", show_default=False),
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            help="GeoJSON, ASAP XML, NCRF JSON or label image called like its slide, or a folder of such; again for more",
            metavar="FILE|FOLDER",
        ),
    ] = None,
    normal: Annotated[
        list[Path] | None, typer.Option(help="slide without tumour, or a folder of such; again for more", metavar="SLIDE|FOLDER")
    ] = None,
    size: Annotated[int | None, typer.Option(help="side of a patch, px at tiles.mpp")] = None,
    max_tiles: Annotated[int | None, typer.Option(help="patches of one slide at most")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="regular expression that finds the patient in a file's name; default the slide", metavar="REGEX")
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="um/px of the finest level, for slides and pictures that do not say it")] = None,
    config: ConfigFile = None,
    seed: Seed = None,
) -> None:
    """Make labelled patches, for `train`, of slides or pictures on which the tumour was drawn."""
    from napari_ifkd.bags.recipe import make_patches, patch_counts
    from napari_ifkd.console import note, say, say_table

    settings = load_config(config).replaced(**{"tiles.size_px": size, "tiles.max_tiles": max_tiles, "seed": seed})
    marks, without = annotations or [], normal or []
    try:
        follow(
            lambda stop: make_patches(
                sources or [], out, settings, annotations=marks, normal=without, mpp=mpp, group_by=group_by, should_stop=stop
            )
        )
    except Cancelled:
        note("cancelled; nothing was written")
        raise
    counts = patch_counts(out)
    say_table(("group", "positive", "negative"), ((group, *both) for group, both in counts.items()))
    positive, negative = (sum(both[k] for both in counts.values()) for k in (0, 1))
    say(f"{positive} positive and {negative} negative patches in {len(counts)} group{'s' * (len(counts) != 1)}: {out}")


def train(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="patch folders, and slides with --regions")],
    out: Out,
    regions: Annotated[
        list[Path] | None,
        typer.Option(
            help="rough regions (tumour, no tumour), GeoJSON or ASAP XML called like their slide, or folders of such; again for more",
            metavar="FILE|FOLDER",
        ),
    ] = None,
    exclude: Exclude = None,
    mpp: Mpps = None,
    model: Annotated[NetworkName | None, typer.Option(help="network to train")] = None,
    method: Annotated[Method | None, typer.Option(help="how it learns; supervised, for comparison only, opens the masks")] = None,
    config: ConfigFile = None,
    epochs: Epochs = None,
    group_column: GroupColumn = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Train a teacher from image-level labels only (masks are not looked at, except by --method supervised)."""
    from napari_ifkd.runs.acts import train_run

    settings = load_config(config).replaced(
        **{
            "network.name": model,
            "stage1.method": method,
            "stage1.epochs": epochs,
            "tiles.group_column": group_column,
            "seed": seed,
            "device": device,
        }
    )
    drawn, without = regions or (), exclude or ()
    told = resolutions(mpp)
    follow(lambda stop: train_run(data, out, settings, regions=drawn, exclude=without, mpp=told, should_stop=stop))


def predict(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE...")],
    model: Annotated[str, typer.Option(help="RUN, weights FILE, or NAME (see `models`)")],
    out: Out,
    mpp: Mpps = None,
    region: Annotated[Path | None, typer.Option(help="GeoJSON or ASAP XML; predict inside its regions only")] = None,
    exclude: Exclude = None,
    config: ConfigFile = None,
    device: Device = None,
) -> None:
    """Make the probability map of each slide."""
    from napari_ifkd.runs.acts import predict_run

    settings = load_config(config).replaced(device=device)
    without = exclude or ()
    told = resolutions(mpp)
    follow(lambda stop: predict_run(slides, model, out, settings, mpp=told, region=region, exclude=without, should_stop=stop))


def distill(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="patch folders and/or slides")],
    teacher: Annotated[
        str, typer.Option(help="RUN, weights FILE, or NAME (see `models`); or pseudo-masks: a map, an image, regions, a folder")
    ],
    out: Out,
    rounds: Annotated[int | None, typer.Option(help="teacher-student rounds at most")] = None,
    epochs: Annotated[int | None, typer.Option(help="epochs in a round")] = None,
    mode: Annotated[Mode | None, typer.Option(help="loss and choice of a round")] = None,
    structure: Annotated[Structure | None, typer.Option(help="which outputs teach which")] = None,
    student: Annotated[NetworkName | None, typer.Option(help="student network; default the teacher's kind")] = None,
    truth: Annotated[Path | None, typer.Option(help="mask of the one slide, to score each round; never used to choose")] = None,
    regions: Annotated[
        list[Path] | None,
        typer.Option(
            help="weak regions (tumour, normal, exclusion): GeoJSON or ASAP XML called like the slide, or folders; again for more",
            metavar="FILE|FOLDER",
        ),
    ] = None,
    exclude: Exclude = None,
    points: Annotated[Path | None, typer.Option(help="CSV of answered points on the slides: ten or more decide which round")] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="mask, regions or patch folder with masks that choose round and threshold at the end; again for more",
            metavar="MASK|REGIONS|PATCHES",
        ),
    ] = None,
    judged: Annotated[
        list[Path] | None,
        typer.Option(
            help="another run, whose corrections and answered points go on in this one, and its map by the same teacher; again for more",
            metavar="RUN",
        ),
    ] = None,
    area_prior: Annotated[float | None, typer.Option(help="known mean tumour share of positive bags, 0 to 1")] = None,
    mpp: Mpps = None,
    group_column: GroupColumn = None,
    config: ConfigFile = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Improve a teacher on your data by rounds of fusion-knowledge distillation."""
    from napari_ifkd.runs.acts import distill_run

    settings = load_config(config).replaced(
        **{
            "rounds.rounds": rounds,
            "rounds.epochs": epochs,
            "rounds.mode": mode,
            "rounds.structure": structure,
            "student.name": student,
            "acceptance.area_prior": area_prior,
            "tiles.group_column": group_column,
            "seed": seed,
            "device": device,
        }
    )
    marks, drawn, without, told = reference or (), regions or (), exclude or (), resolutions(mpp)
    follow(
        lambda stop: distill_run(
            data,
            teacher,
            out,
            settings,
            truth=truth,
            regions=drawn,
            exclude=without,
            points=points,
            reference=marks,
            judged=judged or (),
            mpp=told,
            should_stop=stop,
        )
    )
