"""Criss-cross attention against loops written down independently, in float64."""

import math

import numpy as np
import pytest
import torch

from napari_ifkd.models.attention import CrissCrossAttention, criss_cross


def by_loops(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """One image: ``query``, ``key`` (D, H, W), ``value`` (C, H, W)."""
    _, height, width = query.shape
    out = np.zeros_like(value)
    for y in range(height):
        for x in range(width):
            cross = {(y, other) for other in range(width)} | {(other, x) for other in range(height)}  # itself once
            energy = {p: sum(query[d, y, x] * key[d, p[0], p[1]] for d in range(len(query))) for p in cross}
            total = sum(math.exp(e) for e in energy.values())
            for (py, px), e in energy.items():
                out[:, y, x] += math.exp(e) / total * value[:, py, px]
    return out


@pytest.mark.parametrize(("height", "width"), [(4, 5), (6, 3), (1, 4), (5, 1)])
def test_criss_cross_agrees_with_loops(height, width):
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 2, 3, height, width)) * 1.5
    value = rng.normal(size=(2, 4, height, width))
    given = criss_cross(*(torch.from_numpy(a) for a in (query, key, value)))
    wanted = np.stack([by_loops(q, k, v) for q, k, v in zip(query, key, value, strict=True)])
    np.testing.assert_allclose(given.numpy(), wanted, atol=1e-12)


def test_two_passes_share_weights_and_see_the_whole_image():
    torch.manual_seed(0)
    layer = CrissCrossAttention(8).double()
    torch.nn.init.constant_(layer.gamma, 0.7)
    x = torch.randn(1, 8, 5, 6, dtype=torch.double)
    wanted = x
    for _ in range(2):
        wanted = wanted + 0.7 * criss_cross(layer.query(wanted), layer.key(wanted), layer.value(wanted))
    torch.testing.assert_close(layer(x), wanted)
    x.requires_grad_()
    layer(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0].abs().sum(dim=0) > 0).all()  # one pass would reach a cross only


def test_it_starts_as_the_identity():
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(CrissCrossAttention(16)(x), x)


def test_gradients_are_right_though_the_weights_are_computed_twice():
    torch.manual_seed(0)
    layer = CrissCrossAttention(4, reduction=2).double()
    torch.nn.init.constant_(layer.gamma, 0.5)
    assert torch.autograd.gradcheck(layer, torch.randn(1, 4, 2, 3, dtype=torch.double, requires_grad=True))
