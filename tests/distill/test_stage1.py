"""Training a teacher: progress, cancel, exact resume, and what happens when it diverges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_ifkd.distill import train_teacher
from napari_ifkd.distill.training import balanced_batches
from napari_ifkd.errors import BagError, Cancelled, EngineError
from napari_ifkd.events import EpochDone, Progress, Warned
from napari_ifkd.models import MILModel

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config

Network = Callable[[int], MILModel]


def finish(generator: Any) -> tuple[list, Any]:
    """Run a generator to its end; return its events and its result."""
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_events_tell_of_progress_and_epochs(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    states: list[dict] = []
    events, result = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    assert result is model
    assert not model.training
    epochs = [e for e in events if isinstance(e, EpochDone)]
    assert [(e.round, e.epoch, e.epochs) for e in epochs] == [(0, 1, 3), (0, 2, 3), (0, 3, 3)]
    assert set(epochs[-1].scores) == {"bag_accuracy", "positive_area", "negative_area"}
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress[-1].done == progress[-1].total == 3 * 16
    assert [s["epoch"] for s in states] == [1, 2, 3]
    assert same_weights(states[-1]["model"], model.state_dict())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_resume_after_any_epoch_is_bit_equal(train: Bags, val: Bags, config: Config, network: Network, precision: str) -> None:
    config = config.replaced(precision=precision)
    whole = network(0)
    states: list[dict] = []
    finish(train_teacher(train, val, whole, config, on_epoch=states.append))
    for state in states:
        resumed = network(99)
        finish(train_teacher(train, val, resumed, config, state=state))
        assert same_weights(resumed.state_dict(), whole.state_dict())


def test_states_are_plain_data(train: Bags, val: Bags, config: Config, network: Network, tmp_path: Any) -> None:
    states: list[dict] = []
    finish(train_teacher(train, val, network(0), config, on_epoch=states.append))
    torch.save(states[-1], tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == 3


def test_stop_is_asked_before_every_batch(train: Bags, val: Bags, config: Config, network: Network) -> None:
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(Cancelled):
        finish(train_teacher(train, val, network(0), config, should_stop=stop))
    assert len(asked) == 2


@pytest.mark.parametrize(("label", "word"), [(1, "negative"), (0, "positive")])
def test_a_missing_class_is_an_error(train: Bags, val: Bags, config: Config, network: Network, label: int, word: str) -> None:
    one_class = train.subset(np.flatnonzero(train.labels == label))
    with pytest.raises(BagError, match=f"no {word} images"):
        finish(train_teacher(one_class, val, network(0), config))


def test_validation_may_be_empty(train: Bags, config: Config, network: Network) -> None:
    events, _ = finish(train_teacher(train, train.subset([]), network(0), config))
    assert [e.scores for e in events if isinstance(e, EpochDone)] == [{}, {}, {}]


def poison(model: MILModel, from_call: int) -> None:
    """Let a network answer nan from its n-th training pass on."""
    calls = [0]

    def hook(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        calls[0] += module.training
        return output * float("nan") if module.training and calls[0] >= from_call else output

    model.heads[0].register_forward_hook(hook)


def test_divergence_keeps_the_last_good_epoch(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    poison(model, 4)  # two batches an epoch: in the middle of epoch 2
    states: list[dict] = []
    events, _ = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    assert len(states) == 1
    assert same_weights(model.state_dict(), states[0]["model"])
    assert any(isinstance(e, Warned) and "epoch 2" in e.message for e in events)


def test_divergence_in_the_first_epoch_is_an_error(train: Bags, val: Bags, config: Config, network: Network) -> None:
    model = network(0)
    poison(model, 1)
    with pytest.raises(EngineError, match="learning_rate"):
        finish(train_teacher(train, val, model, config))


def test_batches_hold_half_of_each_class() -> None:
    labels = np.array([1] * 30 + [0] * 5, np.int8)
    batches = list(balanced_batches(labels, 8, 10, np.random.default_rng(0)))
    assert len(batches) == 10
    assert all(labels[rows].sum() == 4 for rows in batches)
    seen = np.bincount(np.concatenate(batches), minlength=35)
    assert seen[:30].min() >= 1
    assert seen[30:].min() == seen[30:].max() == 8  # 40 draws of 5


def test_batches_of_a_single_class_are_whole() -> None:
    batches = list(balanced_batches(np.ones(6, np.int8), 8, 2, np.random.default_rng(0)))
    assert [sorted(rows) for rows in batches] == [[0, 1, 2, 3, 4, 5]] * 2
