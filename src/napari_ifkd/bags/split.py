"""Training and validation bags that share no patient, slide or region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_ifkd.errors import BagError

if TYPE_CHECKING:
    from .bags import Bags

Index = NDArray[np.intp]
_DRAWS = 200  # random orders of the groups that are tried
_NEAR_BEST = 0.02  # among splits this close to the best the seed chooses


def split_groups(bags: Bags, share: float, seed: int) -> tuple[Index, Index]:
    """Split bags into training and validation, by whole groups.

    Parameters
    ----------
    bags : Bags
    share : share of the bags of each class to hold out, 0 to 1; met as nearly as whole groups allow
    seed : fixes the draw

    Returns
    -------
    train, validation : sorted indices
        Bags of a single slide are split into contiguous blocks (bands across it) instead; tiles less than one tile away from the held-out
        ones appear in neither.

    Raises
    ------
    BagError
        If there is one group only and its places on a slide are unknown, or a slide has too few tiles.
    """
    groups, inverse = np.unique(bags.groups, return_inverse=True)
    if len(groups) > 1:
        held = _draw_groups(inverse, bags.labels, share, np.random.default_rng([seed, 11]))
        return np.flatnonzero(~held), np.flatnonzero(held)
    if bags.origins is None:
        raise BagError(
            bags.source,
            f"all {len(bags)} images belong to one group ('{groups[0] if len(groups) else ''}'), so none can be held out",
            "Tell patients, slides or regions apart: by the column group of labels.csv, or by file names such as patient7_tile3.png",
        )
    return _draw_band(bags, share, np.random.default_rng([seed, 12]))


def _draw_groups(group: Index, labels: NDArray[np.int8], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hold out whole groups whose positives and negatives are both near ``share``; True where held out."""
    positives = np.bincount(group, (labels > 0).astype(np.float64))
    negatives = np.bincount(group, (labels <= 0).astype(np.float64))
    best: tuple[float, NDArray[np.intp]] | None = None
    for _ in range(_DRAWS):
        order = rng.permutation(len(positives))
        ahead_p, ahead_n = positives[order].cumsum(dtype=np.float64), negatives[order].cumsum(dtype=np.float64)
        cost = _cost(ahead_p, positives.sum(), share) + _cost(ahead_n, negatives.sum(), share)
        cost = cost[:-1]  # the last group must stay for training
        cut = int(cost.argmin())
        if best is None or cost[cut] < best[0]:
            best = float(cost[cut]), order[: cut + 1]
        if best[0] < _NEAR_BEST:
            break
    assert best is not None
    return np.isin(group, best[1])


def _cost(held: NDArray[np.float64], total: float, share: float) -> NDArray[np.float64]:
    """Measure how far a class's held-out count is from its share; holding out none, or all, of a class is far worse."""
    if total == 0:
        return np.zeros_like(held)
    cost = np.abs(held / total - share)
    return np.where((held == 0) | (held == total), cost + (2.0 if total > 1 else 0.0), cost)


def _draw_band(bags: Bags, share: float, rng: np.random.Generator) -> tuple[Index, Index]:
    assert bags.origins is not None
    size = bags.images.shape[1]
    tree = cKDTree(bags.origins)
    choices: list[tuple[float, Index, Index]] = []
    for axis in (0, 1):
        along = bags.origins[:, axis]
        places = np.unique(along)
        for start in places:
            for wanted in (share, share * 1.5):  # a wider band where rows are uneven
                stop = _band_end(along, start, wanted)
                held = np.flatnonzero((along >= start) & (along <= stop))
                near = tree.query_ball_point(bags.origins[held], 2 * size - 1, p=np.inf)  # less than one tile between, diagonals too
                train = np.setdiff1d(np.arange(len(bags)), np.concatenate(near).astype(np.intp))
                if not len(train) or not len(held):
                    continue
                cost = float(_cost_of_split(bags.labels, train, held, share))
                choices.append((cost, train, held))
    if not choices:
        raise BagError(
            bags.source,
            f"its {len(bags)} tiles are too few, or too close together, to hold some out with a margin of one tile",
            "Use smaller tiles (tiles.size_px), a finer resolution (tiles.mpp), or more slides",
        )
    least = min(cost for cost, _, _ in choices)
    good = [choice for choice in choices if choice[0] <= least + _NEAR_BEST]
    _, train, held = good[int(rng.integers(len(good)))]
    return train, held


def _band_end(along: NDArray[np.int64], start: int, share: float) -> int:
    """Return the last coordinate of the band from ``start`` that holds at least ``share`` of all tiles."""
    ahead = np.sort(along[along >= start])
    return int(ahead[min(len(ahead) - 1, max(0, round(share * len(along)) - 1))])


def _cost_of_split(labels: NDArray[np.int8], train: Index, held: Index, share: float) -> float:
    cost = 0.0
    for which in (labels > 0, labels <= 0):
        total = float(which.sum())
        if total:
            kept, out = which[train].sum(), which[held].sum()
            cost += abs(out / total - share) + 0.5 * (1 - share - kept / total) + 2.0 * (not kept) + 2.0 * (not out)
    return cost
