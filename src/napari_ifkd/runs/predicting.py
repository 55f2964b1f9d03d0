"""``predict``: the probability map of each slide, as a run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_ifkd.events import Event, MapReady, RunDone
from napari_ifkd.files import durable
from napari_ifkd.inference import predict_map
from napari_ifkd.inference.standing import forget_standing
from napari_ifkd.models import load_model, pick_device

from .drive import drive
from .folder import RunFolder
from .inputs import absolute, absolute_ref, check_same_slides, opened_slides, told_mpp, told_paths
from .regions import exclusions_of, keep_exclusions, read_run_regions
from .resolve import resolve_start
from .stop import never
from .threads import use_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, ModelCard
    from napari_ifkd.slides import Slide

    from .inputs import MppGiven
    from .regions import RunRegions
    from .resolve import Resolved


def predict_run(
    slides: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    config: Config,
    *,
    mpp: MppGiven = None,
    region: str | Path | None = None,
    exclude: Sequence[str | Path] = (),
    should_stop: Callable[[], bool] = never,
) -> Generator[Event, None, None]:
    """Make the map of each slide, in a run folder; the same call again makes those that are missing.

    Parameters
    ----------
    slides : paths
    model : run, weights file or name
    out : new or empty folder, or that of the same run
    config : settings; ``inference`` matters
    mpp : um/px of the finest level, for slides that do not say it; of all, or by file name
    region : GeoJSON or ASAP XML; outside its regions, and inside those classified as exclusion, nothing is predicted
    exclude : files called like their slide, or folders of such, of which all regions are left out; see :mod:`napari_ifkd.runs.regions`
    should_stop : asked at least once a second

    Yields
    ------
    Event
        The last is RunDone, or RunCancelled.

    Raises
    ------
    InputError
        If a slide, the model, the region, the settings or the folder will not do.
    EngineError
        If the work fails.
    """
    with opened_slides(slides, mpp) as opened:
        resolved = resolve_start(out, model)
        run = RunFolder(out)
        regions = read_run_regions(run, opened, [] if region is None else [region], exclude, option="--region")
        pick_device(config.device)
        folder = RunFolder.create(
            out,
            "predict",
            config,
            {
                "slides": [absolute(s) for s in slides],
                "model": absolute_ref(model),
                "mpp": told_mpp(mpp, slides),
                "region": absolute(region),
                **told_paths(exclude=exclude),
            },
            slides=[slide.identity() for slide in opened],
            model=model_facts(resolved),
        )
        check_same_slides(folder, opened)
        if not folder.journal.size():
            keep_exclusions(folder, opened, regions.exclusions)
        yield from drive(folder, "predict", lambda stop: _predict(folder, opened, resolved, config, regions, stop), should_stop)


def _predict(
    folder: RunFolder, slides: list[Slide], resolved: Resolved, config: Config, regions: RunRegions, should_stop: Callable[[], bool]
) -> Generator[Event, None, None]:
    use_threads(config.threads)
    keep_teacher(folder, resolved)
    model, card = load_model(folder.model_path(0))
    for slide in slides:
        region = regions.weak[slide.name].inside if slide.name in regions.weak else None
        yield from map_slide(folder, 0, slide, model, card, config, should_stop, region=region)
    yield RunDone(0, f"{len(slides)} map{'s' if len(slides) != 1 else ''} by {resolved.label}")


def map_slide(
    folder: RunFolder,
    index: int,
    slide: Slide,
    model: MILModel,
    card: ModelCard,
    config: Config,
    should_stop: Callable[[], bool],
    *,
    region: BaseGeometry | None = None,
    stage: str = "map",
    made: Sequence[Path] = (),
) -> Generator[Event, None, None]:
    """Make the map of a slide in a round, unless it is there; say so when it is. What the run excludes is not looked at.

    Parameters
    ----------
    folder : the run
    index : of the round
    slide, model, card, config : as for :func:`napari_ifkd.inference.predict_map`
    should_stop : asked at least once a second
    region : where to predict, (x, y) in level-0 px; None is everywhere
    stage : what its progress is called
    made : maps of other runs: one that would come out the same is copied
    """
    wanted = None if region is None or region.is_empty else region
    exclusion = exclusions_of(folder, [slide]).get(slide.name)
    yield from keep_map(
        folder,
        index,
        slide,
        lambda path: predict_map(
            slide,
            model,
            card,
            path,
            config,
            region=wanted,
            exclusion=exclusion,
            should_stop=should_stop,
            stage=stage,
            keep=True,
            made=made,
        ),
    )


def keep_map(
    folder: RunFolder, index: int, slide: Slide, make: Callable[[Path], Generator[Event, None, object]]
) -> Generator[Event, None, None]:
    """Make the map of a slide in a round by whatever means, unless it is there; say so when it is.

    Parameters
    ----------
    folder : the run
    index : of the round
    slide : the slide
    make : given where the map is to lie, makes it there, whole or not at all; maps in the making lie aside
    """
    path = folder.map_path(index, slide.path)
    if slide.name not in folder.maps(index):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield from make(path)
    else:
        forget_standing(path)  # of a process that was killed the instant its map was complete
    yield MapReady(index, slide.name, path.relative_to(folder.path).as_posix())


def keep_teacher(folder: RunFolder, resolved: Resolved) -> None:
    """Copy the network a run starts from into it, so that the run can be taken elsewhere and resumed when the original is gone."""
    target = folder.model_path(0)
    if target.is_file():
        return
    with durable(target) as aside:
        shutil.copyfile(resolved.path, aside)


def model_facts(resolved: Resolved) -> dict[str, str]:
    """Return what run.yaml says of the network."""
    return {"name": resolved.label, "weights_sha256": resolved.card.weights_sha256}
