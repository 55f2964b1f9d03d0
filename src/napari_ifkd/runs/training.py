"""``train``: a teacher from patch folders, and from slides on which rough regions were drawn, as a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.bags import join_bags, read_patch_masks, read_patches, slide_bags, split_groups
from napari_ifkd.distill import train_teacher
from napari_ifkd.distill.training import param_groups
from napari_ifkd.errors import BagError
from napari_ifkd.events import EpochDone, Event, RoundDone, RunDone, Warned
from napari_ifkd.inference import chance_warning
from napari_ifkd.models import ModelCard, build_model, cam_network_config, pick_device, save_model, seed_everything
from napari_ifkd.slides import find_tissue

from . import traps
from .drive import drive
from .folder import RunFolder
from .inputs import absolute, check_same_slides, opened_slides, sorted_data, told_mpp, told_paths
from .regions import keep_exclusions, read_run_regions
from .stop import never
from .threads import use_threads
from .told import epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config, Stage1Config
    from napari_ifkd.models import MILModel
    from napari_ifkd.slides import Slide

    from .inputs import MppGiven
    from .regions import RunRegions

_ENOUGH = 6  # images kept aside, of both kinds, to tell a guesser by


def train_run(
    data: Sequence[str | Path],
    out: str | Path,
    config: Config,
    *,
    regions: Sequence[str | Path] = (),
    exclude: Sequence[str | Path] = (),
    mpp: MppGiven = None,
    should_stop: Callable[[], bool] = never,
) -> Generator[Event, None, None]:
    """Train a teacher, in a run folder; the same call again goes on where it stopped.

    Parameters
    ----------
    data : patch folders, in either layout, and slides. Image-level labels are all that is read of a patch folder, except by
        ``stage1.method: supervised``, which opens the masks of the training split
    out : new or empty folder, or that of the same run
    config : settings; ``network``, ``stage1`` and ``tiles`` matter
    regions : GeoJSON or ASAP XML of rough regions, called like their slide: a tile mostly inside one of tumour is a positive bag, one
        wholly inside one of normal tissue a negative bag, and all others are left out
    exclude : files called like their slide, or folders of such, of which all regions are left out; see :mod:`napari_ifkd.runs.regions`
    mpp : um/px of the finest level, for slides that do not say it; of all, or by file name
    should_stop : asked at least once a second

    Yields
    ------
    Event
        The last is RunDone, or RunCancelled.

    Raises
    ------
    InputError
        If the patches, the slides, their regions, the settings or the folder will not do.
    EngineError
        If the work fails.
    """
    pick_device(config.device)  # there, before a folder is made for a run that could not begin
    folders, files = sorted_data(data)
    supervised = config.stage1.method == "supervised"
    if supervised and (files or len(folders) != 1):
        raise BagError("DATA", "is not one patch folder, and only of such has the method supervised masks", "Give one, or another method")
    with opened_slides(files, mpp) as slides:
        drawn = read_run_regions(RunFolder(out), slides, regions, exclude)
        for slide in slides:
            if slide.name not in drawn.weak:
                raise BagError(
                    slide.name, "has no regions, so nothing tells where there is tumour", "Draw some, and give them by --regions"
                )
        patches = [read_patches(folder, config.tiles) for folder in folders]
        ready = None if slides else _split(join_bags(patches), config)
        masks = _masks_of(folders[0], ready[0]) if supervised and ready is not None else None
        network = cam_network_config(config.network) if config.stage1.method in ("cam", "oaa") else config.network
        model = build_model(network, config.seed)
        param_groups(model, config.stage1.learning_rate, config.stage1.side_rates)  # do they fit? now, and not in the run
        folder = RunFolder.create(
            out,
            "train",
            config,
            {"data": [absolute(d) for d in data], "mpp": told_mpp(mpp, data), **told_paths(regions=regions, exclude=exclude)},
            slides=[slide.identity() for slide in slides],
        )
        check_same_slides(folder, slides)
        if not folder.journal.size():
            keep_exclusions(folder, slides, drawn.exclusions)

        def work(stop: Callable[[], bool]) -> Generator[Event, None, None]:
            if not folder.model_path(0).is_file():
                if ready is None:
                    tiles = yield from _tiles(slides, drawn, config)
                    bags = join_bags([*patches, *tiles])
                    train, held = _split(bags, config)
                    between = len(bags) - len(train) - len(held)
                else:
                    (train, held), between = ready, 0
                learned_from = () if patches else tuple(slide.quick_hash for slide in slides)
                yield from _train(folder, model, train, held, between, masks, config, learned_from, stop)
            yield RoundDone(0, None, folder.metrics(0))
            yield RunDone(0, "the teacher, as it is after its last epoch")

        yield from drive(folder, "train", work, should_stop)


def _tiles(slides: Sequence[Slide], drawn: RunRegions, config: Config) -> Generator[Event, None, list[Bags]]:
    """Cut the tiles that the regions of slides label."""
    parts = []
    for slide in slides:
        weak, exclusion = drawn.weak[slide.name], drawn.exclusions.get(slide.name)
        part, notes = yield from slide_bags(slide, find_tissue(slide), None, config.tiles, config.seed, weak, exclusion)
        for note in notes:
            yield Warned(note)
        parts.append(part)
    return parts


def _split(bags: Bags, config: Config) -> tuple[Bags, Bags]:
    """Hold some bags out; of a few tiles of one slide none, rather than a class that is needed."""
    everything = bags, bags.subset(np.zeros(0, np.intp))
    tiles = bags.origins is not None
    try:
        train, held = split_groups(bags, config.tiles.validation_share, config.seed)
    except BagError:
        if tiles:
            return everything
        raise
    if tiles and len(np.unique(bags.labels[train])) < len(np.unique(bags.labels)):
        return everything
    return bags.subset(train), bags.subset(held)


def _train(
    folder: RunFolder,
    model: MILModel,
    train: Bags,
    held: Bags,
    between: int,
    masks: NDArray[np.bool_] | None,
    config: Config,
    learned_from: tuple[str, ...],
    should_stop: Callable[[], bool],
) -> Generator[Event, None, None]:
    use_threads(config.threads)
    seed_everything(config.seed)
    if not len(held):
        yield Warned("No group could be held out, so nothing tells how the teacher does on images it has not seen.")
    if masks is not None:
        yield Warned("Method supervised learns from pixel masks: it shows what the network could do at best, and is no weak supervision.")
    for note in traps.of_network(model):
        yield Warned(note)
    state = folder.load_checkpoint()
    yield from epoch_of(state, config.stage1.epochs)
    events = train_teacher(train, held, model, config, masks=masks, should_stop=should_stop, state=state, on_epoch=folder.save_checkpoint)
    scores: dict[str, float] = dict(state.get("scores", {})) if state is not None else {}
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            model = end.value
            break
        if isinstance(event, EpochDone):
            scores = event.scores
        yield event
    kind = "patches" if train.origins is None else "tiles"
    aside = f"; {len(held)} more were kept aside to check it{_checked(scores)}" if len(held) else ""
    if between:
        aside += f"; {between} between these and those were left out"
    labels = "image-level labels only" if masks is None else "pixel masks (fully supervised)"
    card = ModelCard(
        name=folder.path.resolve().name,
        network=model.config or config.network,
        mpp=train.mpp,
        tile_px=int(train.images.shape[1]),
        normalisation=model.normalisation,
        trained_on=f"{train.source}: {train.positives} positive and {train.negatives} negative {kind}, {labels}{aside}",
        learned_from=learned_from,
        told_apart=scores.get("bag_auc") if len(held) >= _ENOUGH else None,
        called_rightly=scores.get("bag_accuracy") if len(held) >= _ENOUGH else None,
        notes=f"{_recipe(config.stage1)}, {config.stage1.epochs} epochs, seed {config.seed}",
    )
    if (warning := chance_warning(card)) is not None:
        yield Warned(warning)
    folder.write_metrics(0, scores)  # first: a round counts as there once its network is
    save_model(folder.model_path(0), model, card)


def _masks_of(patches: str | Path, train: Bags) -> NDArray[np.bool_]:
    """Read the masks of the training bags, ``(N, H, W)``; those of the validation bags stay closed."""
    masks = read_patch_masks(patches, only=frozenset(train.names))
    return np.stack([masks[name] for name in train.names])


def _checked(scores: Mapping[str, float]) -> str:
    return f" ({scores['bag_accuracy']:.0%} told apart rightly)" if "bag_accuracy" in scores else ""


def _recipe(stage1: Stage1Config) -> str:
    match stage1.method:
        case "mil":
            return f"stage-1 loss {stage1.loss}"
        case "supervised":
            return "fully supervised: cross-entropy and Dice to pixel masks"
        case "cam":
            return f"class activation maps at scales {', '.join(f'{scale:g}' for scale in stage1.cam.scales)}"
        case "oaa":
            return f"class activation maps accumulated over {stage1.cam.snapshots} epochs"
