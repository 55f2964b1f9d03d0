"""``train``: a teacher from a patch folder, as a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.bags import read_patch_masks, read_patches, split_groups
from napari_ifkd.distill import train_teacher
from napari_ifkd.distill.training import param_groups
from napari_ifkd.events import EpochDone, Event, RoundDone, RunDone, Warned
from napari_ifkd.models import ModelCard, build_model, cam_network_config, pick_device, save_model, seed_everything

from . import traps
from .drive import drive
from .folder import RunFolder
from .inputs import absolute
from .stop import never
from .threads import use_threads
from .told import epoch_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config, Stage1Config
    from napari_ifkd.models import MILModel


def train_run(
    patches: str | Path, out: str | Path, config: Config, *, should_stop: Callable[[], bool] = never
) -> Generator[Event, None, None]:
    """Train a teacher, in a run folder; the same call again goes on where it stopped.

    Parameters
    ----------
    patches : patch folder, in either layout. Image-level labels are all that is read of it, except by ``stage1.method: supervised``, which
        opens the masks of the training split
    out : new or empty folder, or that of the same run
    config : settings; ``network``, ``stage1`` and ``tiles`` matter
    should_stop : asked at least once a second

    Yields
    ------
    Event
        The last is RunDone, or RunCancelled.

    Raises
    ------
    InputError
        If the patches, the settings or the folder will not do.
    EngineError
        If the work fails.
    """
    pick_device(config.device)  # there, before a folder is made for a run that could not begin
    bags = read_patches(patches, config.tiles)
    parts = split_groups(bags, config.tiles.validation_share, config.seed)
    train, held = (bags.subset(part) for part in parts)
    masks = _masks_of(patches, train) if config.stage1.method == "supervised" else None
    network = cam_network_config(config.network) if config.stage1.method in ("cam", "oaa") else config.network
    model = build_model(network, config.seed)
    param_groups(model, config.stage1.learning_rate, config.stage1.side_rates)  # do they fit? now, and not in the run
    folder = RunFolder.create(out, "train", config, {"patches": absolute(patches)})

    def work(stop: Callable[[], bool]) -> Generator[Event, None, None]:
        if not folder.model_path(0).is_file():
            yield from _train(folder, model, train, held, masks, config, stop)
        yield RoundDone(0, None, folder.metrics(0))
        yield RunDone(0, "the network of the last epoch; it was not scored by pixels")

    yield from drive(folder, "train", work, should_stop)


def _train(
    folder: RunFolder,
    model: MILModel,
    train: Bags,
    held: Bags,
    masks: NDArray[np.bool_] | None,
    config: Config,
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
    labels = "image-level labels only" if masks is None else "pixel masks (fully supervised)"
    card = ModelCard(
        name=folder.path.resolve().name,
        network=model.config or config.network,
        mpp=train.mpp,
        tile_px=int(train.images.shape[1]),
        normalisation=model.normalisation,
        trained_on=f"{train.source}: {train.positives} positive and {train.negatives} negative patches, {labels}",
        notes=f"{_recipe(config.stage1)}, {config.stage1.epochs} epochs, seed {config.seed}; {len(held)} patches held out",
    )
    folder.write_metrics(0, scores)  # first: a round counts as there once its network is
    save_model(folder.model_path(0), model, card)


def _masks_of(patches: str | Path, train: Bags) -> NDArray[np.bool_]:
    """Read the masks of the training bags, ``(N, H, W)``; those of the validation bags stay closed."""
    masks = read_patch_masks(patches, only=frozenset(train.names))
    return np.stack([masks[name] for name in train.names])


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
