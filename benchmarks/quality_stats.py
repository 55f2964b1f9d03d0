"""Scores of maps from counts of pixels, and the paired bootstrap over groups. Knows neither files nor networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS = 1024
HALF = BINS // 2
"""The bin that begins at probability 0.5."""
DRAWS = 2000
_REACH = 8.0  # logits beyond are in the outermost bins

SCORES = ("f1", "iou", "ap", "best_f1")


def bins_of(probability: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the bin of each probability.

    Bins are equally wide in the logit: the maps of some losses crowd within a hundredth of 0 or 1, where bins of equal probability would
    make ties of what is ranked.
    """
    return np.asarray(np.searchsorted(edges(), np.asarray(probability, np.float64), side="right") - 1, np.int64)


def edges() -> NDArray[np.float64]:
    """Return the probability at which each bin begins, ``(BINS,)``."""
    logits = np.arange(BINS) / BINS * 2 * _REACH - _REACH
    return np.asarray(np.where(np.arange(BINS) == 0, 0.0, 1 / (1 + np.exp(-logits))), np.float64)


@dataclass(frozen=True)
class Counts:
    """What a network did on the images of some groups.

    Parameters
    ----------
    groups : ``(G,)`` names
    hist : ``(G, 2, BINS)`` pixels by probability: false ones, then true ones
    marked, positive : ``(G,)`` pixels marked at 0.5, and all pixels, of the images that hold tumour by their label
    """

    groups: NDArray[np.str_]
    hist: NDArray[np.int64]
    marked: NDArray[np.int64]
    positive: NDArray[np.int64]

    def scores(self) -> dict[str, float]:
        """Return the scores over all pixels, and the share of the positive images that is marked."""
        return {**{name: float(value) for name, value in scores_of(self.hist.sum(0)).items()}, "foreground": self.foreground()}

    def foreground(self) -> float:
        """Return the share of the pixels of positive images that is marked at 0.5."""
        return float(self.marked.sum() / max(self.positive.sum(), 1))


def scores_of(hist: NDArray[np.generic]) -> dict[str, NDArray[np.float64]]:
    """Score histograms.

    Parameters
    ----------
    hist : ``(..., 2, BINS)`` pixels, or weights of them: false, then true

    Returns
    -------
    dict of ``(...)``
        ``f1`` and ``iou`` at 0.5, ``ap`` (average precision), ``best_f1`` (at the best of all thresholds: a diagnostic). NaN where nothing
        is true.
    """
    falling = np.asarray(hist, np.float64)[..., ::-1].cumsum(-1)  # marked at falling thresholds
    false, true = falling[..., 0, :], falling[..., 1, :]
    total = true[..., -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = 2 * true / np.where(total > 0, true + false + total, np.nan)
        iou = true / np.where(total > 0, false + total, np.nan)
        precision = np.where(true > 0, true / (true + false), 0.0)
        ap = (np.diff(true, axis=-1, prepend=0.0) * precision).sum(-1) / np.where(total > 0, total, np.nan)[..., 0]
    at = BINS - 1 - HALF
    return {"f1": f1[..., at], "iou": iou[..., at], "ap": ap, "best_f1": f1.max(-1)}


@dataclass(frozen=True)
class Interval:
    """A difference and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Show it with three decimals."""
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def paired(pairs: Sequence[tuple[Counts, Counts]], draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Compare two methods on the same groups.

    Parameters
    ----------
    pairs : one a seed: the counts of the one and of the other on the same test groups
    draws : bootstrap draws
    seed : of the draws

    Returns
    -------
    dict
        For each score the mean over seeds of the first's score minus the second's, with percentiles 2.5 and 97.5 of that mean when groups
        are drawn with replacement: the same draw for both, and for all seeds in which a group was tested.

    Raises
    ------
    ValueError
        If the groups of a pair differ.
    """
    for one, other in pairs:
        if list(one.groups) != list(other.groups):
            raise ValueError("the two were not tested on the same groups")
    names = np.unique(np.concatenate([one.groups for one, _ in pairs]))
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), draws).astype(np.float64)
    found: dict[str, Interval] = {}
    observed = {name: [] for name in SCORES}
    drawn = {name: [] for name in SCORES}
    for one, other in pairs:
        own = weights[:, np.searchsorted(names, one.groups)]  # (draws, G)
        of_pair = [(scores_of(counts.hist.sum(0)), scores_of(np.tensordot(own, counts.hist, 1))) for counts in (one, other)]
        for name in SCORES:
            observed[name].append(of_pair[0][0][name] - of_pair[1][0][name])
            drawn[name].append(of_pair[0][1][name] - of_pair[1][1][name])
    for name in SCORES:
        low, high = np.nanpercentile(np.mean(drawn[name], axis=0), [2.5, 97.5])  # NaN: a draw without any tumour in a fold
        found[name] = Interval(float(np.mean(observed[name])), float(low), float(high))
    return found
