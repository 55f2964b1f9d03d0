"""Stage 1: the teacher, from image-level labels only; beside it, from pixel masks, the upper bound it is held against."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ifkd.errors import BagError, EngineError
from napari_ifkd.events import EpochDone, Event, Warned
from napari_ifkd.models.cam import CamModel
from napari_ifkd.models.memory import Portion

from .losses import stage1_loss
from .scores import judge
from .supervised import supervised_loss
from .training import Batch, Phase, State, Stop, Trainer, never, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config, NoiseConfig, Stage1Config
    from napari_ifkd.models import MILModel, SideOutputs

    from .training import LossFunction


def train_teacher(
    train: Bags,
    val: Bags,
    model: MILModel,
    config: Config,
    *,
    masks: NDArray[np.bool_] | None = None,
    should_stop: Stop = never,
    state: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
) -> Generator[Event, None, MILModel]:
    """Train a teacher by the method the settings name.

    Parameters
    ----------
    train, val : bags that share no group; ``val`` may be empty
    model : trained in place; for the methods ``cam`` and ``oaa`` a network with one side output
    config : its ``stage1``, seed, device and precision
    masks : ``(N, H, W)`` bool, pixel truth of ``train``, for method ``supervised``; no other method may be given it
    should_stop : asked before each batch
    state : what ``on_epoch`` got, to go on from there; the result is that of an uninterrupted run (bit-equal on the CPU)
    on_epoch : called with the state after each complete epoch, before its event

    Yields
    ------
    Progress, EpochDone (round 0) and Warned

    Returns
    -------
    MILModel
        ``model`` after the last epoch (its learning rate has come down to zero by then), in evaluation mode. For ``cam`` and ``oaa`` a
        CamModel that reads activation maps of it, or of its weights of several epochs; the scores of epochs are the plain network's.

    Raises
    ------
    BagError
        If a class is missing (without negatives, everything positive is the best answer), or the masks do not belong to the bags.
    ModelError
        If ``cam`` or ``oaa`` cannot read activation maps of the network, which must have one side head on a trunk.
    EngineError
        If training diverges before an epoch is complete.
    Cancelled
        If ``should_stop`` says so.
    """
    settings = config.stage1
    _check(train, masks, model, settings)
    phase = Phase(0, settings.epochs, settings.batch, settings.learning_rate, settings.side_rates, settings.weight_decay, _noise(settings))
    trainer, looking = Trainer(model, train, phase, config, should_stop), Portion("looking at images")
    loss_of = teacher_loss(settings, masks)
    first = 1
    good: State | None = None
    snapshots: list[State] = []
    if state is not None:
        model.load_state_dict(state["model"])
        trainer.optimiser.load_state_dict(snapshot(state["optimiser"]))  # torch would go on writing into the caller's
        first, good, snapshots = int(state["epoch"]) + 1, state, list(state["snapshots"])

    for epoch in range(first, settings.epochs + 1):
        mean = yield from trainer.epoch(epoch, loss_of)
        if not math.isfinite(mean):
            if good is None:
                raise EngineError("Training diverged in its first epoch (the loss is not a number): lower stage1.learning_rate")
            model.load_state_dict(good["model"])
            yield Warned(f"Training diverged in epoch {epoch}; the network of epoch {good['epoch']} is kept. Lower stage1.learning_rate")
            break
        scores = judge(model, val, config, should_stop=should_stop, portion=looking).scores
        yield from looking.told()
        told = {"act": "train", "epoch": epoch, "loss": mean, "scores": scores}
        good = snapshot({**told, "model": model.state_dict(), "optimiser": trainer.optimiser.state_dict()})
        if epoch in snapshot_epochs(settings)[:-1]:  # the last is the network itself
            snapshots.append(good["model"])
        good["snapshots"] = list(snapshots)
        if on_epoch is not None:
            on_epoch(good)
        yield EpochDone(0, epoch, settings.epochs, mean, scores)
    return _read_out(model.eval(), snapshots, settings)


def _noise(settings: Stage1Config) -> NoiseConfig | None:
    """Return how images are disturbed, None for not at all; the target of `const-dice` is the label everywhere, so it pastes nothing."""
    if not settings.augment:
        return None
    everywhere = settings.method == "mil" and settings.loss == "const-dice"
    return settings.noise.model_copy(update={"paste": 0.0}) if everywhere else settings.noise


def snapshot_epochs(settings: Stage1Config) -> list[int]:
    """Return the epochs whose networks method ``oaa`` accumulates: evenly spaced, the last one included; none for other methods."""
    if settings.method != "oaa":
        return []
    count = min(settings.cam.snapshots, settings.epochs)
    return [math.ceil(settings.epochs * (i + 1) / count) for i in range(count)]


def _read_out(model: MILModel, snapshots: list[State], settings: Stage1Config) -> MILModel:
    """Return the network as it is, or what reads activation maps of it."""
    if settings.method not in ("cam", "oaa"):
        return model
    earlier = [copy.deepcopy(model) for _ in snapshots]
    for network, weights in zip(earlier, snapshots, strict=True):
        network.load_state_dict(weights)
    return CamModel([*earlier, model], settings.cam.scales).eval()


def teacher_loss(settings: Stage1Config, masks: NDArray[np.bool_] | None = None) -> LossFunction:
    """Return the loss of stage 1: to the image labels, or to masks of the training bags, which turn with the images of each batch."""
    if masks is None:
        of_labels = stage1_loss(settings)
        return lambda outputs, batch: of_labels(outputs, batch.labels)

    def of_masks(outputs: SideOutputs, batch: Batch) -> Tensor:
        truth = torch.from_numpy(np.asarray(masks[batch.rows], np.float32)).to(batch.labels.device)
        return supervised_loss(outputs, batch.follow(truth))

    return of_masks


def _check(train: Bags, masks: NDArray[np.bool_] | None, model: MILModel, settings: Stage1Config) -> None:
    supervised = settings.method == "supervised"
    if not train.positives or not (train.negatives or supervised):
        missing, kind = ("negative", "without") if train.positives else ("positive", "with")
        raise BagError(train.source, f"there are no {missing} images to train a teacher on", f"Add images {kind} tumour")
    if supervised != (masks is not None):
        if supervised:
            raise BagError(train.source, "method supervised learns from pixel masks, and none were given", "Give masks of the images")
        raise BagError(train.source, f"method {settings.method} learns without pixel masks, and some were given", "Leave them out")
    if masks is not None and masks.shape != train.images.shape[:3]:
        cause = f"the masks are {masks.shape}, and the images {train.images.shape[:3]} (number, height, width)"
        raise BagError(train.source, cause, "Give one mask an image, of the image's size")
    if settings.method in ("cam", "oaa"):
        CamModel([model], settings.cam.scales)  # refuses what it could not read, before the work
