"""The frame's sums against masks counted one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from napari_ifkd.evidence import Frame

if TYPE_CHECKING:
    from .conftest import Population


def test_sums_are_those_of_the_masks(good_and_bad: Population) -> None:
    frame = good_and_bad.frame
    values = np.random.default_rng(1).random((2, len(frame)))
    sums = frame.sums(values)
    assert sums.shape == (2, *frame.shape)
    for c, j in [(0, 0), (1, 18), (2, 36)]:
        mask = frame.probability[c] >= np.float32(frame.thresholds[j])
        np.testing.assert_allclose(sums[:, c, j], values[:, mask].sum(axis=1))
        assert frame.marked[c, j] == mask.sum()


def test_spread_counts_the_weights_of_the_pairs_that_mark_a_pixel(good_and_bad: Population) -> None:
    frame = good_and_bad.frame
    weights = np.random.default_rng(2).random(frame.shape)
    for pixel in (0, 17, 3999):
        marking = frame.probability[:, [pixel]] >= np.asarray(frame.thresholds, np.float32)
        assert frame.spread(weights)[pixel] == pytest.approx(weights[marking].sum())


def test_a_pixel_on_a_threshold_is_tumour() -> None:
    frame = Frame(("one",), np.array([[0.5, 0.499, 0.05]], np.float32), (0.05, 0.5))
    np.testing.assert_array_equal(frame.marked, [[3, 1]])


def test_features_are_normal_scores_of_ranks_whatever_the_calibration(good_and_bad: Population) -> None:
    p = good_and_bad.frame.probability.astype(np.float64)
    plain = good_and_bad.frame.own_features
    scores = 1.7 * norm.ppf((np.array([rankdata(row) for row in p]) - 0.5) / p.shape[1])
    np.testing.assert_allclose(plain[:, 1], scores.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(plain[:, 2:], (scores - scores.mean(axis=0)).T, atol=1e-6)
    shrunk = Frame(good_and_bad.frame.names, (good_and_bad.frame.probability * 0.5).astype(np.float32))
    np.testing.assert_allclose(shrunk.own_features, plain, atol=1e-6)


def test_a_constant_candidate_has_no_opinion() -> None:
    rng = np.random.default_rng(0)
    frame = Frame(("constant", "other"), np.stack([np.ones(100), rng.random(100)]).astype(np.float32))
    np.testing.assert_allclose(frame.own_features[:, 2], -frame.own_features[:, 1], atol=1e-9)  # score 0 less the mean


@pytest.mark.parametrize("values", [np.zeros((2, 5)), np.zeros((1, 0)), np.full((1, 3), 1.5), np.full((1, 3), np.nan)])
def test_what_is_no_probability_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="probabilit"):
        Frame(("one",), values.astype(np.float32))
