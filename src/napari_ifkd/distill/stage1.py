"""Stage 1: the teacher, from image-level labels only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_ifkd.errors import BagError, EngineError
from napari_ifkd.events import EpochDone, Event, Warned

from .losses import stage1_loss
from .scores import judge
from .training import Batch, Phase, State, Stop, Trainer, never, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, SideOutputs


def train_teacher(
    train: Bags,
    val: Bags,
    model: MILModel,
    config: Config,
    *,
    should_stop: Stop = never,
    state: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
) -> Generator[Event, None, MILModel]:
    """Train a teacher from image-level labels.

    Parameters
    ----------
    train, val : bags that share no group; ``val`` may be empty
    model : trained in place
    config : its ``stage1``, seed, device and precision
    should_stop : asked before each batch
    state : what ``on_epoch`` got, to go on from there; the result is that of an uninterrupted run (bit-equal on the CPU)
    on_epoch : called with the state after each complete epoch, before its event

    Yields
    ------
    Progress, EpochDone (round 0) and Warned

    Returns
    -------
    MILModel
        ``model`` after the last epoch (its learning rate has come down to zero by then), in evaluation mode.

    Raises
    ------
    BagError
        If a class is missing: without negatives, everything positive is the best answer.
    EngineError
        If training diverges before an epoch is complete.
    Cancelled
        If ``should_stop`` says so.
    """
    if not train.positives or not train.negatives:
        missing, kind = ("negative", "without") if train.positives else ("positive", "with")
        raise BagError(train.source, f"there are no {missing} images to train a teacher on", f"Add images {kind} tumour")
    settings = config.stage1
    loss = stage1_loss(settings)
    phase = Phase(0, settings.epochs, settings.batch, settings.learning_rate, settings.weight_decay, settings.augment)
    trainer = Trainer(model, train, phase, config, should_stop)
    first = 1
    good: State | None = None
    if state is not None:
        model.load_state_dict(state["model"])
        trainer.optimiser.load_state_dict(snapshot(state["optimiser"]))  # torch would go on writing into the caller's
        first, good = int(state["epoch"]) + 1, state

    def loss_of(outputs: SideOutputs, batch: Batch) -> Tensor:
        return loss(outputs, batch.labels)

    for epoch in range(first, settings.epochs + 1):
        mean = yield from trainer.epoch(epoch, loss_of)
        if not math.isfinite(mean):
            if good is None:
                raise EngineError("Training diverged in its first epoch (the loss is not a number): lower stage1.learning_rate")
            model.load_state_dict(good["model"])
            yield Warned(f"Training diverged in epoch {epoch}; the network of epoch {good['epoch']} is kept. Lower stage1.learning_rate")
            break
        scores = judge(model, val, config, should_stop=should_stop).scores
        good = snapshot({"act": "train", "epoch": epoch, "model": model.state_dict(), "optimiser": trainer.optimiser.state_dict()})
        if on_epoch is not None:
            on_epoch(good)
        yield EpochDone(0, epoch, settings.epochs, mean, scores)
    return model.eval()
