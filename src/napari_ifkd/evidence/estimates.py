"""Threshold, area, precision, recall and F1 of every candidate at every threshold, with 95 % intervals.

Two estimates are joined. The model's is the sum of the calibrated probabilities over the frame; it is sharp, shrunk by its prior, and
wrong where the model is. The design's corrects it by the answers' residuals, each weighted by what its point stands for (a difference, or
model-assisted, estimator: Sarndal, Swensson and Wretman 1992); it is right whatever the model is, and noisy. The model counts as much as
`MODEL_WORTH` answers, so that few answers lean on it and many do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit  # scipy.stats takes a second to import, in each run anew

from .calibration import calibrate
from .measures import Estimates, Interval, Measure, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .answers import Answers
    from .calibration import Calibration
    from .frame import Frame

    Floats = NDArray[np.float64]

MODEL_WORTH = 100
_DRAWS = 200
_TAIL = 0.975


class _Totals(NamedTuple):
    """Marked tumour of each pair and all tumour, pixels of the frame; leading axes of draws are allowed."""

    hit: Floats  # (..., C, J)
    tumour: Floats  # (..., 1, 1)


class _Gain:
    """Compares pairs, as the model does; the standard deviation joins the model's and the design's."""

    def __init__(self, value: Floats, drawn: Floats, pull: Floats, residual_sd: Floats, share: float) -> None:
        self._value, self._drawn, self._pull, self._residual_sd, self._share = value, drawn, pull, residual_sd, share

    def __call__(self, pair: tuple[int, int], over: tuple[int, int]) -> tuple[float, float]:
        gain, sd = float(self._value[pair] - self._value[over]), float(self._sd(self._at(*pair), self._at(*over)))
        return gain, float(ndtr(gain / sd)) if sd > 0 else 0.5

    def sd_behind_best(self) -> Floats:
        """Return the standard deviation of how far each pair is behind its candidate's best one, ``(C, J)``."""
        best = self._value.argmax(axis=1)
        rows = [self._sd(self._at(c, slice(None)), self._at(c, slice(j, j + 1))) for c, j in enumerate(best)]
        return np.array(rows)

    def _at(self, candidate: int, threshold: int | slice) -> tuple[Floats, Floats]:
        return self._drawn[:, candidate, threshold], self._pull[candidate, threshold]

    def _sd(self, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
        model = (one[0] - other[0]).std(axis=0)
        design = np.sqrt((((one[1] - other[1]) * self._residual_sd) ** 2).sum(axis=-1))
        return np.asarray((1 - self._share) * model + self._share * design)


def estimate(frame: Frame, answers: Answers, seed: int = 0) -> Estimates:
    """Estimate everything from the answers.

    The intervals are for any pair, also the one that looks best: what is estimated is pulled towards the model's prior, which knows no
    favourite, and ``benchmarks/points.py`` measures how often they cover after choosing.

    Parameters
    ----------
    frame : candidates on their pixels
    answers : of which there may be none
    seed : of the draws from the posterior
    """
    model = calibrate(frame, answers)
    size, n = len(frame), len(answers)
    share = n / (n + MODEL_WORTH)
    plain = _totals(frame, model.predict(frame.own_features)[None])
    plain = _Totals(plain.hit[0], plain.tumour[0])
    drawn = _totals(frame, model.draws(frame.own_features, seed, _DRAWS))

    residual, residual_sd, marks = _residuals(frame, answers, model)  # (n,), (n,), (C, J, n)
    tumour = np.clip(plain.tumour + residual.sum(), 0, size)
    hit = np.clip(plain.hit + marks @ residual, 0, np.minimum(frame.marked, tumour))
    corrected = _Totals(hit, tumour)
    quantile = float(stdtrit(max(n - 1, 1), _TAIL))

    def measured(of: _Measured, pull: Floats) -> Measure:
        """Join the two estimates of a measure whose derivative with respect to a point's truth is `pull`, ``(C, J, n)``."""
        value = (1 - share) * of(plain) + share * of(corrected)
        model = np.sqrt(((of(drawn) - of(plain)) ** 2).mean(axis=0))
        design = np.sqrt(((pull * residual_sd) ** 2).sum(axis=-1))
        half = quantile * ((1 - share) * model + share * design)  # as if both erred alike: they see the same answers
        return Measure(value, np.clip(value - half, 0, 1), np.clip(value + half, 0, 1))

    def f1(totals: _Totals) -> Floats:
        return ratio(2 * totals.hit, frame.marked + totals.tumour)

    def precision(totals: _Totals) -> Floats:
        return ratio(totals.hit, np.broadcast_to(frame.marked, totals.hit.shape))

    def recall(totals: _Totals) -> Floats:
        return ratio(totals.hit, np.broadcast_to(totals.tumour, totals.hit.shape))

    def area(totals: _Totals) -> Floats:
        return totals.tumour / size

    f1_pull = ratio(2 * marks - f1(corrected)[..., None], (frame.marked + corrected.tumour)[..., None])
    model_f1 = f1(plain)
    f1_all = measured(f1, f1_pull)
    whole = measured(area, np.full((1, 1, n), 1 / size))
    gain = _Gain(model_f1, f1(drawn), f1_pull, residual_sd, share)
    return Estimates(
        f1=f1_all,
        precision=measured(precision, ratio(marks, frame.marked[..., None])),
        recall=measured(recall, ratio(marks - recall(corrected)[..., None], np.broadcast_to(corrected.tumour, frame.shape)[..., None])),
        area=whole.at(0, 0),
        marked=frame.marked / size,
        merit=model_f1,  # of the model alone: noise that favours one pair cannot lift it
        thresholds=_thresholds(frame, model_f1, gain.sd_behind_best()),
        evidence=f"{n} answered points",
        compare=gain,
    )


if TYPE_CHECKING:
    from collections.abc import Callable

    _Measured = Callable[[_Totals], Floats]


def _totals(frame: Frame, probability: Floats) -> _Totals:
    return _Totals(frame.sums(probability), probability.sum(axis=1)[:, None, None])


def _residuals(frame: Frame, answers: Answers, model: Calibration) -> tuple[Floats, Floats, Floats]:
    """Return each point's expanded residual, its standard deviation, and which pairs mark the point.

    Each residual is that of a model that did not see the answer (to first order), else the model would look better than it is. The
    variance is the larger of the residual's square and of what the model expects: squares alone vanish where few answers are all alike.
    """
    features = frame.features(answers.probability)
    p = model.predict(features)
    unseen = (answers.tumour - p) / (1 - model.leverage(features))
    expansion = answers.weights * len(frame)
    sd = expansion * np.sqrt(np.maximum(unseen**2, p * (1 - p)))
    marks = frame.passed(answers.probability)[:, None, :] > np.arange(len(frame.thresholds))[:, None]
    return expansion * unseen, sd, marks.astype(np.float64)


def _thresholds(frame: Frame, f1: Floats, sd_behind: Floats) -> tuple[Interval, ...]:
    """Return the best threshold of each candidate, and from the first to the last one that is not surely behind it in F1."""
    grid = np.asarray(frame.thresholds)
    near = f1.max(axis=1, keepdims=True) - f1 <= ndtri(_TAIL) * sd_behind
    return tuple(
        Interval(float(grid[row.argmax()]), float(grid[close].min()), float(grid[close].max())) for row, close in zip(f1, near, strict=True)
    )
