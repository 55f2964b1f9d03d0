"""The frame: a uniform random sample of pixels, with the probability each candidate gives them. It stands for the whole tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse, special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

THRESHOLDS: tuple[float, ...] = tuple(round(0.05 + 0.025 * step, 3) for step in range(37))
"""Thresholds that are compared: .05 to .95."""

FRAME_PIXELS = 10_000
"""Enough that what the frame adds to the noise of a few hundred answers is small (F1 to about .006)."""

_LOGIT_PER_SD = 1.7  # a logistic curve in logits is nearly a normal one in standard deviations of this many logits


@dataclass(frozen=True, eq=False)
class Frame:
    """Pixels drawn at random, all with the same chance, and what each candidate says of them.

    Parameters
    ----------
    names : of the candidates
    probability : ``(C, M)`` in [0, 1], smoothed as the mask will be
    thresholds : ``(J,)``, rising; a pixel is tumour from its threshold on

    Raises
    ------
    ValueError
        If there is no pixel or candidate, or the numbers are no probabilities.
    """

    names: tuple[str, ...]
    probability: NDArray[np.float32]
    thresholds: tuple[float, ...] = THRESHOLDS

    def __post_init__(self) -> None:
        p = self.probability
        if p.ndim != 2 or p.shape[0] != len(self.names) or 0 in p.shape:
            raise ValueError(f"probabilities of shape {p.shape} for {len(self.names)} candidates")
        if not (np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1):
            raise ValueError("values outside 0 to 1 are no probabilities")

    def __len__(self) -> int:
        """Return the number of pixels."""
        return int(self.probability.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of candidates and of thresholds, ``(C, J)``: of the pairs to choose among."""
        return len(self.names), len(self.thresholds)

    def passed(self, probability: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return how many thresholds each probability reaches, ``(C, n)``: pixel i is tumour to pair (c, j) where the answer is above j."""
        return np.searchsorted(np.asarray(self.thresholds, np.float32), np.asarray(probability, np.float32), "right")

    def features(self, probability: NDArray[np.floating]) -> Floats:
        """Return what the calibration sees: one, the mean score, each candidate's deviation from it.

        A candidate's score is the normal score of a pixel's rank among its values on the frame, so that candidates that say the same
        in other numbers (too high throughout, say) look the same, and no candidate is judged by its calibration.

        Parameters
        ----------
        probability : ``(C, n)``

        Returns
        -------
        ``(n, 2 + C)``
        """
        size = len(self)
        below = [np.searchsorted(known, p, "left") for known, p in zip(self._sorted, probability, strict=True)]
        up_to = [np.searchsorted(known, p, "right") for known, p in zip(self._sorted, probability, strict=True)]
        rank = (np.array(below) + np.array(up_to)) / (2 * size)
        score = _LOGIT_PER_SD * special.ndtri(np.clip(rank, 0.5 / size, 1 - 0.5 / size))
        mean = score.mean(axis=0)
        features: Floats = np.concatenate([np.ones_like(mean)[None], mean[None], score - mean]).T
        return features

    @cached_property
    def own_features(self) -> Floats:
        """The features of the frame's own pixels, ``(M, 2 + C)``."""
        return self.features(self.probability)

    @cached_property
    def own_passed(self) -> NDArray[np.int64]:
        """Thresholds reached by the frame's own pixels, ``(C, M)``."""
        return self.passed(self.probability)

    @cached_property
    def marked(self) -> Floats:
        """Pixels that each pair marks, ``(C, J)``."""
        counts: Floats = self.sums(np.ones((1, len(self))))[0]
        return counts

    def sums(self, values: Floats) -> Floats:
        """Sum values over the pixels that each pair marks.

        Parameters
        ----------
        values : ``(D, M)``, one a pixel

        Returns
        -------
        ``(D, C, J)``
        """
        candidates, thresholds = self.shape
        binned = np.asarray(self._bins @ values.T).T.reshape(len(values), candidates, thresholds + 1)
        summed: Floats = binned[:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]
        return summed

    def spread(self, weights: Floats) -> Floats:
        """Sum the weights ``(C, J)`` of the pairs that mark each of the frame's pixels, ``(M,)``."""
        up_to = np.pad(weights.cumsum(axis=1), ((0, 0), (1, 0)))
        summed: Floats = np.take_along_axis(up_to, self.own_passed, axis=1).sum(axis=0)
        return summed

    @cached_property
    def _sorted(self) -> NDArray[np.float32]:
        return np.sort(self.probability, axis=1)

    @cached_property
    def _bins(self) -> sparse.csr_matrix:
        candidates, thresholds = self.shape
        row = self.own_passed + (np.arange(candidates) * (thresholds + 1))[:, None]
        column = np.broadcast_to(np.arange(len(self)), row.shape)
        shape = candidates * (thresholds + 1), len(self)
        return sparse.csr_matrix((np.ones(row.size), (row.ravel(), column.ravel())), shape=shape)
