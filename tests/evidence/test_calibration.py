"""The calibration against a general optimiser, and its uncertainty."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from scipy.stats import norm

from napari_ifkd.evidence import Answers, Frame, calibrate

from .conftest import Population, draw_population

if TYPE_CHECKING:
    from collections.abc import Callable


def test_each_model_is_at_its_mode_and_weighed_by_its_evidence(good_and_bad: Population) -> None:
    answers = good_and_bad.ask(40, seed=3)
    frame = good_and_bad.frame
    x, z = frame.features(answers.probability), answers.tumour
    found = calibrate(frame, answers)
    area, variance = logit(frame.probability.mean()), frame.own_features[:, 1].var()
    evidence = []
    for number, (slope, spread) in enumerate(product((1.0, 2.0, 4.0), (0.15, 0.3, 0.6))):
        steep = np.sqrt(1 + slope**2 * variance / 1.7**2)
        prior, sd = np.array([area * steep, slope, 0, 0, 0]), np.array([1.5 * steep, slope / 2, spread, spread, spread])

        def energy(beta: np.ndarray, prior: np.ndarray = prior, sd: np.ndarray = sd) -> float:
            p = expit(x @ beta)
            return -np.log(np.where(z, p, 1 - p)).sum() - norm.logpdf(beta, prior, sd).sum()

        best = minimize(energy, prior, method="BFGS", options={"gtol": 1e-8})
        np.testing.assert_allclose(found.beta[number], best.x, atol=1e-3)
        curvature = _hessian(energy, best.x)
        np.testing.assert_allclose(np.linalg.inv(found.covariance[number]), curvature, rtol=2e-3, atol=1e-2)
        weight = {1.0: 0.6}.get(slope, 0.2) * {0.3: 0.5}.get(spread, 0.25)
        evidence.append(np.log(weight) - best.fun - np.linalg.slogdet(curvature)[1] / 2)
    np.testing.assert_allclose(found.weight, softmax(evidence), atol=1e-3)


def _hessian(energy: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    steps = 1e-3 * np.eye(len(at))
    return (
        np.array([[energy(at + a + b) - energy(at + a - b) - energy(at - a + b) + energy(at - a - b) for b in steps] for a in steps]) / 4e-6
    )


def test_without_answers_it_believes_the_candidates_area_whatever_the_slope(good_and_bad: Population) -> None:
    found = calibrate(good_and_bad.frame, Answers.none(3))
    for beta in found.beta:
        assert expit(good_and_bad.frame.own_features @ beta).mean() == pytest.approx(good_and_bad.frame.probability.mean(), abs=0.03)
        np.testing.assert_allclose(beta[2:], 0, atol=1e-6)


@pytest.mark.parametrize("said", [True, False])
def test_answers_that_are_all_alike_move_it_without_running_away(said: bool) -> None:
    frame = draw_population(500, [1.0, 2.0], [0, 0], seed=4).frame
    n = 200
    answers = Answers(frame.probability[:, :n], np.full(n, said), np.full(n, 0.4), np.zeros(n, np.int64))
    p = calibrate(frame, answers).predict(frame.own_features)
    assert np.isfinite(p).all()
    assert p.mean() > 0.95 if said else p.mean() < 0.05


def test_draws_spread_about_the_prediction_as_the_mixture_says(good_and_bad: Population) -> None:
    found = calibrate(good_and_bad.frame, good_and_bad.ask(30, seed=5))
    x = good_and_bad.frame.own_features[:50]
    drawn = logit(found.draws(x, seed=0, count=6000))
    means = found.beta @ x.T
    mean = found.weight @ means
    variance = found.weight @ (np.einsum("ni,kij,nj->kn", x, found.covariance, x) + (means - mean) ** 2)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.15)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(variance), rtol=0.1)
    np.testing.assert_array_equal(found.draws(x, seed=7), found.draws(x, seed=7))


def test_leverage_is_how_far_an_answer_pulls_its_own_prediction(good_and_bad: Population) -> None:
    answers = good_and_bad.ask(30, seed=6)
    frame = good_and_bad.frame
    model = calibrate(frame, answers)
    leverage = model.leverage(frame.features(answers.probability))
    assert ((leverage > 0) & (leverage < 1)).all()
    point = int(leverage.argmax())
    rest = np.arange(30) != point
    without = Answers(answers.probability[:, rest], answers.tumour[rest], answers.inclusion[rest], answers.batch[rest])
    x = frame.features(answers.probability)[[point]]
    p = model.predict(x)[0]
    exact = calibrate(frame, without).predict(x)[0]
    residual = answers.tumour[point] - p
    assert residual / (1 - leverage[point]) == pytest.approx(answers.tumour[point] - exact, rel=0.2)


def test_a_single_candidate_will_do() -> None:
    population = draw_population(500, [1.0], [0.0], seed=8)
    assert isinstance(population.frame, Frame)
    p = calibrate(population.frame, population.ask(20, seed=0)).predict(population.frame.own_features)
    assert np.corrcoef(p, population.truth)[0, 1] > 0.5
