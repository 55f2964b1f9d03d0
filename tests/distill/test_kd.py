"""The loss of a round, against plain formulas in float64, in every mode and structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_ifkd.config import RobustConfig, RoundConfig
from napari_ifkd.distill.kd import Target, kd_loss
from napari_ifkd.models import SideOutputs, fuse

K, B, H, W = 3, 4, 6, 5
WEIGHTS = (0.3, 0.3, 0.4)
LABELS = np.array([1, 0, 1, 0])


def dice(p: np.ndarray, q: np.ndarray) -> float:
    return 1 - (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)


def weighted(loss: np.ndarray, target: np.ndarray, certain: np.ndarray, omega: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    if omega is None:
        omega = np.ones_like(loss)
        if (target >= 0.5).any() and (target < 0.5).any():
            omega[~certain] = np.exp(-loss[~certain]) / np.exp(-loss[~certain]).mean()
    return float((omega * loss).mean()), omega


def cross_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return -(q * np.log(p) + (1 - q) * np.log(1 - p))


def reference(
    logits: np.ndarray, fused_t: np.ndarray, sides_t: np.ndarray, config: RoundConfig, omegas: list, hints: np.ndarray | None = None
) -> float:
    """Sum the loss over images. Weights omega are constants of the derivative: computed once, kept in ``omegas``."""
    p = 1 / (1 + np.exp(-logits))
    fused = sum(w * side for w, side in zip(WEIGHTS, p, strict=True))
    hints = np.zeros((B, H, W), int) if hints is None or config.mode == "released" else hints
    asked = config.mode == "robust" and not config.robust.hard_negatives
    total = 0.0
    for b, label in enumerate(LABELS):
        told = hints[b] > 0
        y = bool(label) or asked or (hints[b] == 2).any()
        q, *sides = (np.where(told, hints[b] == 2, m if label or asked else 0.0) for m in (fused_t[b], *sides_t[:, b]))
        pairs = {
            "fusion": [(side[b], q) for side in p] + [(fused[b], q)],
            "fused": [(fused[b], q)],
            "sides": [(side[b], t) for side, t in zip(p, sides, strict=True)],
        }[config.structure]
        if told.any():
            maps = np.stack([side[b] for side in p] + [fused[b]])
            total += config.corrections_weight * cross_entropy(maps, np.broadcast_to(q, maps.shape))[:, told].mean()
        if config.mode == "robust":
            total += robust_reference(pairs, fused[b], q, y, told, config.robust)
            continue
        if config.mode != "oeem":
            total += sum(dice(s, t) if y else dice(1 - s, np.ones((H, W))) for s, t in pairs)
        if config.mode != "released":
            target = (q >= 0.5).astype(float)
            loss = cross_entropy(fused[b], target)
        else:
            target = np.trunc(q)
            scores = np.stack([1 - fused[b], fused[b]])
            log_softmax = scores - np.log(np.exp(scores).sum(0))
            loss = -np.where(target > 0, log_softmax[1], log_softmax[0])
            assert 0.313 < loss.min() < loss.max() < 1.314
        value, omega = weighted(loss, target, told, omegas[b] if len(omegas) > b else None)
        if len(omegas) <= b:
            omegas.append(omega)
        total += value if config.mode == "oeem" else 2 * value
    return total


def robust_reference(pairs: list, fused: np.ndarray, q: np.ndarray, y: bool, told: np.ndarray, parts: RobustConfig) -> float:
    keep = (np.abs(q - 0.5) >= parts.confidence) | told if y and parts.confidence > 0 else np.ones_like(q, bool)
    total = 0.0
    for s, t in pairs:
        if parts.semimetric:
            s, t = s[keep], t[keep]
            below = s.sum() + t.sum() if t.sum() >= 1 else 2 * s.size - s.sum() - t.sum()
            total += np.abs(s - t).sum() / below
        else:
            total += dice(s[keep], t[keep]) if y else dice(1 - s, np.ones((H, W)))
    if parts.pixel_bce:
        total += cross_entropy(fused, q)[keep].mean()
    return total


def tensors(logits: torch.Tensor) -> SideOutputs:
    sides = tuple(logit[:, None] for logit in logits)
    return SideOutputs(sides, fuse([side.sigmoid() for side in sides], WEIGHTS))


CONFIGS = [
    *(
        RoundConfig(mode=mode, structure=structure)
        for mode in ("robust", "paper", "released")
        for structure in ("fusion", "fused", "sides")
    ),
    RoundConfig(robust=RobustConfig(semimetric=False)),
    RoundConfig(robust=RobustConfig(pixel_bce=False)),
    RoundConfig(robust=RobustConfig(confidence=0)),
    RoundConfig(robust=RobustConfig(confidence=0.2)),
    RoundConfig(robust=RobustConfig(hard_negatives=False)),
    RoundConfig(robust=RobustConfig(hard_negatives=False, semimetric=False)),
    RoundConfig(robust=RobustConfig(hard_negatives=False), structure="sides"),
    RoundConfig(mode="oeem", structure="fused"),
    RoundConfig(corrections_weight=0),
    RoundConfig(corrections_weight=3),
]

HINTS = np.zeros((B, H, W), int)
HINTS[0, 0], HINTS[0, 1] = 1, 2  # in a positive bag both
HINTS[1, 0] = 1  # in a negative one what is known anyhow
HINTS[2, :, :2] = 2
HINTS_AGAINST_THE_LABEL = HINTS.copy()
HINTS_AGAINST_THE_LABEL[3, 2, 1:4] = 2


@pytest.mark.parametrize("hints", [None, HINTS, HINTS_AGAINST_THE_LABEL], ids=["teacher", "corrected", "against"])
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.mode}-{c.structure}")
def test_value_and_gradient_match_the_formula(config: RoundConfig, hard: bool, hints: np.ndarray | None) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.2, (K, B, H, W))
    fused_t, sides_t = rng.random((B, H, W)), rng.random((K, B, H, W))
    if hard:
        fused_t, sides_t = np.round(fused_t), np.round(sides_t)
    x = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    told = None if hints is None else torch.tensor(hints, dtype=torch.uint8)
    target = Target(torch.tensor(fused_t)[:, None], torch.tensor(sides_t)[:, :, None], told)
    value = kd_loss(tensors(x), target, torch.from_numpy(LABELS), config)
    omegas: list = []
    np.testing.assert_allclose(float(value.detach().sum()), reference(logits, fused_t, sides_t, config, omegas, hints), rtol=2e-5)

    value.sum().backward()
    step = 1e-6
    for _ in range(4):
        direction = rng.normal(size=logits.shape)
        ahead, behind = (reference(logits + s * direction, fused_t, sides_t, config, omegas, hints) for s in (step, -step))
        np.testing.assert_allclose((x.grad.double().numpy() * direction).sum(), (ahead - behind) / (2 * step), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("mode", ["robust", "paper", "released"])
def test_the_teacher_is_not_asked_about_negatives(mode: str) -> None:
    config = RoundConfig(mode=mode)
    outputs = tensors(torch.randn(K, B, H, W, generator=torch.Generator().manual_seed(0)))
    negative = torch.zeros(B, dtype=torch.int8)
    values = [kd_loss(outputs, Target(torch.full((B, 1, H, W), level)), negative, config) for level in (0.0, 0.9)]
    assert torch.equal(*values)


@pytest.mark.parametrize("mode", ["robust", "paper", "released"])
@pytest.mark.parametrize("teacher", [0.0, 1e-7, 0.5, 1.0])
@pytest.mark.parametrize("level", [-30.0, 0.0, 30.0])
def test_extremes_stay_finite(mode: str, teacher: float, level: float) -> None:
    x = torch.full((K, B, H, W), level, requires_grad=True)
    value = kd_loss(tensors(x), Target(torch.full((B, 1, H, W), teacher)), torch.from_numpy(LABELS), RoundConfig(mode=mode))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("mode", ["robust", "paper", "released"])
def test_gradient_reaches_negatives_and_soft_positives(mode: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(K, B, H, W, generator=generator).requires_grad_(True)
    target = Target(torch.rand(B, 1, H, W, generator=generator) * 0.2 + 0.7)
    kd_loss(tensors(x), target, torch.from_numpy(LABELS), RoundConfig(mode=mode)).sum().backward()
    assert x.grad.abs().sum(dim=(0, 2, 3)).min() > 1e-3
    assert (x.grad[:, LABELS == 0] > 0).all(), "negatives are pushed down everywhere"


def test_mode_released_ignores_what_the_teacher_marks_in_its_cross_entropy() -> None:
    """Its truncated target makes the term shrink the area, whatever the teacher says short of exactly 1."""
    x = torch.zeros(K, 1, H, W, requires_grad=True)
    config = RoundConfig(mode="released", structure="fused")
    outputs = tensors(x)
    values = [kd_loss(outputs, Target(torch.full((1, 1, H, W), level)), torch.tensor([1]), config) for level in (0.6, 0.999)]
    dices = [dice(np.full((H, W), 0.5), np.full((H, W), level)) for level in (0.6, 0.999)]
    np.testing.assert_allclose([float(v.detach()) - d for v, d in zip(values, dices, strict=True)], 2 * np.log(2), rtol=1e-5)


def test_side_maps_are_asked_for() -> None:
    outputs = tensors(torch.zeros(K, B, H, W))
    with pytest.raises(ValueError, match="student has 3, teacher 0"):
        kd_loss(outputs, Target(torch.zeros(B, 1, H, W)), torch.from_numpy(LABELS), RoundConfig(structure="sides"))
