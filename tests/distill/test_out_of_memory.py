"""A batch that does not fit is learnt in parts: the step is that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from napari_ifkd.config import NetworkConfig, NoiseConfig
from napari_ifkd.distill import distill, train_teacher
from napari_ifkd.distill.training import Phase, Trainer, normalisation_of
from napari_ifkd.errors import EngineError
from napari_ifkd.events import EpochDone, Warned
from napari_ifkd.inference import predict_patches
from napari_ifkd.models import MILModel, build_model
from napari_ifkd.models.memory import Portion

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config

Network = Callable[[int], MILModel]


def finish(generator: Any) -> tuple[list, Any]:
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def limited(model: MILModel, most: int) -> list[int]:
    """Let a network run out of memory behind its first layers, above so many images; returns the sizes it was asked, as they come."""
    sizes: list[int] = []

    def look(module: torch.nn.Module, given: tuple[torch.Tensor, ...], answer: Any) -> None:
        sizes.append(len(given[0]))
        if len(given[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    model.trunk.stages[0].register_forward_hook(look)  # its batch norms, where it has any, have seen the batch by then
    return sizes


def warnings(events: list) -> list[str]:
    return [e.message for e in events if isinstance(e, Warned) and "Memory" in e.message]


@pytest.fixture
def plain() -> Network:
    """A network without batch norm, which alone sees its batch as a whole."""
    return lambda seed: build_model(NetworkConfig(width=0.125, trunk="vgg16"), seed)


def test_teacher_learns_the_same_in_parts(train: Bags, val: Bags, config: Config, plain: Network) -> None:
    config = config.replaced(**{"stage1.epochs": 2})
    whole, parts = plain(0), plain(0)
    before, _ = finish(train_teacher(train, val, whole, config))
    sizes = limited(parts, 3)
    after, _ = finish(train_teacher(train, val, parts, config))
    assert sizes[:6] == [8, 4, 2, 2, 2, 2]  # halved until it fits, then the whole batch, part by part
    assert sizes.count(8) == 2  # training and looking find it out for themselves, and once
    assert len(warnings(after)) == 2
    losses = [[e.loss for e in events if isinstance(e, EpochDone)] for events in (before, after)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    start = plain(0).state_dict()
    for key, value in whole.state_dict().items():
        moved = (value - start[key]).abs().max()
        torch.testing.assert_close(parts.state_dict()[key], value, atol=0.02 * float(moved), rtol=1e-4)


def test_gradients_of_a_step_are_those_of_the_whole_batch(train: Bags, config: Config, plain: Network) -> None:
    phase = Phase(0, 1, 8, 1e-3, (1.0,), 0.0, noise=NoiseConfig())
    gradients = []
    for most in (8, 3, 1):
        model = plain(0)
        limited(model, most)
        trainer = Trainer(model, train, phase, config)
        trainer.optimiser = torch.optim.SGD(model.parameters(), lr=0)  # weights stay: the last step's gradients compare
        trainer._factors = [1.0]
        finish(trainer.epoch(1, lambda outputs, batch: (outputs.fused.mean((1, 2, 3)) - batch.labels) ** 2))
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, two, atol=1e-7, rtol=1e-3)


def test_a_failed_attempt_leaves_no_trace_in_batch_norms(train: Bags, config: Config, network: Network) -> None:
    phase = Phase(0, 1, 16, 1e-3, (1.0,), 0.0, noise=None)
    straight, failed = network(0), network(0)
    limited(failed, 8)
    portion = Portion("training")
    portion.limit = 8
    for model, given in ((straight, portion), (failed, None)):
        finish(Trainer(model, train, phase, config, portion=given).epoch(1, lambda outputs, batch: outputs.fused.mean((1, 2, 3))))
    assert all(torch.equal(a, b) for a, b in zip(straight.buffers(), failed.buffers(), strict=True))


def test_rounds_go_on_in_parts_and_tell_once(train: Bags, val: Bags, config: Config, plain: Network) -> None:
    config = config.replaced(**{"acceptance.rule": "always"})
    teacher, student = plain(1), plain(2)
    sizes = [limited(teacher, 4), limited(student, 4)]
    events, outcome = finish(distill(teacher, student, train, val, config))
    assert outcome.accepted_round == 2
    assert sum(size > 4 for asked in sizes for size in asked) == 2  # over all rounds and both networks: once training, once looking
    assert len(warnings(events)) == 2


def test_maps_are_the_same_in_parts(train: Bags, network: Network) -> None:
    whole, parts = network(0), network(0)
    sizes = limited(parts, 3)
    maps = [predict_patches(model, train.images, batch=8) for model in (whole, parts)]
    assert sizes[0] == 8
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-3)
    assert normalisation_of(parts) == normalisation_of(whole)


def test_what_does_not_fit_at_all_is_told(train: Bags, val: Bags, config: Config, plain: Network) -> None:
    model = plain(0)
    limited(model, 0)
    with pytest.raises(EngineError, match="not even for one image"):
        finish(train_teacher(train, val, model, config))


def test_weights_that_the_last_step_of_an_epoch_broke_are_never_kept(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """The loss of an epoch is taken before its last step, so it does not tell."""
    model = network(0)
    steps = 0

    def breaks(optimiser: Any, *_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 4:  # the last of the second epoch
            next(model.parameters()).data.fill_(float("nan"))

    handle = register_optimizer_step_post_hook(breaks)
    states: list[dict] = []
    try:
        events, _ = finish(train_teacher(train, val, model, config, on_epoch=states.append))
    finally:
        handle.remove()
    assert [state["epoch"] for state in states] == [1]
    assert any(isinstance(e, Warned) and "diverged in epoch 2" in e.message for e in events)
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_out_of_memory_is_survived(train: Bags, val: Bags, config: Config, plain: Network) -> None:
    images = np.repeat(np.repeat(train.images, 16, 1), 16, 2)  # 512 px
    big = replace(train, images=images)
    finish(train_teacher(big, val, plain(0), config.replaced(**{"device": "cuda", "stage1.epochs": 1})))
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.7 * needed / total)
    try:
        events, _ = finish(train_teacher(big, val, plain(0), config.replaced(**{"device": "cuda", "stage1.epochs": 1})))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert warnings(events)
