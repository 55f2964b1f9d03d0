"""The command line: one command an act. Exit status 0 done, 2 wrong use or bad input, 1 a failure of ours, 130 cancelled."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from . import __version__
from .config import Config, Method, Mode, NetworkName, Structure, load_config
from .errors import Cancelled, InputError
from .events import Event, RunCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

# Only light imports above: every command imports the engine it needs, so that --help and a typing error answer at once.

app = typer.Typer(
    name="napari-ifkd",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment tumour in whole-slide images: a weakly supervised teacher, then rounds of fusion-knowledge distillation.",
    epilog="Before or after any command, --debug shows the traceback of an error.",
)

CANCELLED = 130

Out = Annotated[Path, typer.Option("--out", help="new folder of the run, or the run's own to go on with it", metavar="RUN")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win over it")]
Seed = Annotated[int | None, typer.Option(help="seed of every draw")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
Mpp = Annotated[float | None, typer.Option(help="um/px of the finest level, for slides that do not say it")]
Epochs = Annotated[int | None, typer.Option(help="training epochs")]
GroupColumn = Annotated[str | None, typer.Option(help="column of labels.csv that names patient, slide or ROI")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout and nothing else")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"napari-ifkd {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="folder for everything the demo makes")] = Path("napari-ifkd-demo"),
    window: Annotated[bool, typer.Option("--window/--no-window", help="show the result in napari afterwards")] = True,
    device: Device = None,
) -> None:
    """Do the whole workflow on the built-in phantom slide with the built-in teacher."""
    from .console import note, say, say_table
    from .demo import display_missing, run_demo, summary_rows

    why_not = display_missing() if window else None
    _follow(lambda stop: run_demo(out, Config().replaced(device=device), should_stop=stop))
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


@app.command()
def info(slide: Path, mpp: Mpp = None, as_json: AsJson = False) -> None:
    """Tell size, levels, resolution and tissue of a slide."""
    from .console import flat, say_json, say_table
    from .slides import open_slide, slide_info

    with open_slide(slide, mpp) as opened:
        facts = slide_info(opened)
    if as_json:
        say_json(facts)
    else:
        say_table(("fact", "value"), flat(facts))


@app.command()
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
    from .bags.recipe import make_patches, patch_counts
    from .console import note, say, say_table

    settings = load_config(config).replaced(**{"tiles.size_px": size, "tiles.max_tiles": max_tiles, "seed": seed})
    marks, without = annotations or [], normal or []
    try:
        _follow(
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


@app.command()
def train(
    patches: Path,
    out: Out,
    model: Annotated[NetworkName | None, typer.Option(help="network to train")] = None,
    method: Annotated[Method | None, typer.Option(help="how it learns; supervised, for comparison only, opens the masks")] = None,
    config: ConfigFile = None,
    epochs: Epochs = None,
    group_column: GroupColumn = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Train a teacher from image-level labels only (masks are not looked at, except by --method supervised)."""
    from .runs.acts import train_run

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
    _follow(lambda stop: train_run(patches, out, settings, should_stop=stop))


@app.command()
def predict(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE...")],
    model: Annotated[str, typer.Option(help="RUN, weights FILE, or NAME (see `models`)")],
    out: Out,
    mpp: Mpp = None,
    region: Annotated[Path | None, typer.Option(help="GeoJSON or ASAP XML; predict inside its regions only")] = None,
    config: ConfigFile = None,
    device: Device = None,
) -> None:
    """Make the probability map of each slide."""
    from .runs.acts import predict_run

    settings = load_config(config).replaced(device=device)
    _follow(lambda stop: predict_run(slides, model, out, settings, mpp=mpp, region=region, should_stop=stop))


@app.command()
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
    regions: Annotated[Path | None, typer.Option(help="GeoJSON or ASAP XML of weak regions (tumour, normal, exclusion)")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV of answered points on the slides: ten or more decide which round")] = None,
    area_prior: Annotated[float | None, typer.Option(help="known mean tumour share of positive bags, 0 to 1")] = None,
    mpp: Mpp = None,
    group_column: GroupColumn = None,
    config: ConfigFile = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Improve a teacher on your data by rounds of fusion-knowledge distillation."""
    from .runs.acts import distill_run

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
    _follow(lambda stop: distill_run(data, teacher, out, settings, truth=truth, regions=regions, points=points, mpp=mpp, should_stop=stop))


@app.command()
def resume(run: Path) -> None:
    """Go on with a run that was cancelled, failed or killed, from its last complete epoch."""
    from .runs.acts import resume_run

    _follow(lambda stop: resume_run(run, should_stop=stop))


@app.command()
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
    from .console import say_json, say_table

    if (model is None) != (patches is None) or (map_ is None) != (truth is None) or (model is None) == (map_ is None):
        raise InputError("evaluate", "needs either --model and --patches, or --map and --truth", "Give one of these pairs")
    if map_ is None and (slide is not None or mpp is not None):
        raise InputError("evaluate", "--slide and --mpp tell of the slide of a --map", "Leave them out, or set tiles.mpp for patches")
    settings = load_config(config).replaced(device=device)
    if model is not None and patches is not None:
        from .runs.evaluation import evaluate_model

        scores = evaluate_model(model, patches, settings)
    else:
        from .runs.evaluation import evaluate_map_of

        assert map_ is not None  # the pairs were checked
        assert truth is not None
        scores = evaluate_map_of(map_, truth, settings, slide, mpp)
    if as_json:
        say_json(scores)
    else:
        say_table(("measure", "value"), ((k, f"{v:.4f}" if isinstance(v, float) else v) for k, v in scores.items()))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|MAP")],
    out: Annotated[Path, typer.Option("--out", help="folder for the files")],
    formats: Annotated[str, typer.Option("--format", help="comma-separated: geojson, ome-tiff")] = "geojson",
    round_: Annotated[int | None, typer.Option("--round", help="round of the run; default the accepted one")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="probability from which a pixel is tumour")] = None,
) -> None:
    """Write the mask of a run's round, or of a map, for other programs."""
    from .console import say
    from .export import export_run

    names = [name.strip() for name in formats.split(",") if name.strip()]
    for path in export_run(source, names, out, round=round_, threshold=threshold):
        say(str(path))


@app.command()
def models() -> None:
    """List the networks that --model and --teacher know by name."""
    from .console import say_table
    from .models import list_models

    say_table(("name", "where", "what"), ((m.name, m.source, m.description) for m in list_models()))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what this installation has: versions, device, memory, disk, napari."""
    from .console import say_json, say_table
    from .doctor import examine

    facts = examine()
    if as_json:
        say_json(facts)
    else:
        say_table(("what", "found"), facts.items())


def _follow(make: Callable[[Callable[[], bool]], Generator[Event, None, None]]) -> None:
    """Drive a run in this process to its end, stopping on SIGINT and SIGTERM."""
    from .console import show
    from .runs.allocator import keep_freed_memory
    from .runs.stop import stop_on_signals

    keep_freed_memory()
    with stop_on_signals() as should_stop:
        last = show(make(should_stop))
    if isinstance(last, RunCancelled):
        raise Cancelled


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Parameters
    ----------
    argv : the words after the program's name; None takes them from the process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    sys.exit(_status([word for word in words if word != "--debug"], debug))


def _status(words: list[str], debug: bool) -> int:
    """Do what the words say; every error becomes one line on stderr and an exit status."""
    try:
        # not the app itself: it would put its own hook in place of Python's
        result: Any = get_command(app).main(args=words, prog_name="napari-ifkd", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        return CANCELLED
    except BrokenPipeError:  # as in `napari-ifkd info SLIDE | head -1`
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: a user sees one line, not a traceback
        from .console import tell_error

        return tell_error(error, debug)
