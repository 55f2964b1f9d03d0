"""``train``: a teacher from a patch folder, as a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ifkd.bags import read_patches, split_groups
from napari_ifkd.distill import train_teacher
from napari_ifkd.events import EpochDone, Event, RoundDone, RunDone, Warned
from napari_ifkd.models import ModelCard, build_model, save_model, seed_everything

from .drive import drive
from .folder import RunFolder
from .inputs import absolute
from .stop import never
from .threads import use_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config


def train_run(
    patches: str | Path, out: str | Path, config: Config, *, should_stop: Callable[[], bool] = never
) -> Generator[Event, None, None]:
    """Train a teacher from image-level labels, in a run folder; the same call again goes on where it stopped.

    Parameters
    ----------
    patches : patch folder, in either layout; its masks are not looked at
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
    bags = read_patches(patches, config.tiles)
    folder = RunFolder.create(out, "train", config, {"patches": absolute(patches)})
    yield from drive(folder, "train", lambda stop: _train(folder, bags, config, stop), should_stop)


def _train(folder: RunFolder, bags: Bags, config: Config, should_stop: Callable[[], bool]) -> Generator[Event, None, None]:
    done = "the teacher of the last epoch; it was not scored by pixels"
    if folder.model_path(0).is_file():
        yield RunDone(0, done)
        return
    use_threads(config.threads)
    seed_everything(config.seed)
    train_index, held_index = split_groups(bags, config.tiles.validation_share, config.seed)
    train, held = bags.subset(train_index), bags.subset(held_index)
    if not len(held):
        yield Warned("No group could be held out, so nothing tells how the teacher does on images it has not seen.")
    model = build_model(config.network, config.seed)
    events = train_teacher(
        train, held, model, config, should_stop=should_stop, state=folder.load_checkpoint(), on_epoch=folder.save_checkpoint
    )
    scores: dict[str, float] = {}
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            model = end.value
            break
        if isinstance(event, EpochDone):
            scores = event.scores
        yield event
    card = ModelCard(
        name=folder.path.resolve().name,
        network=config.network,
        mpp=bags.mpp,
        tile_px=int(bags.images.shape[1]),
        normalisation=model.normalisation,
        trained_on=f"{bags.source}: {train.positives} positive and {train.negatives} negative patches, image-level labels only",
        notes=f"stage-1 loss {config.stage1.loss}, {config.stage1.epochs} epochs, seed {config.seed}; {len(held)} patches held out",
    )
    folder.round_dir(0).mkdir(parents=True, exist_ok=True)
    save_model(folder.model_path(0), model, card)
    folder.write_metrics(0, scores)
    yield RoundDone(0, None, scores)
    yield RunDone(0, done)
