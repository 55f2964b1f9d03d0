"""One phase of training, epoch by epoch: what stage 1 and a distillation round have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from napari_ifkd.bags.augment import augment
from napari_ifkd.errors import Cancelled, ConfigError
from napari_ifkd.models import MILModel, Normalisation, SideOutputs, autocast, pick_device, prepare
from napari_ifkd.models.memory import Portion
from napari_ifkd.pace import Pace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ifkd.bags import Bags
    from napari_ifkd.bags.augment import Drawn
    from napari_ifkd.config import Config, NoiseConfig
    from napari_ifkd.events import Event

    from .ema import MovingAverage

_OFTEN_SHARE = 0.25  # of a batch, for bags that a person corrected: a few among thousands would never be heard

Stop = Callable[[], bool]
State = dict[str, Any]
"""Tensors and plain containers only, so that it can be stored without pickling code."""


def never() -> bool:
    """Stop never."""
    return False


@dataclass(frozen=True)
class Phase:
    """What tells one phase of training from another.

    Parameters
    ----------
    index : 0 for stage 1, then the number of the round
    epochs : epochs in the phase
    batch : bags in a batch
    learning_rate : of the trunk, at the start of the phase; a cosine takes it to zero
    side_rates : of the side heads relative to it: one number for all, or one a side
    weight_decay : Adam's
    noise : augmentation of the images that the network learns from; None is none
    """

    index: int
    epochs: int
    batch: int
    learning_rate: float
    side_rates: tuple[float, ...]
    weight_decay: float
    noise: NoiseConfig | None


@dataclass(frozen=True)
class Batch:
    """A batch as the loss sees it.

    Parameters
    ----------
    rows : ``(B,)`` indices into the training bags
    labels : Tensor, ``(B,)`` on the device
    drawn : how the images were augmented; None where they were not
    """

    rows: NDArray[np.intp]
    labels: Tensor
    drawn: Drawn | None

    def part(self, which: slice) -> Batch:
        """Return some of it."""
        return Batch(self.rows[which], self.labels[which], None if self.drawn is None else self.drawn.part(which))

    def follow(self, maps: Tensor) -> Tensor:
        """Change maps ``(B, H, W)`` as the images of this batch were."""
        return maps if self.drawn is None else self.drawn.follow(maps)


LossFunction = Callable[[SideOutputs, Batch], Tensor]


class Trainer:
    """Trains one network through one phase.

    Every random draw follows from (seed, phase, epoch) alone, so an epoch after a resume is the epoch of an uninterrupted run.

    Parameters
    ----------
    model : the network; moved to the device
    bags : training bags
    phase : Phase
    config : its seed, device and precision
    should_stop : asked before each batch
    average : follows the network, step by step
    often : rows of ``bags`` that have a share of each batch, however few they are
    portion : how many images of a batch go through the network at once; a phase may go on with that of the one before
    """

    def __init__(
        self,
        model: MILModel,
        bags: Bags,
        phase: Phase,
        config: Config,
        should_stop: Stop = never,
        average: MovingAverage | None = None,
        often: NDArray[np.intp] | None = None,
        portion: Portion | None = None,
    ) -> None:
        self.device = pick_device(config.device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bags, self.phase, self.config, self.should_stop, self.average = bags, phase, config, should_stop, average
        self.often, self.portion = often, portion or Portion("training")
        groups = param_groups(model, phase.learning_rate, phase.side_rates)
        self.optimiser = torch.optim.Adam(groups, weight_decay=phase.weight_decay)
        self._factors = [group["lr"] / phase.learning_rate for group in self.optimiser.param_groups]
        self.steps = max(1, math.ceil(len(bags) / phase.batch))
        self._pace: Pace | None = None

    def epoch(self, number: int, loss_of: LossFunction) -> Generator[Event, None, float]:
        """Train for one epoch.

        Parameters
        ----------
        number : 1-based
        loss_of : from the outputs (float32) and the batch to one loss an image

        Yields
        ------
        Progress over the whole phase, in images; Warned where memory does not suffice for a batch

        Returns
        -------
        float
            Mean loss of a bag; NaN or infinite where training diverged, be it in the very last step.

        Raises
        ------
        Cancelled
            If ``should_stop`` says so.
        EngineError
            If memory does not suffice for a single image.
        """
        seed = int(np.random.SeedSequence([self.config.seed, self.phase.index, number]).generate_state(1)[0])
        draw, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # for networks with dropout or stochastic depth
        of_epoch = self.steps * min(self.phase.batch, len(self.bags))
        if self._pace is None:  # one for all epochs: what comes between them takes time too
            self._pace = Pace("training", of_epoch * self.phase.epochs, "images", done=of_epoch * (number - 1))
        total = torch.zeros((), device=self.device)
        self.model.train()
        for step, rows in enumerate(balanced_batches(self.bags.labels, self.phase.batch, self.steps, draw, self.often)):
            if self.should_stop():
                raise Cancelled
            self._set_rate((number - 1) * self.steps + step)
            images = torch.from_numpy(self.bags.images[rows]).to(self.device)
            labels, drawn = torch.from_numpy(self.bags.labels[rows]), None
            if self.phase.noise is not None:
                images, drawn = augment(images, labels, self.phase.noise, generator)
            batch = Batch(rows, labels.to(self.device), drawn)
            total += self._learn(images, batch, loss_of)  # read once an epoch: reading it here would wait for the device
            yield from self.portion.told()
            if self.average is not None:
                self.average.update(self.model)
            if (event := self._pace.add(len(rows))) is not None:
                yield event
        return float(total.item()) / self.steps if self._finite() else math.nan

    def _learn(self, images: Tensor, batch: Batch, loss_of: LossFunction) -> Tensor:
        """Take a step; returns the mean loss of the batch.

        Where memory does not suffice for the whole batch, the gradients of its parts are summed, each by its share of the batch: the step
        is that of the whole batch, except that batch norms see the statistics of a part.
        """
        buffers = [buffer.clone() for buffer in self.model.buffers()]

        def again() -> None:
            self.optimiser.zero_grad(set_to_none=True)
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)

        def learn(part: slice) -> Tensor:
            ours = batch.part(part)
            with autocast(self.device, self.config.precision):
                outputs = self.model(prepare(images[part], normalisation_of(self.model), self.device))
            loss = loss_of(outputs, ours).mean() * (len(ours.rows) / len(batch.rows))
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        self.optimiser.zero_grad(set_to_none=True)
        losses = [loss for _, loss in self.portion.run(len(batch.rows), learn, again)]
        self.optimiser.step()
        return torch.stack(losses).sum()

    def _finite(self) -> bool:
        """Tell whether all weights are numbers: the loss of an epoch does not know of its last step."""
        return bool(torch.stack([weight.detach().isfinite().all() for weight in self.model.parameters()]).all())

    def suits(self, state: State) -> bool:
        """Tell whether an optimiser's state is of a network of which the same parts learn (one may be frozen, another not)."""
        ours, theirs = ([len(group["params"]) for group in groups] for groups in (self.optimiser.param_groups, state["param_groups"]))
        return ours == theirs

    def _set_rate(self, step: int) -> None:
        rate = 0.5 * self.phase.learning_rate * (1 + math.cos(math.pi * step / (self.steps * self.phase.epochs)))
        for group, factor in zip(self.optimiser.param_groups, self._factors, strict=True):
            group["lr"] = rate * factor


def balanced_batches(
    labels: NDArray[np.int8], batch: int, steps: int, draw: np.random.Generator, often: NDArray[np.intp] | None = None
) -> Iterator[NDArray[np.intp]]:
    """Yield batches, half of each class where both exist.

    Parameters
    ----------
    labels : ``(N,)`` in {0, 1}
    batch : bags in a batch, N at most
    steps : batches
    draw : all randomness comes from it
    often : rows that get a quarter of each batch beside the classes, or their own share of all rows where that is more

    Yields
    ------
    ``(B,)`` indices; each class is gone through in random order, over and over, so the rarer one is seen more often
    """
    batch = min(batch, len(labels))
    ordinary = np.ones(len(labels), np.bool_)
    reserved = 0
    if often is not None and len(often):
        ordinary[often] = False
        share = max(_OFTEN_SHARE, len(often) / len(labels))
        reserved = batch if not ordinary.any() else min(batch - 1, max(1, round(share * batch)))
    classes = [np.flatnonzero(ordinary & kind) for kind in (labels > 0, labels <= 0)]
    classes = [rows for rows in classes if len(rows)]
    streams = [_endless(rows, draw) for rows in classes]
    left = batch - reserved
    counts = [left] if len(classes) == 1 else [left - left // 2, left // 2] if classes else []
    if reserved:
        assert often is not None
        streams.append(_endless(often, draw))
        counts.append(reserved)
    for _ in range(steps):
        yield np.fromiter((next(stream) for stream, n in zip(streams, counts, strict=True) for _ in range(n)), np.intp, sum(counts))


def _endless(rows: NDArray[np.intp], draw: np.random.Generator) -> Iterator[np.intp]:
    while True:
        yield from draw.permutation(rows)


def normalisation_of(model: MILModel) -> Normalisation:
    """Return what a network's images are normalised with; ImageNet's where a user's own module does not say."""
    return getattr(model, "normalisation", None) or Normalisation()


def param_groups(model: MILModel, rate: float, side_rates: tuple[float, ...]) -> list[dict[str, Any]]:
    """Return what an optimiser shall learn, each group at its rate.

    Raises
    ------
    ConfigError
        If side heads shall have rates of their own, and a user's own module does not say which of its parameters they are.
    ModelError
        If their number does not fit the network's side heads.
    """
    if hasattr(model, "param_groups"):
        return model.param_groups(rate, side_rates)
    if side_rates != (1.0,):
        cause = f"{type(model).__name__} has no method param_groups(lr, side_rates), so nothing tells its side heads from the rest"
        raise ConfigError(f"side_rates {list(side_rates)}", cause, "Leave side_rates at 1, or give the module that method")
    return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": rate}]


def snapshot(value: Any) -> Any:
    """Copy a state (of tensors and plain containers) to the CPU, so that later steps cannot change it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    return value
