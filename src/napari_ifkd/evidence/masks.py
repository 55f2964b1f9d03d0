"""Reference masks as evidence: what they count, block by block, and how far it holds on other tissue of the kind.

Neighbouring pixels are nearly one, so blocks are what varies: the intervals come from drawing blocks anew (a bootstrap). They are wide
enough for every pair that came out best in any draw, or best of its candidate, and so for the pair that is chosen by the same masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats takes a second to import, in each run anew

from .frame import THRESHOLDS
from .measures import Estimates, Interval, Measure, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .measures import Floats, Pair

LEAST_BLOCKS = 10
"""Below, nobody knows how far the figures hold elsewhere: the intervals go from 0 to 1."""

_DRAWS = 1000
_CONFIDENCE = 0.95
_COUNTS = ("hit", "marked", "tumour", "size")


@dataclass(frozen=True, eq=False)
class BlockCounts:
    """Pixels of blocks of tissue whose truth is known.

    Parameters
    ----------
    names : of the candidates
    hit, marked : ``(B, C, J)``, tumour pixels that each pair marks; pixels that it marks
    tumour, size : ``(B,)``, tumour pixels; pixels
    thresholds : ``(J,)``, rising; a pixel is tumour from its threshold on
    """

    names: tuple[str, ...]
    hit: Floats
    marked: Floats
    tumour: Floats
    size: Floats
    thresholds: tuple[float, ...] = THRESHOLDS

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.size)

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        probability: NDArray[np.float32],
        tumour: NDArray[np.bool_],
        block: NDArray[np.int64],
        count: int,
    ) -> BlockCounts:
        """Count pixels.

        Parameters
        ----------
        names : of the candidates
        probability : ``(C, n)``, what each says of the pixels
        tumour : ``(n,)``, what the masks say
        block : ``(n,)``, in which block each lies
        count : number of blocks
        """
        bins = len(THRESHOLDS) + 1
        parts = np.zeros((2, count, len(names), len(THRESHOLDS)))
        for candidate, own in enumerate(probability):
            passed = np.searchsorted(np.asarray(THRESHOLDS, np.float32), own, "right")
            cell = block * bins + passed
            for part, weights in ((0, tumour), (1, None)):
                histogram = np.bincount(cell, weights, count * bins).reshape(count, bins)
                parts[part, :, candidate] = histogram[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        sizes = np.bincount(block, minlength=count).astype(np.float64)
        return cls(names, parts[0], parts[1], np.bincount(block, tumour, count).astype(np.float64), sizes)

    @classmethod
    def summed(cls, parts: Sequence[BlockCounts]) -> BlockCounts:
        """Return the counts of the same blocks, counted in parts."""
        hit, marked, tumour, size = (np.sum([getattr(p, name) for p in parts], axis=0) for name in _COUNTS)
        return cls(parts[0].names, hit, marked, tumour, size, parts[0].thresholds)

    @classmethod
    def joined(cls, parts: Sequence[BlockCounts]) -> BlockCounts:
        """Return all blocks that hold a pixel."""
        hit, marked, tumour, size = (np.concatenate([getattr(p, name) for p in parts]) for name in _COUNTS)
        held = size > 0
        return cls(parts[0].names, hit[held], marked[held], tumour[held], size[held], parts[0].thresholds)


def estimate_on_masks(counts: BlockCounts, evidence: str, seed: int = 0) -> Estimates:
    """Estimate everything from masks: the values are those on the masks, exactly.

    Parameters
    ----------
    counts : on the masks
    evidence : what they are, in words
    seed : of the draws
    """
    blocks, (candidates, steps) = len(counts), counts.hit.shape[1:]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), _DRAWS).astype(np.float64)  # (D, B)

    def summed(weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        pairs = (part.reshape(blocks, -1) for part in (counts.hit, counts.marked))
        hit, marked = ((weights @ part).reshape(-1, candidates, steps) for part in pairs)
        tumour, size = ((weights @ part)[:, None, None] for part in (counts.tumour, counts.size))
        return hit, marked, tumour, size

    value, values = (_measures(*summed(weights)) for weights in (np.ones((1, blocks)), drawn))
    f1, f1_drawn = value["f1"][0], values["f1"]
    may_be_chosen = np.zeros(f1.shape, bool)
    may_be_chosen.ravel()[f1_drawn.reshape(_DRAWS, -1).argmax(axis=1)] = True
    for row, best in zip(may_be_chosen, f1_drawn.argmax(axis=2).T, strict=True):
        row[best] = True
    known = blocks >= LEAST_BLOCKS
    heavier = _heavier_tails(blocks)

    def measured(name: str) -> Measure:
        centre, draws = value[name][0], values[name]
        sd = draws.std(axis=0)
        off = np.abs(draws - centre) / np.where(sd > 0, sd, np.inf)
        reach = np.quantile(off[:, may_be_chosen].max(axis=1), _CONFIDENCE) * heavier
        half = reach * sd if known else np.ones_like(sd)
        return Measure(centre, np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1))

    share = values["area"]
    half = float(ndtri(0.975) * heavier * share.std()) if known else 1.0
    whole = float(value["area"].item())
    return Estimates(
        f1=measured("f1"),
        precision=measured("precision"),
        recall=measured("recall"),
        area=Interval(whole, max(whole - half, 0.0), min(whole + half, 1.0)),
        marked=counts.marked.sum(axis=0) / counts.size.sum(),
        merit=f1,
        thresholds=_thresholds(counts.thresholds, f1, f1_drawn),
        evidence=evidence,
        compare=_compare(f1, f1_drawn, blocks - 1 if known else 0),
    )


def _measures(hit: Floats, marked: Floats, tumour: Floats, size: Floats) -> dict[str, Floats]:
    return {
        "f1": ratio(2 * hit, marked + tumour),
        "precision": ratio(hit, marked),
        "recall": ratio(hit, np.broadcast_to(tumour, hit.shape)),
        "area": ratio(tumour, size),
    }


def _heavier_tails(blocks: int) -> float:
    """Return by which factor intervals are wider for few blocks: draws of them vary too little, and the standard deviation is a guess."""
    few = max(blocks - 1, 1)
    return float(stdtrit(few, 0.975) / ndtri(0.975) * np.sqrt(1 + 1 / few))


def _thresholds(grid: tuple[float, ...], f1: Floats, drawn: Floats) -> tuple[Interval, ...]:
    """Return the best threshold of each candidate, and from where to where it lay in 95 % of the draws."""
    steps = np.asarray(grid)
    best = steps[drawn.argmax(axis=2)]  # (D, C)
    ends = np.quantile(best, [0.025, 0.975], axis=0, method="nearest")
    return tuple(Interval(float(steps[row.argmax()]), float(low), float(high)) for row, low, high in zip(f1, *ends, strict=True))


def _compare(f1: Floats, drawn: Floats, freedom: int) -> Callable[[Pair, Pair], tuple[float, float]]:
    def compare(pair: Pair, over: Pair) -> tuple[float, float]:
        gain = float(f1[pair] - f1[over])
        sd = float((drawn[:, *pair] - drawn[:, *over]).std())
        return gain, float(stdtr(freedom, gain / sd)) if sd > 0 and freedom else 0.5

    return compare
