"""Stage-1 losses and their pieces, against plain formulas in float64 differentiated by finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_ifkd.config import Stage1Config
from napari_ifkd.distill.losses import (
    background_dice,
    bounded,
    cam_bce,
    const_dice,
    gm_bce,
    semimetric_dice,
    soft_dice,
    stage1_loss,
    topk_bce,
    weighted_mean,
)
from napari_ifkd.distill.supervised import supervised_loss
from napari_ifkd.models import SideOutputs, fuse

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS = (0.3, 0.3, 0.4)
SHAPE = (3, 4, 5, 6)  # sides, images, height, width
LABELS = np.array([1, 0, 1, 0])


def outputs_of(logits: torch.Tensor) -> SideOutputs:
    """Make side outputs of logits ``(K, B, H, W)``, as a network does."""
    sides = tuple(logit[:, None] for logit in logits)
    return SideOutputs(sides, fuse([side.sigmoid() for side in sides], WEIGHTS))


def reference(loss_of_map: Callable[[np.ndarray, int], float], logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sum a loss of one map over the side and fused maps of each image, in float64, image by image."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    fused = sum(w * side for w, side in zip(WEIGHTS, p, strict=True))
    return np.array([sum(loss_of_map(f[b], int(labels[b])) for f in [*p, fused]) for b in range(len(labels))])


def dice(p: np.ndarray, q: np.ndarray) -> float:
    return 1 - (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)


def const_dice_of_map(f: np.ndarray, y: int) -> float:
    return dice(f, np.ones_like(f)) if y else dice(1 - f, np.ones_like(f))


def gm_of_map(f: np.ndarray, y: int) -> float:
    mean = (f**4).mean() ** 0.25
    return float(-np.log(mean if y else 1 - mean))


def topk_of_map(f: np.ndarray, y: int) -> float:
    top = np.sort(f.ravel())[::-1][: round(0.3 * f.size)]
    return float(-np.log(top.mean()) if y else -np.log(1 - top).mean())


CASES = [(const_dice, const_dice_of_map), (gm_bce, gm_of_map), (topk_bce, topk_of_map)]


@pytest.mark.parametrize(("loss", "of_map"), CASES)
def test_value_and_gradient_match_the_formula(loss: Callable, of_map: Callable) -> None:
    logits = np.random.default_rng(0).normal(0, 1.5, SHAPE)
    x = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    value = loss(outputs_of(x), torch.from_numpy(LABELS))
    assert value.shape == (4,)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value.detach(), reference(of_map, logits, LABELS), rtol=2e-5, atol=2e-6)

    value.sum().backward()
    rng, step = np.random.default_rng(1), 1e-5
    for _ in range(12):  # directional derivatives
        direction = rng.normal(size=SHAPE)
        ahead, behind = (reference(of_map, logits + s * direction, LABELS).sum() for s in (step, -step))
        np.testing.assert_allclose((x.grad.double().numpy() * direction).sum(), (ahead - behind) / (2 * step), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("loss", [const_dice, gm_bce, topk_bce])
@pytest.mark.parametrize("level", [-20.0, -5.0, 0.0, 5.0, 20.0])
def test_gradient_lives_wherever_the_label_is_not_met(loss: Callable, level: float) -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 0.1
    x = (noise + level).requires_grad_(True)
    value = loss(outputs_of(x), torch.from_numpy(LABELS))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()
    for image, label in enumerate(LABELS):
        gradient = x.grad[:, image]
        assert (gradient <= 0).all() if label else (gradient >= 0).all(), "the loss pulls the wrong way"
        met = level > 10 if label else level < -10
        if not met and loss is not const_dice:  # Dice of a saturated sigmoid is flat for any implementation
            assert gradient.abs().sum(dim=(1, 2)).min() > 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("loss", [const_dice, gm_bce, topk_bce])
def test_exact_zeros_and_ones_of_a_fused_map_stay_finite(loss: Callable, value: float) -> None:
    fused = torch.full((2, 1, 4, 4), value, requires_grad=True)
    outputs = SideOutputs((torch.zeros(2, 1, 4, 4),), fused)
    total = loss(outputs, torch.tensor([1, 0]))
    total.sum().backward()
    assert torch.isfinite(total).all()
    assert torch.isfinite(fused.grad).all()
    assert fused.grad.abs().sum() > 0


def cam_reference(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    score = logits.astype(np.float64).mean((2, 3))  # (K, B)
    return np.where(labels > 0, np.log1p(np.exp(-score)), np.log1p(np.exp(score))).sum(0)


def test_cam_bce_matches_the_formula_and_leaves_the_fused_map_alone() -> None:
    logits = np.random.default_rng(0).normal(0, 1.5, SHAPE)
    x = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    fused = torch.full((4, 1, 5, 6), 0.5, requires_grad=True)
    outputs = SideOutputs(tuple(side[:, None] for side in x), fused)
    value = cam_bce(outputs, torch.from_numpy(LABELS))
    np.testing.assert_allclose(value.detach(), cam_reference(logits, LABELS), rtol=2e-5)
    value.sum().backward()
    slope = 1 / (1 + np.exp(-logits.mean((2, 3)))) - LABELS  # of the mean; each of the 30 pixels has its share
    np.testing.assert_allclose(x.grad, np.broadcast_to(slope[:, :, None, None] / 30, SHAPE), rtol=1e-4)
    assert fused.grad is None


@pytest.mark.parametrize("level", [-60.0, 0.0, 60.0])
def test_gradient_of_cam_bce_lives_wherever_the_label_is_not_met(level: float) -> None:
    x = torch.full(SHAPE, level, requires_grad=True)
    value = cam_bce(outputs_of(x), torch.from_numpy(LABELS))
    value.sum().backward()
    assert torch.isfinite(value).all()
    for image, label in enumerate(LABELS):
        met = level > 10 if label else level < -10
        assert (x.grad[:, image].abs().sum() < 1e-6) == met


MASKS = np.stack([np.ones((5, 6)), np.zeros((5, 6)), np.eye(5, 6), np.triu(np.ones((5, 6)))])  # full, empty, and two in between


def supervised_reference(logits: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    fused = sum(w * side for w, side in zip(WEIGHTS, p, strict=True))

    def one(f: np.ndarray, m: np.ndarray) -> float:
        bce = -(m * np.log(f) + (1 - m) * np.log(1 - f)).mean()
        return float(bce + (dice(f, m) if m.any() else dice(1 - f, 1 - m)))

    return np.array([sum(one(f[b], MASKS[b]) for f in [*p, fused]) for b in range(4)])


def test_supervised_loss_matches_the_formula() -> None:
    logits = np.random.default_rng(0).normal(0, 1.5, SHAPE)
    x = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    value = supervised_loss(outputs_of(x), torch.from_numpy(MASKS))
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value.detach(), supervised_reference(logits), rtol=2e-5)
    value.sum().backward()
    rng, step = np.random.default_rng(1), 1e-5
    for _ in range(12):
        direction = rng.normal(size=SHAPE)
        ahead, behind = (supervised_reference(logits + s * direction).sum() for s in (step, -step))
        np.testing.assert_allclose((x.grad.double().numpy() * direction).sum(), (ahead - behind) / (2 * step), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("level", [-60.0, 60.0])
def test_supervised_gradient_lives_wherever_the_mask_is_not_met(level: float) -> None:
    x = torch.full(SHAPE, level, requires_grad=True)
    supervised_loss(outputs_of(x), torch.from_numpy(MASKS)).sum().backward()
    assert torch.isfinite(x.grad).all()
    wrong = torch.from_numpy(MASKS > 0) == (level < 0)
    assert (x.grad.abs()[:, wrong] > 1e-3).all()
    assert (x.grad.sign()[:, wrong] == (1 if level > 0 else -1)).all()


def test_settings_name_the_loss() -> None:
    outputs = outputs_of(torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)))
    labels = torch.from_numpy(LABELS)
    assert torch.equal(stage1_loss(Stage1Config(loss="const-dice"))(outputs, labels), const_dice(outputs, labels))
    assert torch.equal(stage1_loss(Stage1Config(loss="gm-bce", gm_exponent=2))(outputs, labels), gm_bce(outputs, labels, 2))
    assert torch.equal(stage1_loss(Stage1Config(loss="topk-bce", top_share=0.5))(outputs, labels), topk_bce(outputs, labels, 0.5))
    assert torch.equal(stage1_loss(Stage1Config(method="cam", loss="gm-bce"))(outputs, labels), cam_bce(outputs, labels))
    assert torch.equal(stage1_loss(Stage1Config(method="oaa"))(outputs, labels), cam_bce(outputs, labels))


def test_dice_pieces_match_their_formulas() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 3, 50))
    tp, tq = torch.tensor(p), torch.tensor(q)
    np.testing.assert_allclose(soft_dice(tp, tq), [dice(a, b) for a, b in zip(p, q, strict=True)], rtol=1e-12)
    np.testing.assert_allclose(background_dice(tp), [dice(1 - a, np.ones(50)) for a in p], rtol=1e-12)
    np.testing.assert_allclose(semimetric_dice(tp, tq), np.abs(p - q).sum(1) / (p.sum(1) + q.sum(1)), rtol=1e-12)
    keep = rng.random((3, 50)) < 0.6
    expected = [np.abs(a - b)[k].sum() / (a[k].sum() + b[k].sum()) for a, b, k in zip(p, q, keep, strict=True)]
    np.testing.assert_allclose(semimetric_dice(tp, tq, torch.from_numpy(keep)), expected, rtol=1e-12)


def test_semimetric_uses_the_complement_where_there_is_no_foreground() -> None:
    p = torch.rand(1, 50, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
    loss = semimetric_dice(p, torch.zeros(1, 50).double())
    loss.sum().backward()
    total = p.detach().sum()
    torch.testing.assert_close(loss.detach()[0], total / (100 - total))
    torch.testing.assert_close(p.grad, torch.full_like(p, float(100 / (100 - total) ** 2)))


def test_semimetric_with_nothing_to_count_is_zero() -> None:
    p = torch.rand(1, 50, requires_grad=True)
    loss = semimetric_dice(p, torch.rand(1, 50), torch.zeros(1, 50))
    loss.sum().backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(p.grad).all()


def test_soft_dice_grows_the_foreground_and_the_semimetric_does_not() -> None:
    """The reason for the semimetric: minimise each over p for a soft target, and compare the area marked."""
    rng = np.random.default_rng(0)
    q = torch.tensor(rng.beta(0.8, 1.6, (1, 2000)), dtype=torch.float32)
    areas = {}
    for name, loss in (("soft", soft_dice), ("semimetric", semimetric_dice)):
        z = torch.zeros_like(q).requires_grad_(True)
        optimiser = torch.optim.Adam([z], 0.1)
        for _ in range(300):
            optimiser.zero_grad()
            (loss(z.sigmoid(), q).sum() * 100).backward()
            optimiser.step()
        areas[name] = float((z >= 0).float().mean())
    truth = float((q >= 0.5).float().mean())
    assert areas["soft"] > truth + 0.1
    assert areas["semimetric"] == pytest.approx(truth, abs=0.02)


def test_weights_favour_easy_pixels_and_carry_no_gradient() -> None:
    rng = np.random.default_rng(0)
    loss = rng.random((3, 40))
    target = np.stack([rng.random(40) < 0.5, np.zeros(40), np.ones(40)]).astype(float)
    x = torch.tensor(loss, requires_grad=True)
    value = weighted_mean(x, torch.tensor(target))
    omega = 40 * np.exp(-loss[0]) / np.exp(-loss[0]).sum()
    np.testing.assert_allclose(value.detach(), [(omega * loss[0]).mean(), loss[1].mean(), loss[2].mean()], rtol=1e-12)
    value.sum().backward()
    np.testing.assert_allclose(x.grad, np.stack([omega, np.ones(40), np.ones(40)]) / 40, rtol=1e-12)


def test_certain_pixels_keep_their_weight_and_the_others_share_theirs() -> None:
    rng = np.random.default_rng(0)
    loss, target = rng.random((3, 40)), (rng.random((3, 40)) < 0.5).astype(float)
    certain = rng.random((3, 40)) < 0.3
    certain[2] = True
    x = torch.tensor(loss, requires_grad=True)
    value = weighted_mean(x, torch.tensor(target), torch.tensor(certain))
    omega = np.ones((3, 40))
    for row in range(2):
        easy = np.exp(-loss[row][~certain[row]])
        omega[row][~certain[row]] = easy / easy.mean()
    np.testing.assert_allclose(value.detach(), (omega * loss).mean(1), rtol=1e-12)
    value.sum().backward()
    np.testing.assert_allclose(x.grad, omega / 40, rtol=1e-12)


def test_bounded_clamps_the_value_and_passes_the_gradient() -> None:
    p = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    out = bounded(p, 0.1, 0.9)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), torch.tensor([0.1, 0.5, 0.9]))
    assert torch.equal(p.grad, torch.ones(3))
