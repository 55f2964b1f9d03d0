"""Stage 2: rounds of fusion knowledge distillation, with a real switch of roles."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from napari_ifkd.errors import BagError, ConfigError
from napari_ifkd.events import Decision, EpochDone, Event, RoundDone, Warned

from .acceptance import decide, diverged
from .kd import Target, kd_loss
from .maps import teacher_maps
from .pair import TeacherStudent
from .scores import judge
from .training import Phase, Trainer, never, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, SideOutputs

    from .maps import TeacherMaps
    from .training import Batch, LossFunction, State, Stop

    OnRound = Callable[[int, MILModel, dict[str, float], Decision | None], None]


@dataclass(frozen=True)
class Outcome:
    """What distillation recommends.

    Parameters
    ----------
    model : the accepted network, in evaluation mode
    accepted_round : the round it comes from; 0 is the teacher as it came
    decisions : one a round
    reason : one sentence for a person
    """

    model: MILModel
    accepted_round: int
    decisions: tuple[Decision, ...]
    reason: str


def distill(
    teacher: MILModel,
    student: MILModel,
    train: Bags,
    val: Bags,
    config: Config,
    *,
    should_stop: Stop = never,
    state: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
    on_round: OnRound | None = None,
) -> Generator[Event, None, Outcome]:
    """Distil a teacher into a student, round by round.

    Parameters
    ----------
    teacher, student : two modules, of one kind or of two; both change
    train, val : bags that share no group
    config : its ``rounds``, ``acceptance``, seed, device and precision
    should_stop : asked before each batch
    state : what ``on_epoch`` got, to go on from there, with the same bags and the same networks in their first roles; the result is that of
        an uninterrupted run (bit-equal on the CPU)
    on_epoch : called with the state after each complete epoch and after each switch, before the events
    on_round : called with (index, the round's student, its scores, decision) before RoundDone; index 0 is the teacher as it came

    Yields
    ------
    RoundDone for the teacher, then for each round Progress, EpochDone and RoundDone; Warned

    Returns
    -------
    Outcome

    Raises
    ------
    BagError
        If there are no positive bags to learn from.
    ConfigError
        If structure ``sides`` is asked for and the networks differ in their number of side outputs.
    Cancelled
        If ``should_stop`` says so.
    """
    yield from _check(teacher, student, train, val, config)
    run = _Rounds(TeacherStudent(teacher, student), train, val, config, should_stop, on_epoch, on_round)
    if state is None:
        yield from run.look_at_teacher()
    else:
        run.restore(state)
    while run.index <= config.rounds.rounds:
        yield from run.one_round()
    return run.outcome()


class _Rounds:
    """The position in a distillation, and the work of one round."""

    def __init__(
        self,
        pair: TeacherStudent,
        train: Bags,
        val: Bags,
        config: Config,
        should_stop: Stop,
        on_epoch: Callable[[State], None] | None,
        on_round: OnRound | None,
    ) -> None:
        self.pair, self.train, self.val, self.config, self.should_stop = pair, train, val, config, should_stop
        self.on_epoch, self.on_round = on_epoch, on_round
        self.index = 1
        self.epoch = 0  # complete epochs of the round
        self.rate = 1.0  # share of the learning rate; halved when a teacher stays
        self.accepted = 0
        self.decisions: list[Decision] = []
        self.scores: list[dict[str, float]] = [{}, {}, {}]  # of the first teacher, the teacher, the student
        self.optimiser: State | None = None

    def look_at_teacher(self) -> Generator[Event, None, None]:
        scores = judge(self.pair.teacher, self.val, self.config, should_stop=self.should_stop).scores
        self.scores = [scores, scores, {}]
        if self.on_round is not None:
            self.on_round(0, self.pair.teacher, scores, None)
        yield RoundDone(0, None, scores)

    def one_round(self) -> Generator[Event, None, None]:
        settings = self.config.rounds
        robust = settings.mode == "robust"
        if self.epoch == 0:
            self.pair.begin(warm_start=robust and settings.robust.warm_start)
        if self.epoch < settings.epochs:
            yield from self._learn()
        if self.epoch:
            first, teacher, student = self.scores
            decision = decide(self.config.acceptance, settings.mode, first=first, teacher=teacher, student=student, bags=len(self.val))
        else:
            decision, student = diverged(1), self.scores[1]
        self.pair.student.eval()
        index, scores = self.index, student
        if self.on_round is not None:
            self.on_round(index, self.pair.student, scores, decision)
        self._conclude(decision)
        yield RoundDone(index, decision, scores)

    def _conclude(self, decision: Decision) -> None:
        self.decisions.append(decision)
        if decision.switched:
            self.pair.switch(aliased=self.config.rounds.mode == "released")
            self.accepted = self.index
            self.scores = [self.scores[0], self.scores[2], {}]
        else:
            self.pair.keep()
            self.rate *= 0.5
            self.scores = [self.scores[0], self.scores[1], {}]
        self.index, self.epoch = self.index + 1, 0
        self._checkpoint()

    def _learn(self) -> Generator[Event, None, None]:
        """Train the student to the end of the round, or to its last good epoch."""
        settings = self.config.rounds
        robust = settings.robust if settings.mode == "robust" else None
        maps = yield from teacher_maps(
            self.pair.teacher,
            self.train,
            self.config,
            averaged=robust is not None and robust.averaged_views,
            sides=settings.structure == "sides",
            should_stop=self.should_stop,
        )
        masks = judge(self.pair.teacher, self.val, self.config, should_stop=self.should_stop).masks
        rate = settings.learning_rate * self.rate
        augment = robust is not None and robust.augment
        phase = Phase(self.index, settings.epochs, settings.batch, rate, settings.weight_decay, augment)
        trainer = Trainer(self.pair.student, self.train, phase, self.config, self.should_stop)
        carried = robust is not None and not robust.reset_optimiser and self.pair.same_kind
        if self.optimiser is not None and (self.epoch or carried):
            trainer.optimiser.load_state_dict(snapshot(self.optimiser))  # torch would go on writing into ours
        loss_of = distillation_loss(self.config, maps, trainer.device)
        good = snapshot(self.pair.student.state_dict())
        for epoch in range(self.epoch + 1, settings.epochs + 1):
            mean = yield from trainer.epoch(epoch, loss_of)
            if not math.isfinite(mean):
                self.pair.student.load_state_dict(good)
                kept = f"the student of epoch {self.epoch} stands for the round" if self.epoch else "the teacher stays"
                yield Warned(f"Round {self.index}: training diverged in epoch {epoch}, {kept}. Lower rounds.learning_rate")
                break
            judged = judge(self.pair.student, self.val, self.config, teacher_masks=masks, should_stop=self.should_stop)
            good, self.epoch, self.scores[2] = snapshot(self.pair.student.state_dict()), epoch, judged.scores
            self.optimiser = snapshot(trainer.optimiser.state_dict())
            self._checkpoint()
            yield EpochDone(self.index, epoch, settings.epochs, mean, judged.scores)

    def _checkpoint(self) -> None:
        if self.on_epoch is None:
            return
        self.on_epoch(
            {
                "act": "distill",
                "round": self.index,
                "epoch": self.epoch,
                "rate": self.rate,
                "accepted": self.accepted,
                "decisions": [asdict(decision) for decision in self.decisions],
                "scores": [dict(scores) for scores in self.scores],
                "optimiser": self.optimiser,
                "pair": self.pair.state(),
            }
        )

    def restore(self, state: State) -> None:
        self.index, self.epoch, self.rate = int(state["round"]), int(state["epoch"]), float(state["rate"])
        self.accepted = int(state["accepted"])
        self.decisions = [Decision(**decision) for decision in state["decisions"]]
        self.scores = [dict(scores) for scores in state["scores"]]
        self.optimiser = state["optimiser"]
        self.pair.restore(state["pair"])

    def outcome(self) -> Outcome:
        done = len(self.decisions)
        if self.accepted:
            reason = f"Round {self.accepted} of {done} is the last that was switched in. {self.decisions[self.accepted - 1].reason}"
        else:
            last = f" {self.decisions[-1].reason}" if done else ""
            reason = f"The teacher as it came is kept: none of {done} rounds was switched in.{last}"
        return Outcome(self.pair.teacher.eval(), self.accepted, tuple(self.decisions), reason)


def distillation_loss(config: Config, maps: TeacherMaps, device: torch.device) -> LossFunction:
    """Return the loss of a round: the maps were computed once, and turn with the images of each batch."""

    def target_of(batch: Batch) -> Target:
        fused = batch.follow(torch.from_numpy(maps.fused[batch.rows]).to(device).float())
        sides = None
        if maps.sides is not None:
            chosen = torch.from_numpy(maps.sides[batch.rows]).to(device).float()  # (B, K, H, W)
            sides = batch.follow(chosen.permute(0, 2, 3, 1)).permute(3, 0, 1, 2)[:, :, None]  # (K, B, 1, H, W)
        return Target(fused[:, None], sides)

    def loss_of(outputs: SideOutputs, batch: Batch) -> Tensor:
        return kd_loss(outputs, target_of(batch), batch.labels, config.rounds)

    return loss_of


def _check(teacher: MILModel, student: MILModel, train: Bags, val: Bags, config: Config) -> Generator[Event, None, None]:
    if not train.positives:
        raise BagError(train.source, "there are no positive bags to distil on", "Add images or slides with tumour, or mark a tumour region")
    counts = [len(getattr(model, "weights", ())) for model in (teacher, student)]
    if config.rounds.structure == "sides" and counts[0] != counts[1]:
        cause = f"it pairs side outputs, and the teacher has {counts[0]}, the student {counts[1]}"
        raise ConfigError("rounds.structure sides", cause, "Use structure fusion, or a student of the teacher's kind")
    if not train.negatives:
        yield Warned("There are no negative bags: nothing holds the marked area down but the teacher's own map")
    if not val.positives and config.rounds.mode == "robust" and config.acceptance.rule == "cautious":
        yield Warned("There are no positive validation bags, so the cautious rule cannot accept any student")
