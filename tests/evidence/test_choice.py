"""The choice, and who stays."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from napari_ifkd.evidence import Answers, Incumbent, choose

from .conftest import Population, draw_population


def test_the_choice_loses_little(good_and_bad: Population) -> None:
    true = good_and_bad.f1()
    lost = []
    for seed in range(20):
        choice = choose(good_and_bad.frame, good_and_bad.ask(60, seed))
        lost.append(true.max() - true[choice.candidate, good_and_bad.frame.thresholds.index(choice.threshold)])
    assert np.mean(lost) < 0.02


def test_a_better_candidate_takes_over_and_the_reason_says_by_how_much(good_and_bad: Population) -> None:
    choice = choose(good_and_bad.frame, good_and_bad.ask(150, seed=1), Incumbent(2, 0.5))
    assert (choice.name, choice.kept) == ("candidate 0", False)
    assert "candidate 0 at " in choice.reason
    assert "better than candidate 2" in choice.reason
    assert "150 answered points" in choice.reason


def test_among_equals_the_incumbent_stays_with_its_threshold() -> None:
    kept, told = 0, 0
    for seed in range(20):
        population = draw_population(2000, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], seed=seed)
        choice = choose(population.frame, population.ask(40, seed), Incumbent(1, 0.5))
        kept += choice.kept
        told += "stays: the most promising of the others, candidate " in choice.reason  # there are two
    assert told > 0
    assert kept >= 14  # with a certainty of 75 % it is left for a lucky one now and then


def test_copies_of_the_incumbent_never_take_over(good_and_bad: Population) -> None:
    frame = good_and_bad.frame
    copies = Population(type(frame)(("teacher", "student"), frame.probability[[0, 0]]), good_and_bad.truth)
    choice = choose(copies.frame, copies.ask(60, seed=0), Incumbent(1, 0.5))
    assert (choice.candidate, choice.kept) == (1, True)
    assert choice.reason.startswith("student stays")


def test_no_reason_speaks_against_the_figures() -> None:
    """Where another has the higher F1 all the same, the reason says so."""
    told = set()
    alike = draw_population(2000, [0.8, 0.8, 0.8], [0.0, 0.0, 0.0], seed=5)  # no better, and not the same
    worse = draw_population(2000, [0.8, 3.0, 3.0], [0.0, 0.0, 0.0], seed=5)
    for population, seed in product((alike, worse), range(40)):
        choice = choose(population.frame, population.ask(12, seed), Incumbent(0, 0.5))
        others = max(choice.estimates.f1.at(each, int(choice.estimates.merit[each].argmax())).value for each in (1, 2))
        if "no other has a higher estimated F1" in choice.reason:
            told.add("none")
            assert others < choice.f1.value + 0.0005
        elif "F1 more, and is better with a probability of" in choice.reason:
            told.add("chance")
            assert f"has {others - choice.f1.value:.3f} F1 more" in choice.reason
    assert told == {"none", "chance"}


def test_a_shifted_teacher_stays_with_another_threshold() -> None:
    population = draw_population(4000, [0.8], [2.5], seed=3)
    choice = choose(population.frame, population.ask(100, seed=0), Incumbent(0, 0.5))
    assert choice.kept
    assert choice.threshold > 0.7
    assert f"is better at {choice.threshold:g} than at 0.5" in choice.reason


def test_without_answers_the_incumbent_stays(good_and_bad: Population) -> None:
    frame = good_and_bad.frame
    alike = Population(type(frame)(("teacher", "student"), frame.probability[:2]), good_and_bad.truth)
    choice = choose(alike.frame, Answers.none(2), Incumbent(0, 0.5))
    assert choice.kept
    assert "(0 answered points)" in choice.reason


@pytest.mark.parametrize("said", [True, False])
def test_answers_that_are_all_alike_still_give_a_choice(good_and_bad: Population, said: bool) -> None:
    answers = good_and_bad.ask(30, seed=0)
    alike = Answers(answers.probability, np.full(30, said), answers.inclusion, answers.batch)
    choice = choose(good_and_bad.frame, alike)
    assert choice.f1.low <= choice.f1.value <= choice.f1.high
    if said:
        assert choice.marked > 0.8  # everything is tumour, so what marks most is best


def test_the_same_answers_give_the_same_choice(good_and_bad: Population) -> None:
    answers = good_and_bad.ask(30, seed=0)
    one, two = (choose(good_and_bad.frame, answers, Incumbent(1, 0.5)) for _ in range(2))
    assert (one.reason, one.f1) == (two.reason, two.f1)
