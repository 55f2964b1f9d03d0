"""Candidates on pixels whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

from napari_ifkd.evidence import Answers, Frame, propose


@dataclass(frozen=True)
class Population:
    """A frame, its truth, and the true F1 of each pair, counted one by one."""

    frame: Frame
    truth: np.ndarray

    def f1(self) -> np.ndarray:
        """Return F1 of each pair, by definition."""
        scores = np.zeros(self.frame.shape)
        for c, probability in enumerate(self.frame.probability):
            for j, threshold in enumerate(self.frame.thresholds):
                mask = probability >= np.float32(threshold)
                scores[c, j] = 2 * (mask & self.truth).sum() / (mask.sum() + self.truth.sum())
        return scores

    def ask(self, count: int, seed: int, batch: int = 10) -> Answers:
        """Answer `count` points that the sampler proposes, without error."""
        rng = np.random.default_rng(seed)
        answers = Answers.none(len(self.frame.names))
        while len(answers) < count:
            got = propose(self.frame, answers, min(batch, count - len(answers)), rng)
            number = np.full(len(got.index), len(answers))
            more = Answers(self.frame.probability[:, got.index], self.truth[got.index], got.inclusion, number)
            answers = answers.joined(more)
        return answers


def draw_population(size: int, noises: list[float], shifts: list[float], seed: int, share: float = 0.4) -> Population:
    """Draw truth and candidates of given noise (higher is worse) and shift of their logits (above 0 marks too much)."""
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < share
    logits = [2.4 * (truth - 0.5) + rng.normal(0, noise, size) + shift for noise, shift in zip(noises, shifts, strict=True)]
    names = tuple(f"candidate {number}" for number in range(len(noises)))
    return Population(Frame(names, expit(np.array(logits)).astype(np.float32)), truth)


@pytest.fixture(scope="session")
def good_and_bad() -> Population:
    """A good candidate, a shifted copy of medium noise, and a bad one."""
    return draw_population(4000, [0.8, 1.4, 3.0], [0.0, 1.2, -0.5], seed=0)
