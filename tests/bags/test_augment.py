"""Augmentation: every one of the eight turns, stains that stay H&E, the same draw on every device."""

from __future__ import annotations

import numpy as np
import torch

from napari_ifkd.bags.augment import apply_flips, draw_flips, jitter_stain


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flips_make_all_eight_turns() -> None:
    image = torch.arange(16).view(1, 4, 4)
    flips = torch.tensor([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=torch.bool)
    turned = apply_flips(image.expand(8, 4, 4), flips)
    found = {tuple(t.flatten().tolist()) for t in turned}
    base = image[0].numpy()
    wanted = {tuple(np.rot90(side, k).ravel().tolist()) for side in (base, base.T) for k in range(4)}
    assert found == wanted


def test_images_and_maps_turn_alike() -> None:
    images = torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8, generator=generator())
    flips = draw_flips(6, True, generator(1))
    assert torch.equal(apply_flips(images, flips)[..., 1], apply_flips(images[..., 1], flips))


def test_oblong_images_keep_their_shape() -> None:
    flips = draw_flips(50, False, generator())
    assert not flips[:, 2].any()
    assert flips[:, 0].any()
    assert apply_flips(torch.zeros(50, 4, 6, 3), flips).shape == (50, 4, 6, 3)


def test_stain_of_no_strength_changes_nothing() -> None:
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=generator())
    changed = jitter_stain(images, generator(), 0.0, 0.0).int() - images.int()
    assert changed.abs().max() <= 1


def test_stain_scales_and_shifts_each_stain() -> None:
    """Against a plain separation into stains in float64, with the numbers as they are drawn."""
    images = torch.randint(0, 256, (3, 5, 6, 3), dtype=torch.uint8, generator=generator())
    draw = generator(4)
    scales, shifts = (
        (1 + 0.3 * (2 * torch.rand(3, 3, generator=draw) - 1)).double(),
        0.05 * (2 * torch.rand(3, 3, generator=draw) - 1).double(),
    )
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    amounts = np.linalg.solve(stains.T, -np.log((images.numpy().reshape(-1, 3).T + 1) / 256)).T.reshape(3, -1, 3)
    density = (amounts * scales.numpy()[:, None] + shifts.numpy()[:, None]) @ stains
    expected = np.clip(256 * np.exp(-density) - 1, 0, 255).reshape(images.shape)
    np.testing.assert_allclose(jitter_stain(images, generator(4), 0.3, 0.05), expected, atol=0.51)
    assert np.abs(expected - images.numpy()).max() > 20


def test_stain_varies_from_image_to_image_and_leaves_glass_white() -> None:
    tissue = torch.tensor([180, 90, 150], dtype=torch.uint8).expand(20, 4, 4, 3)
    out = jitter_stain(tissue, generator()).float().mean((1, 2))
    assert out.std(0).min() > 2
    assert (out.mean(0) - torch.tensor([180.0, 90.0, 150.0])).abs().max() < 10
    glass = torch.full((20, 4, 4, 3), 250, dtype=torch.uint8)
    assert jitter_stain(glass, generator()).min() > 235


def test_stain_takes_turned_images() -> None:
    images = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8, generator=generator())
    turned = images.transpose(1, 2)
    assert torch.equal(jitter_stain(turned, generator(3)), jitter_stain(images, generator(3)).transpose(1, 2))
