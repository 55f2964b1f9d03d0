"""The moving average of a student: what it is, and that it is what a round judges, keeps and hands over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from napari_ifkd.distill import distill
from napari_ifkd.distill.ema import MovingAverage
from napari_ifkd.distill.scores import judge
from napari_ifkd.distill.training import never
from napari_ifkd.models import MILModel

from .test_stage1 import finish, poison, same_weights

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config

Network = Callable[[int], MILModel]
ONE_ROUND = {"rounds.rounds": 1, "acceptance.rule": "always", "rounds.learning_rate": 1e-3, "rounds.robust.hold_area": False}


def test_every_number_is_averaged_and_counts_are_copied(network: Network) -> None:
    model = network(0)
    average = MovingAverage(model, 0.9)
    expected = {key: value.double() for key, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        for value in model.state_dict().values():  # parameters, running means and variances
            value.copy_(torch.rand(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(step + 5))
        average.update(model)
        for key, value in model.state_dict().items():
            expected[key] = 0.9 * expected[key] + 0.1 * value.double() if value.is_floating_point() else value.double()
    state = average.state()
    assert state.keys() == expected.keys()
    assert any("running_var" in key for key in state)
    for key, value in state.items():
        torch.testing.assert_close(value.double(), expected[key], atol=1e-6, rtol=1e-5)
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())
    assert all(p.requires_grad for p in model.parameters()), "the network itself goes on learning"


def test_the_average_is_judged_kept_and_handed_over(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{**ONE_ROUND, "rounds.ema": 0.7})
    states: list[dict] = []
    kept: list[dict] = []
    _, outcome = finish(
        distill(
            network(0),
            network(1),
            train,
            val,
            config,
            on_epoch=states.append,
            on_round=lambda i, m, s, d: kept.append({"weights": {k: v.clone() for k, v in m.state_dict().items()}, "scores": s}),
        )
    )
    last = states[1]
    assert not same_weights(last["average"], last["pair"]["student"]), "it lags behind"
    assert same_weights(outcome.model.state_dict(), last["average"])
    assert same_weights(kept[1]["weights"], last["average"])
    judged = network(5)
    judged.load_state_dict(last["average"])
    scores = judge(judged, val, config, should_stop=never).scores
    assert {key: kept[1]["scores"][key] for key in scores} == scores
    assert states[-1]["average"] is None, "the next round has one of its own"


def test_the_average_takes_part_in_every_step(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """With next to no decay it is the student itself; between the student and its start otherwise."""
    states: dict[float, dict] = {}
    for decay in (1e-6, 0.5, 0.99):
        finish(
            distill(
                network(0),
                network(1),
                train,
                val,
                config.replaced(**{**ONE_ROUND, "rounds.ema": decay}),
                on_epoch=lambda state, decay=decay: states.setdefault(decay, state) if state["epoch"] == 2 else None,
            )
        )
    start, student = states[0.5]["pair"]["start"], states[0.5]["pair"]["student"]
    key = "heads.2.weight"
    way = {
        decay: float((state["average"][key] - start[key]).norm() / (student[key] - start[key]).norm()) for decay, state in states.items()
    }
    assert way[1e-6] == pytest.approx(1, abs=1e-3)
    assert 0.01 < way[0.99] < 0.1 < way[0.5] < 0.95


def test_the_student_learns_as_without_it(train: Bags, val: Bags, config: Config, network: Network) -> None:
    states: dict[float, list[dict]] = {0.0: [], 0.7: []}
    for decay, told in states.items():
        finish(distill(network(0), network(1), train, val, config.replaced(**{**ONE_ROUND, "rounds.ema": decay}), on_epoch=told.append))
    assert states[0.0][1]["average"] is None
    assert same_weights(states[0.0][1]["pair"]["student"], states[0.7][1]["pair"]["student"])


def test_the_average_restarts_from_the_best_known_epoch_where_training_diverges(
    train: Bags, val: Bags, config: Config, network: Network
) -> None:
    student = network(1)
    poison(student, 4)  # two batches an epoch: in the middle of epoch 2
    states: list[dict] = []
    _, outcome = finish(
        distill(network(0), student, train, val, config.replaced(**{**ONE_ROUND, "rounds.ema": 0.7}), on_epoch=states.append)
    )
    assert outcome.accepted_round == 1
    assert same_weights(outcome.model.state_dict(), states[0]["average"])
    assert all(torch.isfinite(value).all() for value in outcome.model.state_dict().values())


@pytest.mark.parametrize("rule", ["always", "cautious"])
def test_resume_with_an_average_is_bit_equal(train: Bags, val: Bags, config: Config, network: Network, rule: str) -> None:
    config = config.replaced(**{"rounds.ema": 0.9, "acceptance.rule": rule})
    states: list[dict] = []
    _, whole = finish(distill(network(0), network(1), train, val, config, on_epoch=states.append))
    assert len(states) == 6
    for state in states:
        _, resumed = finish(distill(network(7), network(8), train, val, config, state=state))
        assert same_weights(resumed.model.state_dict(), whole.model.state_dict())
        assert resumed.decisions == whole.decisions
