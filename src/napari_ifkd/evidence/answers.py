"""What a person answered at points of the frame, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answers:
    """Answered points; the unsure ones are left out before.

    Parameters
    ----------
    probability : ``(C, n)``, what each candidate says at the point
    tumour : ``(n,)`` bool, what the person says
    inclusion : ``(n,)`` in (0, 1], with which probability the point was drawn into its batch
    batch : ``(n,)``, numbers that tell apart what was drawn together

    Raises
    ------
    ValueError
        If the numbers do not fit together.
    """

    probability: NDArray[np.float32]
    tumour: NDArray[np.bool_]
    inclusion: NDArray[np.float64]
    batch: NDArray[np.int64]

    def __post_init__(self) -> None:
        if {self.probability.shape[1:], self.inclusion.shape, self.batch.shape} != {self.tumour.shape}:
            raise ValueError("probability, tumour, inclusion and batch differ in length")
        if not ((self.inclusion > 0) & (self.inclusion <= 1)).all():
            raise ValueError("inclusion probabilities lie outside (0, 1]")

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.tumour)

    @classmethod
    def none(cls, candidates: int) -> Answers:
        """Return no answers, for the first proposal."""
        return cls(np.zeros((candidates, 0), np.float32), np.zeros(0, bool), np.zeros(0), np.zeros(0, np.int64))

    @property
    def weights(self) -> NDArray[np.float64]:
        """The share of the frame that each point stands for, ``(n,)``, summing to 1.

        Each batch stands for the frame alone, so it counts by its number of points (Hajek's estimator over the batches pooled).
        """
        if not len(self):
            return np.zeros(0)
        _, which, counts = np.unique(self.batch, return_inverse=True, return_counts=True)
        weights: NDArray[np.float64] = counts[which] / self.inclusion
        weights /= weights.sum()
        return weights

    def joined(self, other: Answers) -> Answers:
        """Return these and the others; the batches of both must have different numbers."""
        return Answers(
            np.concatenate([self.probability, other.probability], axis=1),
            np.concatenate([self.tumour, other.tumour]),
            np.concatenate([self.inclusion, other.inclusion]),
            np.concatenate([self.batch, other.batch]),
        )
