"""How likely tumour is at each pixel of the frame, learnt from the answers: a logistic model with a prior, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, log_expit, logit, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .answers import Answers
    from .frame import Frame

    Floats = NDArray[np.float64]

# Before any answer: the candidates' mean probability is right in area, their mean score in rank, and no one of them knows better. How good
# they are (the slope) and how much they differ (the spread) is left open: each pair below is a prior, weighed by what the answers say.
_SD_AREA = 1.5  # logits
_LOGISTIC_VARIANCE = 1.7**2  # of the normal curve nearest to the logistic one
_SLOPES = {1.0: 0.6, 2.0: 0.2, 4.0: 0.2}  # with their weight before any answer
_SD_SLOPE = 0.5  # as a share of the slope
_SPREADS = {0.15: 0.25, 0.3: 0.5, 0.6: 0.25}  # standard deviation of a candidate's own coefficient, with its weight
_DRAWS = 64
_STEPS, _TOLERANCE, _LONGEST = 100, 1e-8, 2.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """A mixture of models of tumour given what the candidates say, each at its mode with a normal posterior (Laplace).

    Attributes
    ----------
    weight : ``(K,)``, how likely each prior is after the answers
    beta : ``(K, P)`` coefficients of :meth:`Frame.features`
    covariance : ``(K, P, P)``
    """

    weight: Floats
    beta: Floats
    covariance: Floats

    def predict(self, features: Floats) -> Floats:
        """Return the probability of tumour for features ``(n, P)``, ``(n,)``."""
        probability: Floats = self.weight @ expit(self.beta @ features.T)
        return probability

    def draws(self, features: Floats, seed: int, count: int = _DRAWS) -> Floats:
        """Return the probability of tumour under models drawn from the posterior, ``(count, n)``."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.weight), count, p=self.weight)
        roots = np.linalg.cholesky(self.covariance)
        betas = self.beta[which] + np.einsum("dij,dj->di", roots[which], rng.standard_normal((count, self.beta.shape[1])))
        probability: Floats = expit(betas @ features.T)
        return probability

    def leverage(self, features: Floats) -> Floats:
        """Return by which share each point pulls its own prediction towards its answer, ``(n,)`` in [0, 1)."""
        p = expit(self.beta @ features.T)
        own = p * (1 - p) * np.einsum("ni,kij,nj->kn", features, self.covariance, features)
        leverage: Floats = self.weight @ own
        return leverage


def calibrate(frame: Frame, answers: Answers) -> Calibration:
    """Fit the model to the answers; without any it is the prior.

    The answers count alike: where a point was drawn follows from what the candidates say, which the model knows.
    """
    features = frame.features(answers.probability)
    said = answers.tumour.astype(np.float64)
    area = logit(np.clip(float(frame.probability.mean()), 0.02, 0.98))
    variance = float(frame.own_features[:, 1].var())
    fits, before = [], []
    for (slope, slope_weight), (spread, spread_weight) in product(_SLOPES.items(), _SPREADS.items()):
        steep = np.sqrt(1 + slope**2 * variance / _LOGISTIC_VARIANCE)  # the steeper, the further the intercept for the same area
        prior = np.array([area * steep, slope, *[0.0] * len(frame.names)])
        precision = np.array([_SD_AREA * steep, _SD_SLOPE * slope, *[spread] * len(frame.names)]) ** -2
        fits.append(_fit(features, said, prior, precision))
        before.append(slope_weight * spread_weight)
    evidence, beta, covariance = (np.array(part) for part in zip(*fits, strict=True))
    return Calibration(softmax(evidence + np.log(before)), beta, covariance)


def _fit(features: Floats, said: Floats, prior: Floats, precision: Floats) -> tuple[float, Floats, Floats]:
    """Return the log evidence (Laplace), the mode and the covariance."""

    def curvature(at: Floats) -> Floats:
        p = expit(features @ at)
        curved: Floats = (features * (p * (1 - p))[:, None]).T @ features + np.diag(precision)
        return curved

    beta = prior.copy()
    for _ in range(_STEPS):
        step = np.linalg.solve(curvature(beta), features.T @ (said - expit(features @ beta)) - precision * (beta - prior))
        longest = float(np.abs(step).max())
        beta = beta + step * min(1.0, _LONGEST / max(longest, _TOLERANCE))  # Newton overshoots where all answers are alike
        if longest < _TOLERANCE:
            break
    curved = curvature(beta)
    signed = np.where(said > 0, 1, -1) * (features @ beta)
    fit = log_expit(signed).sum() - (precision * (beta - prior) ** 2).sum() / 2
    evidence = fit + (np.log(precision).sum() - np.linalg.slogdet(curved)[1]) / 2
    return float(evidence), beta, np.asarray(np.linalg.inv(curved), np.float64)
