"""The estimators: exact where everything is answered, unbiased by enumeration, intervals that cover after choosing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from napari_ifkd.evidence import Answers, Estimates, Frame, choose, estimate
from napari_ifkd.evidence import estimates as module

from .conftest import Population, draw_population


@pytest.fixture
def design_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own estimate counts for nothing."""
    monkeypatch.setattr(module, "MODEL_WORTH", 0)


def _all(population: Population) -> Answers:
    n = len(population.frame)
    return Answers(population.frame.probability, population.truth, np.ones(n), np.zeros(n, np.int64))


@pytest.mark.usefixtures("design_alone")
def test_where_everything_is_answered_the_estimates_are_the_truth() -> None:
    population = draw_population(3000, [0.8, 2.0], [0.0, 1.0], seed=0)
    found, frame, truth = estimate(population.frame, _all(population)), population.frame, population.truth
    np.testing.assert_allclose(found.f1.value, population.f1(), atol=3e-3)  # residuals are those of models that did not see the answer
    mask = frame.probability[1] >= np.float32(frame.thresholds[18])
    assert found.precision.at(1, 18).value == pytest.approx(truth[mask].mean(), abs=3e-3)
    assert found.recall.at(1, 18).value == pytest.approx(mask[truth].mean(), abs=3e-3)
    assert found.area.value == pytest.approx(truth.mean(), abs=3e-3)
    assert found.marked[1, 18] == mask.mean()


@pytest.mark.usefixtures("design_alone")
def test_the_area_is_unbiased_over_every_sample_there_is() -> None:
    """All 252 samples of 5 of 10 pixels: the mean of the corrected estimate is the true share, though the model is far off."""
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.7, 0.99, (1, 10)).astype(np.float32)  # says tumour everywhere
    truth = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    frame = Frame(("one",), probability)
    values = []
    for sample in combinations(range(10), 5):
        index = list(sample)
        answers = Answers(probability[:, index], truth[index], np.full(5, 0.5), np.zeros(5, np.int64))
        values.append(estimate(frame, answers).area.value)
    assert len(values) == 252
    assert np.mean(values) == pytest.approx(truth.mean(), abs=0.02)


@pytest.mark.usefixtures("design_alone")
def test_points_drawn_with_unequal_chances_do_not_bias_the_estimates(good_and_bad: Population) -> None:
    found = [estimate(good_and_bad.frame, good_and_bad.ask(60, seed)) for seed in range(60)]
    true = good_and_bad.f1()
    for pair in [(0, 18), (1, 18), (1, 30), (2, 10)]:
        values = np.array([f.f1.value[pair] for f in found])
        assert values.mean() == pytest.approx(true[pair], abs=4 * values.std() / np.sqrt(len(values)) + 0.01)
    areas = np.array([f.area.value for f in found])
    assert areas.mean() == pytest.approx(good_and_bad.truth.mean(), abs=4 * areas.std() / np.sqrt(len(areas)))


def _covered(population: Population, points: int, draws: int) -> float:
    true, hits = population.f1(), 0
    for seed in range(draws):
        choice = choose(population.frame, population.ask(points, seed))
        pair = choice.candidate, population.frame.thresholds.index(choice.threshold)
        hits += choice.f1.low <= true[pair] <= choice.f1.high
    return hits / draws


@pytest.mark.parametrize("points", [10, 40])
def test_intervals_cover_after_choosing(points: int) -> None:
    population = draw_population(2000, [1.2, 1.4, 1.6, 1.8], [0.0, 1.0, 0.5, -1.0], seed=2)
    assert _covered(population, points, 60) >= 0.9


def test_intervals_narrow_with_the_answers(good_and_bad: Population) -> None:
    def width(found: Estimates) -> float:
        f1 = found.f1.at(0, 18)
        assert f1.low <= f1.value <= f1.high
        return f1.high - f1.low

    widths = [width(estimate(good_and_bad.frame, good_and_bad.ask(n, seed=0))) for n in (10, 40, 160)]
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("said", [True, False])
def test_answers_that_are_all_alike_leave_an_interval(good_and_bad: Population, said: bool) -> None:
    answers = good_and_bad.ask(20, seed=0)
    alike = Answers(answers.probability, np.full(20, said), answers.inclusion, answers.batch)
    found = estimate(good_and_bad.frame, alike)
    assert found.area.high - found.area.low > 0.02
    assert found.area.value > 0.7 if said else found.area.value < 0.15
    for measure in (found.f1, found.precision, found.recall):
        for part in (measure.value, measure.low, measure.high):
            assert ((part >= 0) & (part <= 1)).all()


def test_without_answers_the_intervals_are_wide(good_and_bad: Population) -> None:
    found = estimate(good_and_bad.frame, Answers.none(3))
    assert found.evidence == "0 answered points"
    assert found.area.high - found.area.low > 0.4


def test_where_a_pair_marks_nothing_its_scores_are_zero() -> None:
    frame = Frame(("low", "high"), np.stack([np.full(100, 0.01), np.linspace(0, 1, 100)]).astype(np.float32))
    found = estimate(frame, Answers(frame.probability[:, ::10], np.arange(10) > 5, np.full(10, 0.1), np.zeros(10, np.int64)))
    assert found.f1.value[0].max() == 0
    assert found.precision.value[0].max() == 0
