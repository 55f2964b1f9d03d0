"""How likely tumour is at each pixel of the frame, learnt from the answers: a logistic model with a prior, and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .answers import Answers
    from .frame import Frame

    Floats = NDArray[np.float64]

# Before any answer: the candidates' mean score is right in rank (slope 1), their mean probability in area, and no one of them knows better.
_SD_AREA, _SD_SLOPE, _SD_CANDIDATE = 1.5, 0.5, 0.3
_DRAWS = 64
_STEPS, _TOLERANCE, _LONGEST = 100, 1e-8, 2.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """The model of tumour given what the candidates say, at its mode, with a normal posterior (Laplace).

    Attributes
    ----------
    beta : ``(P,)`` coefficients of :meth:`Frame.features`
    covariance : ``(P, P)``
    """

    beta: Floats
    covariance: Floats

    def predict(self, features: Floats) -> Floats:
        """Return the probability of tumour for features ``(n, P)``, ``(n,)``."""
        probability: Floats = expit(features @ self.beta)
        return probability

    def draws(self, features: Floats, seed: int, count: int = _DRAWS) -> Floats:
        """Return the probability of tumour under models drawn from the posterior, ``(count, n)``."""
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(self.covariance)
        betas = self.beta + rng.standard_normal((count, len(self.beta))) @ root.T
        probability: Floats = expit(betas @ features.T)
        return probability

    def leverage(self, features: Floats) -> Floats:
        """Return by which share each point pulls its own prediction towards its answer, ``(n,)`` in [0, 1)."""
        p = self.predict(features)
        leverage: Floats = p * (1 - p) * np.einsum("ni,ij,nj->n", features, self.covariance, features)
        return leverage


def calibrate(frame: Frame, answers: Answers) -> Calibration:
    """Fit the model to the answers; without any it is the prior.

    The answers count alike: where a point was drawn follows from what the candidates say, which the model knows.
    """
    features = frame.features(answers.probability)
    said = answers.tumour.astype(np.float64)
    prior = np.zeros(2 + len(frame.names))
    prior[:2] = logit(np.clip(float(frame.probability.mean()), 0.02, 0.98)), 1.0
    precision = np.diag([_SD_AREA**-2, _SD_SLOPE**-2, *[_SD_CANDIDATE**-2] * len(frame.names)])
    beta = prior.copy()
    for _ in range(_STEPS):
        p = expit(features @ beta)
        step = np.linalg.solve(_curvature(features, p, precision), features.T @ (said - p) - precision @ (beta - prior))
        longest = float(np.abs(step).max())
        beta = beta + step * min(1.0, _LONGEST / max(longest, _TOLERANCE))  # Newton overshoots where all answers are alike
        if longest < _TOLERANCE:
            break
    return Calibration(beta, np.asarray(np.linalg.inv(_curvature(features, expit(features @ beta), precision)), np.float64))


def _curvature(features: Floats, p: Floats, precision: Floats) -> Floats:
    curvature: Floats = (features * (p * (1 - p))[:, None]).T @ features + precision
    return curvature
