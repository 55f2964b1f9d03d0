"""What a student does in one round: learn from its teacher's maps, epoch by epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ifkd.events import EpochDone, Event, Warned
from napari_ifkd.models import pick_device
from napari_ifkd.models.memory import Portion

from .centre import moved, shift_of
from .ema import MovingAverage
from .fixed import FixedTeacher
from .guard import hold_area
from .kd import Target, asks_about_negatives, copies_teacher, kd_loss, structure_of
from .lesson import Lesson, lesson
from .losses import stage1_loss
from .maps import teacher_maps
from .scores import Judged, judge
from .training import Phase, Trainer, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.bags.hints import Hints
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, SideOutputs

    from .maps import TeacherMaps
    from .pair import TeacherStudent
    from .training import Batch, LossFunction, State, Stop

    HintsOfRound = Callable[[int], Hints | None]


@dataclass
class Standing:
    """How far a student is in its round.

    Parameters
    ----------
    epoch : complete epochs
    scores : of the student after the last of them
    optimiser : its state then; at the start of a round, that of the round before
    average : weights of the moving average then, where there is one
    loss : mean training loss of a bag in the last of them
    """

    epoch: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    optimiser: State | None = None
    average: State | None = None
    loss: float = 0.0

    def state(self) -> State:
        """Return all of it as tensors and plain containers."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class Learning:
    """Lets the student of a pair learn, one round at a time.

    Parameters
    ----------
    pair : teacher and student
    train, val : bags that share no group
    config : its ``rounds``, seed, device and precision
    hints : asked for corrected tiles when a round begins, or goes on after a resume
    should_stop : asked before each batch
    """

    def __init__(self, pair: TeacherStudent, train: Bags, val: Bags, config: Config, hints: HintsOfRound | None, should_stop: Stop) -> None:
        self.pair, self.train, self.val, self.config, self.hints, self.should_stop = pair, train, val, config, hints, should_stop
        self.device = pick_device(config.device)
        self.training, self.looking = Portion("training"), Portion("looking at images")  # what fits once does so for the whole run

    def learn(self, index: int, rate: float, standing: Standing, save: Callable[[], None]) -> Generator[Event, None, None]:
        """Train the student to the end of the round, or to its last good epoch.

        Parameters
        ----------
        index : of the round, from 1
        rate : share of the learning rate
        standing : where the student stands; kept up to date
        save : called after each complete epoch, before its event

        Yields
        ------
        Progress, EpochDone and Warned
        """
        settings, pair = self.config.rounds, self.pair
        robust = settings.robust if settings.mode == "robust" else None
        taught = yield from self._lesson(index)
        maps = yield from self._maps(taught)
        masks = self._judge(pair.teacher).masks
        phase = Phase(
            index,
            settings.epochs,
            settings.batch,
            settings.learning_rate * rate * (settings.copy_rate if self._only_copies(taught) else 1),
            settings.side_rates,
            settings.weight_decay,
            noise=robust.noise if robust is not None and robust.augment else None,
        )
        trainer = Trainer(pair.student, taught.bags, phase, self.config, self.should_stop, often=taught.hinted, portion=self.training)
        carried = robust is not None and not robust.reset_optimiser and pair.same_kind
        if standing.optimiser is not None and (standing.epoch or (carried and trainer.suits(standing.optimiser))):
            trainer.optimiser.load_state_dict(snapshot(standing.optimiser))  # torch would go on writing into ours
        if settings.ema > 0:
            trainer.average = MovingAverage(pair.student, settings.ema)
            if standing.average is not None:
                trainer.average.restore(standing.average)
        judged_model = pair.student if trainer.average is None else trainer.average.model
        rows = np.flatnonzero(taught.bags.labels > 0)
        shift = shift_of(maps.fused, rows) if robust is not None and robust.centred else 0.0
        loss_of = distillation_loss(self.config, maps, taught, shift)
        good = snapshot(pair.student.state_dict())
        for epoch in range(standing.epoch + 1, settings.epochs + 1):
            mean = yield from trainer.epoch(epoch, loss_of)
            if not math.isfinite(mean):
                pair.student.load_state_dict(good)
                kept = f"the student of epoch {standing.epoch} stands for the round" if standing.epoch else "the teacher stays"
                yield Warned(f"Round {index}: training diverged in epoch {epoch}, {kept}. Lower rounds.learning_rate")
                break
            judged = self._judge(judged_model, masks)
            yield from self.looking.told()
            good = snapshot(pair.student.state_dict())
            standing.epoch, standing.scores, standing.loss = epoch, judged.scores, mean
            standing.optimiser = snapshot(trainer.optimiser.state_dict())
            standing.average = None if trainer.average is None else trainer.average.state()
            save()
            yield EpochDone(index, epoch, settings.epochs, mean, judged.scores)

    def _only_copies(self, taught: Lesson) -> bool:
        """Tell whether a copy of the teacher is to learn from nothing but the teacher's map."""
        settings = self.config.rounds
        labels = settings.robust.label_loss > 0 and taught.told(np.arange(len(taught.bags))).any()
        return copies_teacher(settings) and self.pair.same_kind and not labels

    def hold_area(self, index: int, standing: Standing, first: dict[str, float]) -> None:
        """Bring the area that the student of the round marks back to where it may be, and judge it again if it had to move.

        Not where a person corrected pixels: these tell an area.

        Parameters
        ----------
        index : of the round
        standing : where the student stands; its scores are kept up to date
        first : scores of the first teacher
        """
        settings, rule = self.config.rounds, self.config.acceptance
        area = rule.area_prior or first.get("centred_area" if settings.robust.centred else "positive_area")
        if settings.mode != "robust" or not settings.robust.hold_area or area is None:
            return
        hints = None if self.hints is None else self.hints(index)
        if hints is not None and len(hints.bags):
            return
        limits = (area * (1 - rule.max_area_shift), area * (1 + rule.max_area_shift))
        shift = hold_area(self.pair.student, self.val, limits, self.config, should_stop=self.should_stop, portion=self.looking)
        if shift:
            standing.scores = self._judge(self.pair.student, self._judge(self.pair.teacher).masks).scores | {"held_by": shift}

    def _judge(self, model: MILModel | FixedTeacher, teacher_masks: NDArray[np.uint8] | None = None) -> Judged:
        return judge(model, self.val, self.config, teacher_masks=teacher_masks, should_stop=self.should_stop, portion=self.looking)

    def _lesson(self, index: int) -> Generator[Event, None, Lesson]:
        """Put the bags of the round together, with the tiles a person corrected."""
        hints = None if self.hints is None else self.hints(index)
        if hints is not None and self.config.rounds.mode == "released":
            yield Warned("Corrections do not count: mode 'released' repeats a program that knows none")
            hints = None
        taught = lesson(self.train, hints)
        if hints is not None and (held := self._held_out(hints.bags)):
            told = "1 corrected tile is" if held == 1 else f"{held} corrected tiles are"
            yield Warned(
                f"{told} learnt from and among those that judge round {index} too, so the student looks a little better than it is"
            )
        teacher = self.pair.teacher
        if hints is None or not isinstance(teacher, FixedTeacher) or teacher.of_bags is not None:
            return taught
        needed = (taught.bags.labels > 0) | asks_about_negatives(self.config.rounds)
        lost = (needed & (taught.origin < 0))[len(taught.bags) - len(hints.bags) :]
        if not lost.any():
            return taught
        count = int(lost.sum())
        told, them = ("1 corrected tile does", "it") if count == 1 else (f"{count} corrected tiles do", "them")
        yield Warned(f"{told} not count in round {index}: {teacher.name} has no map of {them}")
        keep = np.flatnonzero(~lost)
        return lesson(self.train, replace(hints, bags=hints.bags.subset(keep), labels=hints.labels[keep]))

    def _held_out(self, bags: Bags) -> int:
        """Count corrected tiles that are validation bags, or of a slide of which there are no others."""
        apart = np.setdiff1d(self.val.groups, self.train.groups)
        return int(np.count_nonzero(np.isin(bags.names, self.val.names) | np.isin(bags.groups, apart)))

    def _maps(self, taught: Lesson) -> Generator[Event, None, TeacherMaps]:
        settings, teacher, bags = self.config.rounds, self.pair.teacher, taught.bags
        rows = np.arange(len(bags)) if asks_about_negatives(settings) else np.flatnonzero(bags.labels > 0)
        if isinstance(teacher, FixedTeacher):
            return teacher.maps(bags, rows, taught.origin, self.device, self.should_stop)
        maps: TeacherMaps = yield from teacher_maps(
            teacher,
            bags,
            rows,
            self.config,
            averaged=settings.mode == "robust" and settings.robust.averaged_views,
            sides=structure_of(settings) == "sides",
            should_stop=self.should_stop,
            portion=self.looking,
        )
        return maps


def distillation_loss(config: Config, maps: TeacherMaps, taught: Lesson, shift: float = 0.0) -> LossFunction:
    """Return the loss of a round.

    Parameters
    ----------
    config : its ``rounds``, and ``stage1`` for the loss to labels
    maps : the teacher's; they and the corrections follow what was done to the images of each batch
    taught : the bags of the round
    shift : the fused maps are moved by so many logits
    """
    settings = config.rounds
    weight = settings.robust.label_loss if settings.mode == "robust" else 0.0
    of_labels = stage1_loss(config.stage1)

    def target_of(batch: Batch) -> Target:
        fused = batch.follow(moved(maps.fused.get(batch.rows), shift))
        sides = None
        if maps.sides is not None:
            chosen = maps.sides.get(batch.rows)  # (B, K, H, W)
            sides = torch.stack([batch.follow(side) for side in chosen.unbind(1)])[:, :, None]  # (K, B, 1, H, W)
        hints = taught.hints_of(batch.rows, fused.device)
        return Target(fused[:, None], sides, None if hints is None else batch.follow(hints))

    def loss_of(outputs: SideOutputs, batch: Batch) -> Tensor:
        loss = kd_loss(outputs, target_of(batch), batch.labels, settings)
        told = taught.told(batch.rows)
        if weight > 0 and told.any():
            loss = loss + weight * of_labels(outputs, batch.labels) * torch.from_numpy(told).to(loss)
        return loss

    return loss_of
