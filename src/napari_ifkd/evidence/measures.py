"""What is estimated of every candidate at every threshold, whatever the evidence: measures with 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pair = tuple[int, int]


class Candidates(Protocol):
    """What is chosen among."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the candidates."""
        ...

    @property
    def thresholds(self) -> tuple[float, ...]:
        """That are compared, rising."""
        ...


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Tell it in three figures."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of every pair: ``(C, J)`` each, in [0, 1]."""

    value: Floats
    low: Floats
    high: Floats

    def at(self, candidate: int, threshold: int) -> Interval:
        """Return that of one pair, by its indices."""
        return Interval(*(float(part[candidate, threshold]) for part in (self.value, self.low, self.high)))


@dataclass(frozen=True, eq=False)
class Estimates:
    """What the evidence says of all pairs.

    Attributes
    ----------
    f1, precision, recall : of each pair, against what the person would answer or mark everywhere
    area : tumour share of the tissue in question, whatever the candidate
    marked : ``(C, J)``, share of it that each pair marks: known, not estimated
    merit : ``(C, J)``, what the choice goes by
    thresholds : best one of each candidate
    evidence : what they rest on, in words
    compare : of two pairs, how much higher the F1 of the first is, and the probability that it is higher at all
    """

    f1: Measure
    precision: Measure
    recall: Measure
    area: Interval
    marked: Floats
    merit: Floats
    thresholds: tuple[Interval, ...]
    evidence: str
    compare: Callable[[Pair, Pair], tuple[float, float]]


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide; nothing out of nothing is 0."""
    ratio: Floats = np.divide(above, below, out=np.zeros(np.broadcast_shapes(above.shape, below.shape)), where=below > 0)
    return ratio
