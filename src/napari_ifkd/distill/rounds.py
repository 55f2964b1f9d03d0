"""Stage 2: rounds of fusion knowledge distillation, with a real switch of roles."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from napari_ifkd.config import RoundConfig
from napari_ifkd.errors import BagError, ConfigError
from napari_ifkd.events import Decision, Event, RoundDone, Warned

from .acceptance import decide, diverged
from .fixed import FixedTeacher
from .kd import copies_teacher, structure_of
from .learning import Learning, Standing
from .pair import TeacherStudent, only_teaches
from .scores import judge
from .training import never, param_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel

    from .learning import HintsOfRound
    from .training import State, Stop

    OnRound = Callable[[int, MILModel | FixedTeacher, dict[str, float], Decision | None], None]


@dataclass(frozen=True)
class Outcome:
    """What distillation recommends.

    Parameters
    ----------
    model : the accepted network, in evaluation mode; None where the maps of a fixed teacher are kept
    accepted_round : the round it comes from; 0 is the first teacher
    decisions : one a round
    reason : one sentence for a person
    """

    model: MILModel | None
    accepted_round: int
    decisions: tuple[Decision, ...]
    reason: str


def distill(
    teacher: MILModel | FixedTeacher,
    student: MILModel,
    train: Bags,
    val: Bags,
    config: Config,
    *,
    should_stop: Stop = never,
    state: State | None = None,
    on_epoch: Callable[[State], None] | None = None,
    on_round: OnRound | None = None,
    hints: HintsOfRound | None = None,
) -> Generator[Event, None, Outcome]:
    """Distil a teacher into a student, round by round.

    Parameters
    ----------
    teacher, student : two modules, of one kind or of two; both change. The first teacher may be maps that somebody else made
    train, val : bags that share no group
    config : its ``rounds``, ``acceptance``, seed, device and precision
    should_stop : asked before each batch
    state : what ``on_epoch`` got, to go on from there, with the same bags and the same networks in their first roles; the result is that of
        an uninterrupted run (bit-equal on the CPU)
    on_epoch : called with the state after each complete epoch and after each switch, before the events
    on_round : called with (index, the round's student, its scores, decision) before RoundDone; index 0 is the first teacher
    hints : called with the number of a round when it begins, and when it goes on after a resume: the tiles in which pixels were corrected
        by then, the same ones both times

    Yields
    ------
    RoundDone for the teacher, then for each round Progress, EpochDone and RoundDone; Warned

    Returns
    -------
    Outcome

    Raises
    ------
    BagError
        If there are no positive bags to learn from, or a fixed teacher's maps are not those of the bags.
    ConfigError
        If structure ``sides`` is asked for and the networks differ in their number of side outputs.
    ModelError
        If ``rounds.side_rates`` does not fit a network.
    Cancelled
        If ``should_stop`` says so.
    """
    pair = TeacherStudent(teacher, student)
    yield from _check(pair, train, val, config)
    learning = Learning(pair, train, val, config, hints, should_stop)
    run = _Rounds(pair, learning, config, on_epoch, on_round)
    if state is None:
        yield from run.look_at_teacher()
    else:
        run.restore(state)
    while run.index <= rounds_of(config.rounds):
        yield from run.one_round()
    return run.outcome()


def rounds_of(settings: RoundConfig) -> int:
    """Return the number of rounds: mode ``oeem`` trains once, on the one pseudo-mask."""
    return 1 if settings.mode == "oeem" else settings.rounds


class _Rounds:
    """The position in a distillation, and what follows from the work of a round."""

    def __init__(
        self,
        pair: TeacherStudent,
        learning: Learning,
        config: Config,
        on_epoch: Callable[[State], None] | None,
        on_round: OnRound | None,
    ) -> None:
        self.pair, self.learning, self.config, self.on_epoch, self.on_round = pair, learning, config, on_epoch, on_round
        self.index = 1
        self.rate = 1.0  # share of the learning rate; halved when a teacher stays
        self.accepted = 0
        self.decisions: list[Decision] = []
        self.first: dict[str, float] = {}  # scores of the first teacher
        self.present: dict[str, float] = {}  # and of the present one
        self.standing = Standing()

    def look_at_teacher(self) -> Generator[Event, None, None]:
        looking = self.learning.looking
        judged = judge(self.pair.teacher, self.learning.val, self.config, should_stop=self.learning.should_stop, portion=looking)
        yield from looking.told()
        scores = judged.scores
        self.first = self.present = scores
        if self.on_round is not None:
            self.on_round(0, self.pair.teacher, scores, None)
        yield RoundDone(0, None, scores)

    def one_round(self) -> Generator[Event, None, None]:
        settings, standing = self.config.rounds, self.standing
        if standing.epoch == 0:
            self.pair.begin(warm_start=copies_teacher(settings))
        if standing.epoch < settings.epochs:
            yield from self.learning.learn(self.index, self.rate, standing, self._checkpoint)
        if standing.average is not None:  # it was judged, so it is what is handed over
            self.pair.student.load_state_dict(standing.average)
        if standing.epoch:
            self.learning.hold_area(self.index, standing, self.first)
            scores = standing.scores
            bags = len(self.learning.val)
            decision = decide(
                self.config.acceptance,
                settings.mode,
                first=self.first,
                teacher=self.present,
                student=scores,
                bags=bags,
                present=self.accepted,
                centred=settings.robust.centred,
            )
        else:
            decision, scores = diverged(1, self.accepted), self.present
        self.pair.student.eval()
        index = self.index
        if self.on_round is not None:
            self.on_round(index, self.pair.student, scores, decision)
        self._conclude(decision)
        yield RoundDone(index, decision, scores)

    def _conclude(self, decision: Decision) -> None:
        self.decisions.append(decision)
        if decision.switched:
            self.pair.switch(aliased=self.config.rounds.mode == "released")
            self.accepted, self.present = self.index, self.standing.scores
        else:
            self.pair.keep()
            self.rate *= 0.5
        self.index, self.standing = self.index + 1, Standing(optimiser=self.standing.optimiser)
        self._checkpoint()

    def _checkpoint(self) -> None:
        if self.on_epoch is None:
            return
        self.on_epoch(
            {
                "act": "distill",
                "round": self.index,
                **self.standing.state(),
                "rate": self.rate,
                "accepted": self.accepted,
                "decisions": [asdict(decision) for decision in self.decisions],
                "first": dict(self.first),
                "present": dict(self.present),
                "pair": self.pair.state(),
            }
        )

    def restore(self, state: State) -> None:
        self.index, self.rate, self.accepted = int(state["round"]), float(state["rate"]), int(state["accepted"])
        self.standing = Standing(**{item.name: state[item.name] for item in fields(Standing) if item.name in state})
        self.decisions = [Decision(**decision) for decision in state["decisions"]]
        self.first, self.present = dict(state["first"]), dict(state["present"])
        self.pair.restore(state["pair"])

    def outcome(self) -> Outcome:
        done = len(self.decisions)
        if self.accepted:
            reason = f"Round {self.accepted} of {done} is the last that became the teacher. {self.decisions[self.accepted - 1].reason}"
        else:
            last = f" {self.decisions[-1].reason}" if done else ""
            reason = f"The first teacher is kept: none of {done} rounds became the teacher.{last}"
        teacher = self.pair.teacher
        model = None if isinstance(teacher, FixedTeacher) else teacher.eval()
        return Outcome(model, self.accepted, tuple(self.decisions), reason)


def _check(pair: TeacherStudent, train: Bags, val: Bags, config: Config) -> Generator[Event, None, None]:
    settings, teacher, student = config.rounds, pair.teacher, pair.student
    if not train.positives:
        raise BagError(train.source, "there are no positive bags to distil on", "Add images or slides with tumour, or mark a tumour region")
    if isinstance(teacher, FixedTeacher):
        teacher.check(train, val)
    check_networks(None if isinstance(teacher, FixedTeacher) else teacher, student, settings)
    if settings.mode == "oeem" and settings.rounds > 1 and settings.rounds != RoundConfig.model_fields["rounds"].default:
        yield Warned(f"Mode 'oeem' trains once on the teacher's pseudo-mask: of the {settings.rounds} rounds asked for there is one")
    if not train.negatives:
        yield Warned("There are no negative bags: nothing holds the marked area down but the teacher's own map")
    if not val.positives and settings.mode == "robust" and config.acceptance.rule == "cautious":
        yield Warned("No tumour tiles could be kept aside for checking, so the cautious rule cannot accept any student")


def check_networks(teacher: MILModel | None, student: MILModel, settings: RoundConfig) -> None:
    """Refuse networks that the settings do not suit: before anything is done with them, and not when they are to learn at last.

    Parameters
    ----------
    teacher, student : of the first round; a teacher that is maps is None
    settings : ``structure``, ``mode`` and ``side_rates`` matter

    Raises
    ------
    ConfigError
        If structure ``sides`` finds no pairs of side outputs, or side rates a module that does not tell its side heads.
    ModelError
        If ``side_rates`` does not fit a network.
    """
    lasting = teacher is None or only_teaches(teacher)
    if structure_of(settings) == "sides":
        if lasting:
            cause = "it pairs side outputs, and this teacher is one map without any"
            raise ConfigError("rounds.structure sides", cause, "Use structure fusion or fused")
        counts = [len(getattr(model, "weights", ())) for model in (teacher, student)]
        if counts[0] != counts[1]:
            cause = f"it pairs side outputs, and the teacher has {counts[0]}, the student {counts[1]}"
            raise ConfigError("rounds.structure sides", cause, "Use structure fusion, or a student of the teacher's kind")
    for model in (student,) if teacher is None or lasting else (student, teacher):
        param_groups(model, settings.learning_rate, settings.side_rates)
