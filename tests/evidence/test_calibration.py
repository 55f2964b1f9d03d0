"""The calibration against a general optimiser, and its uncertainty."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from napari_ifkd.evidence import Answers, Frame, calibrate

from .conftest import Population, draw_population


def test_the_mode_and_its_curvature_are_those_of_the_posterior(good_and_bad: Population) -> None:
    answers = good_and_bad.ask(40, seed=3)
    frame = good_and_bad.frame
    x, z = frame.features(answers.probability), answers.tumour
    prior = np.array([logit(frame.probability.mean()), 1, 0, 0, 0])
    sd = np.array([1.5, 0.5, 0.3, 0.3, 0.3])

    def energy(beta: np.ndarray) -> float:
        p = expit(x @ beta)
        return -np.log(np.where(z, p, 1 - p)).sum() + (((beta - prior) / sd) ** 2).sum() / 2

    found = calibrate(frame, answers)
    best = minimize(energy, prior, method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(found.beta, best.x, atol=1e-4)
    step = 1e-3 * np.eye(5)
    hessian = [
        [(energy(best.x + a + b) - energy(best.x + a - b) - energy(best.x - a + b) + energy(best.x - a - b)) / 4e-6 for b in step]
        for a in step
    ]
    np.testing.assert_allclose(np.linalg.inv(found.covariance), hessian, rtol=1e-3, atol=1e-3)


def test_without_answers_it_believes_the_candidates_in_the_mean(good_and_bad: Population) -> None:
    found = calibrate(good_and_bad.frame, Answers.none(3))
    np.testing.assert_allclose(found.beta, [logit(good_and_bad.frame.probability.mean()), 1, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("said", [True, False])
def test_answers_that_are_all_alike_move_it_without_running_away(said: bool) -> None:
    frame = draw_population(500, [1.0, 2.0], [0, 0], seed=4).frame
    n = 200
    answers = Answers(frame.probability[:, :n], np.full(n, said), np.full(n, 0.4), np.zeros(n, np.int64))
    p = calibrate(frame, answers).predict(frame.own_features)
    assert np.isfinite(p).all()
    assert p.mean() > 0.95 if said else p.mean() < 0.05


def test_draws_spread_as_the_covariance_says(good_and_bad: Population) -> None:
    found = calibrate(good_and_bad.frame, good_and_bad.ask(30, seed=5))
    x = good_and_bad.frame.own_features[:50]
    drawn = logit(found.draws(x, seed=0, count=4000))
    np.testing.assert_allclose(drawn.mean(axis=0), x @ found.beta, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(np.einsum("ni,ij,nj->n", x, found.covariance, x)), rtol=0.1)
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
