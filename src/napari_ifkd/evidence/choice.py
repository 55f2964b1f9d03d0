"""From estimates to a candidate and a threshold, with a reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .estimates import estimate

if TYPE_CHECKING:
    from .answers import Answers
    from .frame import Frame
    from .measures import Candidates, Estimates, Interval

_SURE = 0.75  # probability of being better from which what is in use gives way
_ANY = 0.0005  # F1: what is less is told as no difference


class Incumbent(NamedTuple):
    """What is used unless something speaks against it."""

    candidate: int
    threshold: float


@dataclass(frozen=True, eq=False)
class Choice:
    """The pair to use.

    Attributes
    ----------
    candidate : index of it
    name : of the candidate
    threshold : a pixel is tumour from this probability on
    f1, precision, recall : of the pair, with 95 % intervals
    area : tumour share, whatever the candidate
    marked : share that the pair marks
    kept : whether it is the incumbent's candidate
    reason : one sentence for a person
    estimates : of all pairs
    """

    candidate: int
    name: str
    threshold: float
    f1: Interval
    precision: Interval
    recall: Interval
    area: Interval
    marked: float
    kept: bool
    reason: str
    estimates: Estimates


def choose(frame: Frame, answers: Answers, incumbent: Incumbent | None = None) -> Choice:
    """Choose the candidate and threshold of the highest estimated F1.

    An incumbent stays where nothing speaks against it: another candidate must be better than the incumbent's at its best threshold with a
    probability of 75 %, and so must another threshold than the incumbent's.

    Parameters
    ----------
    frame : candidates on their pixels
    answers : of a person
    incumbent : what is in use, such as the teacher at the threshold of the settings
    """
    return settle(frame, estimate(frame, answers), incumbent)


def settle(among: Candidates, found: Estimates, incumbent: Incumbent | None = None) -> Choice:
    """Do as :func:`choose`, from estimates that are there already, of whatever evidence."""
    f1 = found.merit
    best = _best(f1)
    if incumbent is None:
        return _choice(among, found, best, True, f"{_told(among, best)} has the highest estimated F1 of {f1.size} pairs")
    own = incumbent.candidate, int(np.abs(np.asarray(among.thresholds) - incumbent.threshold).argmin())
    tuned = own[0], int(f1[own[0]].argmax())
    name = among.names[own[0]]
    if best[0] != own[0]:
        sure, by = found.compare(best, tuned)[1], _by(found, best, tuned)
        if sure >= _SURE:
            better = f"{_told(among, best)} is better than {_told(among, tuned)}, each at its best threshold{by and f', {by}'}"
            more = _higher(among, found, best)
            reason = f"{better}, with a probability of {_sure(sure)}{more and f'; {more}'}"
            return _choice(among, found, best, False, reason)
        better = f"is better {by} with a probability of only {int(100 * sure)}%" if by else "is as good"
        which = "the most promising of the others, " if len(among.names) > 2 else ""
        stays = f"{name} stays: {which}{_told(among, best)}{',' if which else ''} {better}"
    else:
        stays = ""
    sure = found.compare(tuned, own)[1]
    moves = tuned != own and sure >= _SURE
    stays = stays or f"{name} stays: {_higher(among, found, tuned if moves else own) or 'no other has a higher estimated F1'}"
    if moves:
        by = _by(found, tuned, own)
        better = f"{name} is better at {_threshold(among, tuned)} than at {_threshold(among, own)}, the usual threshold{by and f', {by}'}"
        reason = f"{stays}; {better}, with a probability of {_sure(sure)}"
        return _choice(among, found, tuned, True, reason)
    return _choice(among, found, own, True, f"{stays}; nothing speaks for a threshold other than {_threshold(among, own)}")


def _by(found: Estimates, pair: tuple[int, int], other: tuple[int, int]) -> str:
    """Tell how much higher the F1 of a pair is, as the figures that are told of both say; "" where it is not."""
    gain = found.f1.at(*pair).value - found.f1.at(*other).value
    return f"by {gain:.3f} F1" if gain >= _ANY else ""


def _higher(among: Candidates, found: Estimates, chosen: tuple[int, int]) -> str:
    """Tell of the candidate that has a higher figure than what is chosen all the same, and how little that says; "" where none has."""
    others = [(each, int(found.merit[each].argmax())) for each in range(len(among.names)) if each != chosen[0]]
    best = max(others, key=lambda pair: found.f1.at(*pair).value, default=chosen)
    higher = found.f1.at(*best).value - found.f1.at(*chosen).value
    if higher < _ANY:
        return ""
    return f"{_told(among, best)} has {higher:.3f} F1 more, and is better with a probability of {found.compare(best, chosen)[1]:.0%}"


def _best(f1: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[int, int]:
    candidate, threshold = np.unravel_index(int(f1.argmax()), f1.shape)
    return int(candidate), int(threshold)


def _choice(among: Candidates, found: Estimates, pair: tuple[int, int], kept: bool, reason: str) -> Choice:
    return Choice(
        candidate=pair[0],
        name=among.names[pair[0]],
        threshold=among.thresholds[pair[1]],
        f1=found.f1.at(*pair),
        precision=found.precision.at(*pair),
        recall=found.recall.at(*pair),
        area=found.area,
        marked=float(found.marked[pair]),
        kept=kept,
        reason=f"{reason} ({found.evidence}). F1 there: {found.f1.at(*pair).value:.2f}.",
        estimates=found,
    )


def _told(among: Candidates, pair: tuple[int, int]) -> str:
    return f"{among.names[pair[0]]} at {_threshold(among, pair)}"


def _sure(probability: float) -> str:
    """Return a probability that is a share of draws: none of them is no proof that there can be none."""
    return "over 99%" if probability > 0.99 else f"{probability:.0%}"


def _threshold(among: Candidates, pair: tuple[int, int]) -> str:
    return f"{among.thresholds[pair[1]]:g}"
