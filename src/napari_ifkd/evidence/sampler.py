"""Which pixels to ask about next: those where the answer would tell most about which candidate and threshold is best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .calibration import calibrate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .answers import Answers
    from .frame import Frame

    Floats = NDArray[np.float64]

_UNIFORM = 0.2  # share drawn with equal chances: bounds every weight, and looks where the model is sure
_DISAGREEMENT = 0.9  # share of the rest's interest in where good pairs differ; what remains is how good they are
_CLOSE = 0.01  # F1 behind the best within which a pair is still in the running
_LEAST_VARIANCE = 0.02  # of an answer


@dataclass(frozen=True, eq=False)
class Proposal:
    """Pixels to ask about, drawn together.

    Attributes
    ----------
    index : ``(k,)`` of the frame's pixels, each at most once
    inclusion : ``(k,)`` in (0, 1], with which probability each came into this batch
    """

    index: NDArray[np.int64]
    inclusion: Floats


def propose(frame: Frame, answers: Answers, count: int, rng: np.random.Generator) -> Proposal:
    """Draw the next batch: systematically along the mean score, with chances in proportion to what an answer would tell.

    What it would tell is the standard deviation of the answer times how much it moves F1 (Neyman's allocation), for the pairs that may
    be the best one given the answers so far. The chances follow from the frame and the earlier answers alone, so each batch is a
    probability sample of the frame by itself.

    Parameters
    ----------
    frame : candidates on their pixels
    answers : so far; see :meth:`Answers.none`
    count : points wanted; at most as many as the frame has pixels
    rng : of the draw
    """
    inclusion = inclusion_probabilities(_interest(frame, answers, seed=int(rng.integers(2**31))), count)
    order = np.argsort(frame.own_features[:, 1], kind="stable")
    reached = np.cumsum(inclusion[order])
    hits = np.searchsorted(reached, rng.random() + np.arange(round(reached[-1])), "right")
    index = order[np.minimum(hits, len(frame) - 1)]
    return Proposal(index, inclusion[index])


def inclusion_probabilities(interest: Floats, count: int) -> Floats:
    """Return probabilities that sum to `count`, in proportion to `interest` but nowhere above 1, ``(M,)``."""
    count = min(count, len(interest))
    share = (1 - _UNIFORM) * interest / interest.sum() + _UNIFORM / len(interest)
    certain = np.zeros(len(share), bool)
    while True:
        free = count - certain.sum()
        inclusion = np.where(certain, 1.0, free * share / max(share[~certain].sum(), 1e-300))
        over = (inclusion > 1) & ~certain
        if not over.any():
            return inclusion
        certain |= over


def _interest(frame: Frame, answers: Answers, seed: int) -> Floats:
    model = calibrate(frame, answers)
    drawn = model.draws(frame.own_features, seed)
    f1 = 2 * frame.sums(drawn) / (frame.marked + drawn.sum(axis=1)[:, None, None])  # (D, C, J)
    running = np.exp((f1 - f1.max(axis=(1, 2), keepdims=True)) / _CLOSE)
    weight = (running / running.sum(axis=(1, 2), keepdims=True)).mean(axis=0)
    mean = f1.mean(axis=0)
    # one answer z moves F1 of a pair by (2 [marked] - F1) / (marked + tumour): its square, averaged over the pairs
    marking = frame.spread(weight)
    level = 4 * marking - 4 * frame.spread(weight * mean) + (weight * mean**2).sum()
    contrast = 4 * (marking - marking**2)
    p = model.predict(frame.own_features)
    interest: Floats = np.sqrt(p * (1 - p) + _LEAST_VARIANCE)
    interest *= np.sqrt(np.maximum((1 - _DISAGREEMENT) * level + 2 * _DISAGREEMENT * contrast, 0))
    return interest + 1e-12  # equal chances where nothing tells anything
