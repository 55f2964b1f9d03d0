"""What the paper states and its released program does, shown line by line.

The formulas themselves are in ``test_losses`` and ``test_kd``: each loss, value and gradient, against plain float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch

from napari_ifkd.bags.hints import Hints
from napari_ifkd.config import Config, Mode, RobustConfig, RoundConfig, Stage1Loss, Structure
from napari_ifkd.distill import distill
from napari_ifkd.distill.kd import Target, kd_loss
from napari_ifkd.events import Warned
from napari_ifkd.models import MILModel, SideOutputs, weights_hash

from . import test_kd, test_losses
from .test_stage1 import finish, same_weights

if TYPE_CHECKING:
    from napari_ifkd.bags import Bags

Network = Callable[[int], MILModel]
K, B, H, W = 3, 2, 6, 5
POSITIVE, NEGATIVE = 0, 1
LABELS = torch.tensor([1, 0])
MODES = get_args(Mode)


def test_every_loss_in_the_settings_has_a_reference() -> None:
    assert {loss.__name__.replace("_", "-") for loss, _ in test_losses.CASES} == set(get_args(Stage1Loss))
    assert {(c.mode, c.structure) for c in test_kd.CONFIGS} >= {(m, s) for m in MODES for s in get_args(Structure) if m != "oeem"}
    assert {c.mode for c in test_kd.CONFIGS} == set(MODES)


# ---- learning goes on ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [-9.0, -3.0, 0.0, 3.0, 9.0])
@pytest.mark.parametrize("q", [0.0, 0.2, 0.9, 1.0])
def test_the_gradient_is_neither_zero_nor_infinite_where_the_student_is_wrong(mode: Mode, level: float, q: float) -> None:
    x = torch.full((K, B, H, W), level, requires_grad=True)
    target = torch.full((B, 1, H, W), q)
    target[:, :, 0] = 0.95  # a second class, so that pixels are weighted
    kd_loss(test_kd.tensors(x), Target(target), LABELS, RoundConfig(mode=mode)).sum().backward()
    assert torch.isfinite(x.grad).all()
    below = x.grad[:, :, 1:]  # of the rows that hold q
    probability = 1 / (1 + np.exp(-level))
    if probability > 0.04:
        assert (below[:, NEGATIVE] > 0).all(), "a negative bag is pushed down in every pixel"
    if q == 0 and probability > 0.04 and mode != "released":
        assert (below[:, POSITIVE].sum((1, 2)) > 1e-6).all()
    if q == 1 and probability < 0.96 and mode != "released":
        assert (below[:, POSITIVE].sum((1, 2)) < -1e-6).all()


@pytest.mark.parametrize("mode", ["robust", "paper", "oeem"])
@pytest.mark.parametrize(("q", "level"), [(0.0, 13.0), (1.0, -13.0)])
def test_a_saturated_student_still_learns(mode: Mode, q: float, level: float) -> None:
    """The sigmoid is flat there; the cross-entropy, in float32 and bounded in value only, makes up for it."""
    x = torch.full((K, B, H, W), level, requires_grad=True)
    kd_loss(test_kd.tensors(x), Target(torch.full((B, 1, H, W), q)), LABELS, RoundConfig(mode=mode)).sum().backward()
    steep = x.grad[:, POSITIVE].abs().sum((1, 2))
    assert torch.isfinite(x.grad).all()
    assert (steep > 0.1).all()


# ---- structures: who learns, and from what ---------------------------------------------------------------------------------------------


def gradients(
    config: RoundConfig, fused_t: torch.Tensor, sides_t: torch.Tensor | None, hints: torch.Tensor | None = None
) -> dict[str, Any]:
    """Return the gradient of each output of the student, taken apart: here the fused map does not depend on the sides."""
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(B, 1, H, W, generator=generator).requires_grad_(True) for _ in range(K)]
    fused = torch.rand(B, 1, H, W, generator=generator).requires_grad_(True)
    kd_loss(SideOutputs(tuple(sides), fused), Target(fused_t, sides_t, hints), LABELS, config).sum().backward()
    return {f"side {i}": side.grad for i, side in enumerate(sides)} | {"fused": fused.grad}


def teacher_maps_of(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.rand(B, 1, H, W, generator=generator), torch.rand(K, B, 1, H, W, generator=generator)


EVERYTHING = {"side 0", "side 1", "side 2", "fused"}


@pytest.mark.parametrize("mode", ["paper", "robust", "released"])
@pytest.mark.parametrize(
    ("structure", "learners"), [("fusion", EVERYTHING), ("fused", {"fused"}), ("sides", EVERYTHING)]
)  # sides: the fused map by cross-entropy alone
def test_which_outputs_learn(mode: Mode, structure: Structure, learners: set[str]) -> None:
    found = gradients(RoundConfig(mode=mode, structure=structure), *teacher_maps_of())
    for image in (POSITIVE, NEGATIVE):
        learns = {name for name, g in found.items() if g is not None and g[image].abs().sum() > 0}
        assert learns == learners


@pytest.mark.parametrize("mode", ["paper", "robust"])
def test_what_each_output_learns_from(mode: Mode) -> None:
    """Another map of the teacher changes the gradient of exactly the outputs that are to see it."""
    fused_t, sides_t = teacher_maps_of(0)
    other_fused, other_sides = teacher_maps_of(1)

    def changed(structure: Structure, fused: torch.Tensor, sides: torch.Tensor) -> set[str]:
        config = RoundConfig(mode=mode, structure=structure, robust=RobustConfig(confidence=0))  # its mask is the fused map's for all
        before, after = gradients(config, fused_t, sides_t), gradients(config, fused, sides)
        for name, g in before.items():
            assert g is None or torch.equal(g[NEGATIVE], after[name][NEGATIVE]), "of negative bags the teacher says nothing"
        return {name for name, g in before.items() if g is not None and not torch.equal(g[POSITIVE], after[name][POSITIVE])}

    assert changed("fusion", other_fused, sides_t) == EVERYTHING
    assert changed("fusion", fused_t, other_sides) == set()
    assert changed("fused", other_fused, sides_t) == {"fused"}
    assert changed("fused", fused_t, other_sides) == set()
    assert changed("sides", other_fused, sides_t) == {"fused"}, "by the cross-entropy"
    for i in range(K):
        one = sides_t.clone()
        one[i] = other_sides[i]
        assert changed("sides", fused_t, one) == {f"side {i}"}, "each side output has a teacher of its own"


def test_oeem_knows_the_fused_map_only() -> None:
    for structure in get_args(Structure):
        found = gradients(RoundConfig(mode="oeem", structure=structure), *teacher_maps_of())
        assert {name for name, g in found.items() if g is not None and g.abs().sum() > 0} == {"fused"}
        gradients(RoundConfig(mode="oeem", structure=structure), teacher_maps_of()[0], None)  # no side maps are asked for


@pytest.mark.parametrize("structure", get_args(Structure))
def test_a_corrected_pixel_teaches_every_output(structure: Structure) -> None:
    hints = torch.zeros(B, H, W, dtype=torch.uint8)
    hints[POSITIVE, 2, 3], hints[POSITIVE, 4, 1] = 2, 1
    config = RoundConfig(structure=structure)
    before, after = (gradients(config, *teacher_maps_of(), told) for told in (None, hints))
    for name, g in after.items():
        old = torch.zeros_like(g) if before[name] is None else before[name]
        assert g[POSITIVE, 0, 2, 3] < old[POSITIVE, 0, 2, 3].clamp_max(0), f"{name} is pulled up"
        assert g[POSITIVE, 0, 4, 1] > old[POSITIVE, 0, 4, 1].clamp_min(0), f"{name} is pushed down"
        assert torch.equal(g[NEGATIVE], old[NEGATIVE])


# ---- mode paper ------------------------------------------------------------------------------------------------------------------------


def test_paper_swaps_for_real(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """Both networks change hands: the round's student teaches, and what taught it is the next student, weight for weight."""
    config = config.replaced(**{"rounds.mode": "paper", "rounds.rounds": 3, "rounds.epochs": 1})
    a, b = network(0), network(1)
    first = weights_hash(a)
    students: list[str] = []
    pairs: list[tuple[str, str]] = []  # after each switch
    modules: list[MILModel] = []

    def keep(index: int, model: Any, scores: dict, decision: Any) -> None:
        modules.append(model)
        students.append(weights_hash(model))

    def told(state: dict) -> None:
        if state["epoch"] == 0:
            pairs.append((of_state(state["pair"]["teacher"]), of_state(state["pair"]["student"])))

    def of_state(weights: dict) -> str:
        model = network(9)
        model.load_state_dict(weights)
        return weights_hash(model)

    _, outcome = finish(distill(a, b, train, val, config, on_round=keep, on_epoch=told))
    assert students[0] == first
    assert len(set(students)) == 4, "each round made another network"
    assert pairs == [(students[1], first), (students[2], students[1]), (students[3], students[2])]
    assert [m is a for m in modules] == [True, False, True, False], "roles swap as modules"
    assert outcome.model is b
    assert (weights_hash(b), weights_hash(a)) == (students[3], students[2])


def test_paper_has_no_chooser(train: Bags, val: Bags, config: Config, network: Network) -> None:
    """Last epoch of the round, always switch, no copy of the teacher at the start of a round."""
    states: list[dict] = []
    config = config.replaced(**{"rounds.mode": "paper", "rounds.rounds": 1, "acceptance.max_area_shift": 1e-9})
    student = network(1)
    initial = {key: value.clone() for key, value in student.state_dict().items()}
    _, outcome = finish(distill(network(0), student, train, val, config, on_epoch=states.append))
    assert same_weights(states[0]["pair"]["start"], initial)
    assert outcome.accepted_round == 1
    assert outcome.decisions[0].criterion == "always"
    assert same_weights(outcome.model.state_dict(), states[1]["pair"]["student"])


# ---- mode released: its quirks ---------------------------------------------------------------------------------------------------------


def cross_entropy_of(mode: Mode, p: float, q: float) -> float:
    """Return the weighted cross-entropy alone: the loss less its Dice."""
    outputs = SideOutputs((torch.zeros(1, 1, H, W),), torch.full((1, 1, H, W), p))
    target = torch.full((1, 1, H, W), q)
    whole = kd_loss(outputs, Target(target), torch.tensor([1]), RoundConfig(mode=mode, structure="fused"))
    dice = 1 - (2 * p * q * H * W + 1) / (p * H * W + q * H * W + 1)
    return (float(whole) - dice) / 2


def test_released_quirk_1_the_target_is_truncated() -> None:
    """``fusion_t.long()``: a teacher sure at .999 teaches background, so the term shrinks the area."""
    for q in (0.0, 0.4, 0.6, 0.999):
        assert cross_entropy_of("released", 0.9, q) == pytest.approx(cross_entropy_of("released", 0.9, 0.0), abs=1e-5)
        assert cross_entropy_of("released", 0.1, q) < cross_entropy_of("released", 0.9, q)
    assert cross_entropy_of("released", 0.9, 1.0) < cross_entropy_of("released", 0.1, 1.0), "exactly 1 is all it sees as tumour"
    assert cross_entropy_of("paper", 0.9, 0.6) < cross_entropy_of("paper", 0.1, 0.6), "the stated method thresholds at one half"


def test_released_quirk_2_probabilities_are_read_as_logits() -> None:
    """The loss lives in [0.313, 1.313]: log(1 + e^-1) when all is right, log(1 + e) when all is wrong."""
    assert cross_entropy_of("released", 0.0, 0.0) == pytest.approx(np.log1p(np.exp(-1)), rel=1e-5) == pytest.approx(0.313, abs=5e-4)
    assert cross_entropy_of("released", 1.0, 0.0) == pytest.approx(np.log1p(np.exp(1)), rel=1e-5) == pytest.approx(1.313, abs=5e-4)
    assert cross_entropy_of("paper", 1e-3, 0.0) < 0.01, "a true cross-entropy goes to zero"
    assert cross_entropy_of("paper", 0.999, 0.0) > 6


def test_released_quirk_3_the_swap_leaves_the_student_in_both_roles(train: Bags, val: Bags, config: Config, network: Network) -> None:
    states: list[dict] = []
    config = config.replaced(**{"rounds.mode": "released", "rounds.rounds": 2, "rounds.epochs": 1})
    teacher, student = network(0), network(1)
    first = weights_hash(teacher)
    _, outcome = finish(distill(teacher, student, train, val, config, on_epoch=states.append))
    for trained, swapped in ((states[0], states[1]), (states[2], states[3])):
        assert same_weights(swapped["pair"]["teacher"], trained["pair"]["student"])
        assert same_weights(swapped["pair"]["student"], trained["pair"]["student"])
    assert weights_hash(teacher) == weights_hash(student) == weights_hash(outcome.model) != first


def test_released_knows_no_corrections(train: Bags, val: Bags, config: Config, network: Network) -> None:
    config = config.replaced(**{"rounds.mode": "released", "rounds.rounds": 1, "rounds.epochs": 1})
    hints = Hints(train.subset([1, 3]), np.full((2, 32, 32), 2, np.uint8))
    events, told = finish(distill(network(0), network(1), train, val, config, hints=lambda index: hints))
    _, plain = finish(distill(network(0), network(1), train, val, config))
    assert same_weights(told.model.state_dict(), plain.model.state_dict())
    assert any(isinstance(e, Warned) and "Corrections do not count" in e.message for e in events)
