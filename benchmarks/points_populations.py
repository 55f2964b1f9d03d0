"""Pixels whose truth is known, with candidates: real maps of held-out tiles, and drawn ones whose calibration is off in other ways."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from napari_ifkd.evidence import THRESHOLDS
from napari_ifkd.inference import smooth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PIXELS = 200_000  # of a drawn population
_SIGMA_PX = 3.0  # as in a run


@dataclass(frozen=True, eq=False)
class Population:
    """All pixels of a test.

    Parameters
    ----------
    name, what : short, and in a sentence
    candidates : names
    probability : ``(C, N)`` float32
    truth : ``(N,)`` bool
    """

    name: str
    what: str
    candidates: tuple[str, ...]
    probability: NDArray[np.float32]
    truth: NDArray[np.bool_]

    @cached_property
    def marked(self) -> NDArray[np.float64]:
        """Pixels each pair marks, ``(C, J)``."""
        return np.array([self._reaching(p) for p in self.probability])

    @cached_property
    def hit(self) -> NDArray[np.float64]:
        """Tumour pixels each pair marks, ``(C, J)``."""
        return np.array([self._reaching(p[self.truth]) for p in self.probability])

    @cached_property
    def f1(self) -> NDArray[np.float64]:
        """True F1 of each pair, ``(C, J)``."""
        return 2 * self.hit / (self.marked + self.truth.sum())

    @staticmethod
    def _reaching(probability: NDArray[np.float32]) -> NDArray[np.int64]:
        return len(probability) - np.searchsorted(np.sort(probability), np.asarray(THRESHOLDS, np.float32), "left")


def of_maps(folder: Path, name: str) -> Population:
    """Read what :func:`points_candidates.make_candidates` wrote: pixels of the positive held-out tiles."""
    with np.load(folder / "truth.npz") as kept:
        truth, positive = kept["truth"], kept["labels"] > 0
    paths = sorted(folder.glob("*.npy"))
    maps = [smooth(np.load(path)[positive], _SIGMA_PX).ravel() for path in paths]
    names = tuple(path.stem for path in paths)
    what = f"maps of {int(positive.sum())} held-out tiles of luad128 with tumour, by networks of three losses at three epochs each"
    return Population(name, what, names, np.stack(maps), truth[positive].ravel().astype(bool))


def drawn(seed: int = 0) -> list[Population]:
    """Return the drawn populations: nine candidates each, of three kinds that differ in noise and shift."""
    rng = np.random.default_rng(seed)
    names = tuple(f"{kind}-{step}" for kind in "abc" for step in (1, 2, 3))

    def candidates(signal: NDArray[np.float64], shift: float = 0.0, slope: float = 1.0, own: float = 1.0) -> NDArray[np.float64]:
        """Return logits ``(9, N)``: a kind's candidates share most of their noise."""
        rows = []
        for noise, kind_shift in ((0.6, 0.0), (1.0, 1.5), (1.4, -0.7)):
            shared = rng.normal(0, own * noise, signal.size)
            rows += [slope * (signal + shared + rng.normal(0, 0.4 * (3 - step), signal.size)) + kind_shift + shift for step in range(3)]
        return np.array(rows)

    def population(name: str, what: str, logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> Population:
        return Population(name, what, names, expit(logits).astype(np.float32), truth)

    found = []
    truth = rng.random(_PIXELS) < 0.05
    logits = candidates(4.0 * truth - 3.0 + rng.normal(0, 0.8, _PIXELS))
    found.append(population("rare", "a twentieth of the tissue is tumour", logits, truth))

    truth = rng.random(_PIXELS) < 0.4
    signal = 3.0 * (truth - 0.5) + rng.normal(0, 0.6, _PIXELS)
    fooled = rng.random(_PIXELS) < 0.12
    signal[fooled] = 3.0 * (0.5 - truth[fooled])
    found.append(population("fooled", "an eighth of the pixels look to all candidates like what they are not", candidates(signal), truth))

    depth = rng.normal(0, 1.6, _PIXELS)
    truth = rng.random(_PIXELS) < expit(2.2 * depth) * np.where(depth > 2.0, 0.35, 1.0)
    what = "where all candidates are surest tumour is rare, as in necrosis: probability does not rise with the score"
    found.append(population("not rising", what, candidates(1.5 * depth), truth))

    truth = rng.random(_PIXELS) < 0.3
    logits = candidates(2.6 * (truth - 0.5) + rng.normal(0, 0.5, _PIXELS), shift=1.5, slope=5.0)
    rounded = np.round(expit(logits) * 255) / 255
    what = "probabilities nearly all 0 or 1, in steps of 1/255, and too high throughout"
    found.append(Population("saturated", what, names, rounded.astype(np.float32), truth))
    return found
