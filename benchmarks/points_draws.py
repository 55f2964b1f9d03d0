"""Simulated answers: one draw of a frame and of points, and what comes of it at each number of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from napari_ifkd.evidence import FRAME_PIXELS, THRESHOLDS, Answers, Choice, Frame, Incumbent, estimate, propose, settle
from napari_ifkd.runs.judgement import judge

if TYPE_CHECKING:
    from points_populations import Population

POINTS = (10, 30, 100, 300)
MEASURES = ("f1", "precision", "recall", "area")
_BATCH = 10  # as a person is asked


@dataclass(frozen=True)
class Outcome:
    """What one draw came to with so many points.

    Parameters
    ----------
    lost, lost_by_candidate : F1 behind the best pair; behind it at the chosen candidate's best threshold
    covered : of each measure of the chosen pair, whether the interval holds the truth
    half_width : of each measure's interval
    threshold_covered : whether the best threshold of the chosen candidate lies in its interval
    flattering_covered : the same as ``covered["f1"]``, for the pair of the highest estimate instead
    lost_from_worst, left_best : with the worst candidate at .5 in use before, F1 lost; with the best pair in use, whether it was left
    undecided : whether the program, with the first candidate at .5 in use, says that no mask is better than all tissue
    plain_lost, plain_covered : of as many points drawn with equal chances, and F1 counted on them
    """

    lost: float
    lost_by_candidate: float
    covered: dict[str, bool]
    half_width: dict[str, float]
    threshold_covered: bool
    flattering_covered: bool
    lost_from_worst: float
    left_best: bool
    undecided: bool
    plain_lost: float
    plain_covered: bool


def draw(population: Population, seed: int) -> dict[int, Outcome]:
    """Simulate one person's answers, in batches of ten."""
    rng = np.random.default_rng(seed)
    index = rng.choice(population.truth.size, FRAME_PIXELS, replace=False)
    frame, truth = Frame(population.candidates, population.probability[:, index]), population.truth[index]
    answers = Answers.none(len(population.candidates))
    outcomes = {}
    while len(answers) < max(POINTS):
        got = propose(frame, answers, _BATCH, rng)
        batch = np.full(len(got.index), len(answers))
        answers = answers.joined(Answers(frame.probability[:, got.index], truth[got.index], got.inclusion, batch))
        if len(answers) in POINTS:
            plain = rng.choice(FRAME_PIXELS, len(answers), replace=False)
            outcomes[len(answers)] = _outcome(population, frame, answers, *_plain(population, frame, truth, plain))
    return outcomes


def _outcome(population: Population, frame: Frame, answers: Answers, plain_lost: float, plain_covered: bool) -> Outcome:
    f1, best = population.f1, float(population.f1.max())
    found = estimate(frame, answers)
    choice = settle(frame, found)
    pair = _pair(choice)
    tumour = population.truth.sum()
    true = {
        "f1": f1[pair],
        "precision": population.hit[pair] / population.marked[pair],
        "recall": population.hit[pair] / tumour,
        "area": tumour / population.truth.size,
    }
    told = {name: getattr(choice, name) for name in MEASURES}
    thresholds = choice.estimates.thresholds[choice.candidate]
    estimated = choice.estimates.f1
    flattering = np.unravel_index(int(estimated.value.argmax()), f1.shape)
    top = np.unravel_index(int(f1.argmax()), f1.shape)
    worst = Incumbent(int(f1.max(axis=1).argmin()), 0.5)
    return Outcome(
        lost=best - float(f1[pair]),
        lost_by_candidate=best - float(f1[pair[0]].max()),
        covered={name: bool(told[name].low <= true[name] <= told[name].high) for name in MEASURES},
        half_width={name: (told[name].high - told[name].low) / 2 for name in MEASURES},
        threshold_covered=bool(thresholds.low <= frame.thresholds[int(f1[pair[0]].argmax())] <= thresholds.high),
        flattering_covered=bool(estimated.low[flattering] <= f1[flattering] <= estimated.high[flattering]),
        lost_from_worst=best - float(f1[_pair(settle(frame, found, worst))]),
        left_best=not settle(frame, found, Incumbent(int(top[0]), frame.thresholds[int(top[1])])).kept,
        undecided=not judge("points", range(len(frame.names)), frame, found, 0.5, None).decides,
        plain_lost=plain_lost,
        plain_covered=plain_covered,
    )


def _pair(choice: Choice) -> tuple[int, int]:
    return choice.candidate, THRESHOLDS.index(choice.threshold)


def _plain(population: Population, frame: Frame, truth: np.ndarray, index: np.ndarray) -> tuple[float, bool]:
    """Choose by F1 counted on points of equal chances, with the usual interval: F1 lost, and whether the interval holds the truth."""
    z = truth[index]
    mask = frame.passed(frame.probability[:, index])[:, None, :] > np.arange(len(frame.thresholds))[:, None]
    below = mask.sum(axis=-1) + z.sum()
    f1 = 2 * (mask & z).sum(axis=-1) / np.maximum(below, 1)
    pair = np.unravel_index(int(f1.argmax()), f1.shape)
    pull = (2 * (mask[pair] & z) - f1[pair] * (mask[pair] + z.astype(float))) / max(below[pair], 1)
    half = norm.ppf(0.975) * np.sqrt((pull**2).sum())
    true = population.f1[pair]
    return float(population.f1.max() - true), bool(abs(f1[pair] - true) <= half)
