"""What evidence says of the rounds of a run: figures of each, and which round and threshold to use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from napari_ifkd.evidence import Incumbent, Interval, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.evidence import Candidates, Estimates

    from .folder import RunFolder

By = Literal["points", "reference"]
_RANK = {"points": 1, "reference": 2}
TOLD_BY: dict[str, str] = {"points": "points", "reference": "reference masks"}
_INSTEAD: dict[By, str] = {"points": "Answer more points, or take another teacher.", "reference": "Take another teacher."}
_NEARLY_ALL = 0.9  # share of the tissue


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """A round at its best threshold, with 95 % intervals.

    Attributes
    ----------
    round : 0 is the teacher
    name : for a person
    threshold : a pixel is tumour from this probability on; the interval holds what is not surely worse
    marked : share of the tissue in question that it marks; known
    marked_mm2 : the same as an area; None where nobody knows the resolution
    precision, recall, f1 : against what the evidence says is tumour
    """

    round: int
    name: str
    threshold: Interval
    marked: float
    marked_mm2: float | None
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which round to use from which probability, and why.

    Attributes
    ----------
    by : the kind of evidence
    evidence : what there was of it, in words
    rounds : figures of each
    chosen : the round and threshold to use
    kept : whether that is the teacher
    decides : whether the evidence is enough to decide
    reason : one sentence for a person
    tumour : share of the tissue in question
    tumour_mm2 : the same as an area
    """

    by: By
    evidence: str
    rounds: tuple[RoundFigures, ...]
    chosen: RoundFigures
    kept: bool
    decides: bool
    reason: str
    tumour: Interval
    tumour_mm2: Interval | None

    @property
    def f1_of_all(self) -> float:
        """F1 of marking all tissue, whose precision is the share of tumour p, and recall 1: 2 p / (1 + p)."""
        return 2 * self.tumour.value / (1 + self.tumour.value)

    def told(self) -> str:
        """Return the criterion, the reason and the figures of the chosen round, in one line."""
        chosen = self.chosen
        numbers = f"F1 {chosen.f1}, precision {chosen.precision}, recall {chosen.recall}, tumour share {self.tumour}"
        return f"By {TOLD_BY[self.by]}: {self.reason} At threshold {chosen.threshold.value:g}: {numbers}."

    def record(self) -> dict[str, Any]:
        """Return it ready for JSON; an interval is an object of value, low and high."""
        return {
            "by": self.by,
            "evidence": self.evidence,
            "decides": self.decides,
            "advice": {
                "round": self.chosen.round,
                "threshold": self.chosen.threshold.value,
                "teacher_kept": self.kept,
                "reason": self.reason,
            },
            "tumour_share": self.tumour._asdict(),
            "tumour_mm2": None if self.tumour_mm2 is None else self.tumour_mm2._asdict(),
            "rounds": [_figures_record(figures) for figures in self.rounds],
        }


def judge(
    by: By, rounds: Sequence[int], among: Candidates, found: Estimates, threshold: float, area_um2: float | None, too_little: str = ""
) -> Judgement:
    """Choose among the teacher and the rounds; the teacher at the threshold in use stays unless something speaks against it.

    Where what would be chosen is no better than marking all tissue, the evidence decides nothing.

    Parameters
    ----------
    by : the kind of evidence
    rounds : the candidates' rounds, the teacher's first
    among : the candidates
    found : what the evidence says of them
    threshold : in use
    area_um2 : of the tissue in question, None where nobody knows
    too_little : why the evidence does not decide, as a sentence; empty where it does
    """
    area = None if area_um2 is None else area_um2 / 1e6  # mm2

    def figures(candidate: int, threshold: float) -> RoundFigures:
        step = among.thresholds.index(threshold)
        share = float(found.marked[candidate, step])
        near = found.thresholds[candidate]
        return RoundFigures(
            rounds[candidate],
            among.names[candidate],
            Interval(threshold, min(near.low, threshold), max(near.high, threshold)),
            share,
            None if area is None else share * area,
            *(measure.at(candidate, step) for measure in (found.precision, found.recall, found.f1)),
        )

    choice = settle(among, found, Incumbent(0, threshold))
    chosen = figures(choice.candidate, choice.threshold)
    every = tuple(
        chosen if candidate == choice.candidate else figures(candidate, best.value) for candidate, best in enumerate(found.thresholds)
    )
    reason = choice.reason[0].upper() + choice.reason[1:]
    judgement = Judgement(
        by=by,
        evidence=found.evidence,
        rounds=every,
        chosen=chosen,
        kept=choice.kept,
        decides=not too_little,
        reason=too_little or reason,
        tumour=found.area,
        tumour_mm2=None if area is None else Interval(*(area * share for share in found.area)),
    )
    if too_little or not _no_better(judgement):
        return judgement
    best = f"what would be chosen, {chosen.name} at {chosen.threshold.value:g}, marks {chosen.marked:.0%} of it"
    return replace(judgement, decides=False, reason=f"No better than marking all tissue as tumour: {best}. {_INSTEAD[by]}")


def _no_better(judgement: Judgement) -> bool:
    """Tell whether the mask that is chosen is no better than all tissue, and marks more of it than can be tumour.

    Of a share m of the tissue, at most the share tumour / m can be tumour: where m is nearly 1, no such mask is much more precise than all.
    """
    chosen, tumour = judgement.chosen, judgement.tumour
    if chosen.marked <= tumour.high:
        return False
    return chosen.f1.value <= judgement.f1_of_all or (chosen.marked >= _NEARLY_ALL and chosen.precision.low <= tumour.value)


def about(mm2: float) -> str:
    """Return an area that is known from a sample of the tissue: a third digit would be chance."""
    return f"{float(f'{mm2:.2g}'):,g}"


def name_of(round: int) -> str:
    """Return what to call a round in a sentence."""
    return f"round {round}" if round else "the teacher"


def stands_above(one: str, other: str) -> bool:
    """Return whether what is accepted by one kind of evidence stays where another would choose otherwise; a person stands above all."""
    first, second = (_RANK.get(by, len(_RANK) + 1) for by in (one, other))
    return first > second


def put_down(folder: RunFolder, judgement: Judgement) -> bool:
    """Write what the evidence chose into accepted.json, unless it does not decide or stands below what is there.

    The user's own word stands above reference masks, these above points.

    Returns
    -------
    whether it was written
    """
    there = folder.accepted
    if not judgement.decides or (there is not None and stands_above(there.by, judgement.by)):
        return False
    sigma_px = folder.config.inference.sigma_px  # at which evidence is judged
    folder.accept(judgement.chosen.round, judgement.chosen.threshold.value, judgement.by, judgement.reason, sigma_px)
    return True


def _figures_record(figures: RoundFigures) -> dict[str, Any]:
    fields = ((name, getattr(figures, name)) for name in RoundFigures.__dataclass_fields__)
    return {name: value._asdict() if isinstance(value, Interval) else value for name, value in fields}
