"""Inclusion probabilities are what they say, and the points lie where they tell something."""

from __future__ import annotations

import numpy as np
import pytest

from napari_ifkd.evidence import Answers, Frame, propose
from napari_ifkd.evidence.sampler import inclusion_probabilities

from .conftest import Population, draw_population


def test_each_pixel_comes_as_often_as_its_probability_says() -> None:
    frame = draw_population(60, [1.0, 1.5], [0, 0.5], seed=1).frame
    asked = draw_population(60, [1.0, 1.5], [0, 0.5], seed=1).ask(6, seed=0)
    rng = np.random.default_rng(0)
    draws = 1500
    seen, sums = np.zeros(60), np.zeros(60)
    for _ in range(draws):
        got = propose(frame, asked, 8, rng)
        assert len(np.unique(got.index)) == 8
        seen[got.index] += 1
        sums[got.index] += got.inclusion
    # the chances hang on draws from the posterior, and so differ a little from call to call
    expected = sums / np.maximum(seen, 1)
    assert expected.sum() == pytest.approx(8, rel=0.02)
    assert np.abs(seen / draws - expected).max() < 4.5 * np.sqrt(0.25 / draws)


def test_the_points_of_a_batch_stand_for_the_frame(good_and_bad: Population) -> None:
    """Horvitz-Thompson: the sum of 1/inclusion is the size of the frame, in the mean over draws."""
    rng = np.random.default_rng(1)
    sizes, tumour = [], []
    for _ in range(200):
        got = propose(good_and_bad.frame, Answers.none(3), 20, rng)
        sizes.append((1 / got.inclusion).sum())
        tumour.append((good_and_bad.truth[got.index] / got.inclusion).sum())
    for values, whole in ((sizes, len(good_and_bad.frame)), (tumour, good_and_bad.truth.sum())):
        assert np.mean(values) == pytest.approx(whole, abs=4 * np.std(values) / np.sqrt(len(values)))


def test_probabilities_keep_to_one_and_sum_to_the_count() -> None:
    interest = np.array([1000.0, 1, 1, 1, 1, 0])
    inclusion = inclusion_probabilities(interest, 4)
    assert inclusion.sum() == pytest.approx(4)
    assert inclusion[0] == 1
    assert ((inclusion > 0) & (inclusion <= 1)).all()
    assert inclusion[1] > inclusion[5]
    np.testing.assert_allclose(inclusion_probabilities(interest, 9), 1)


def test_more_points_lie_where_good_candidates_differ(good_and_bad: Population) -> None:
    got = [propose(good_and_bad.frame, good_and_bad.ask(20, seed=s), 20, np.random.default_rng(s)).index for s in range(10)]
    mask = good_and_bad.frame.probability[:2] >= np.array([[0.5], [0.75]])  # near their best thresholds
    differ = mask.any(axis=0) != mask.all(axis=0)
    assert differ[np.concatenate(got)].mean() > 1.3 * differ.mean()


def test_candidates_that_agree_everywhere_get_equal_chances() -> None:
    frame = Frame(("one", "two"), np.full((2, 50), 0.5, np.float32))
    got = propose(frame, Answers.none(2), 10, np.random.default_rng(0))
    np.testing.assert_allclose(got.inclusion, 0.2)


def test_a_small_frame_gives_all_it_has(good_and_bad: Population) -> None:
    frame = Frame(good_and_bad.frame.names, good_and_bad.frame.probability[:, :7])
    got = propose(frame, Answers.none(3), 30, np.random.default_rng(0))
    assert sorted(got.index) == list(range(7))
    np.testing.assert_allclose(got.inclusion, 1)


def test_answers_that_do_not_fit_are_refused() -> None:
    one = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="length"):
        Answers(one, np.zeros(3, bool), np.ones(2), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="inclusion"):
        Answers(one, np.zeros(2, bool), np.zeros(2), np.zeros(2, np.int64))
