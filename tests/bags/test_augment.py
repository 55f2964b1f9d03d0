"""Augmentation: every one of the eight turns, stains that stay H&E, the same draw on every device."""

from __future__ import annotations

import numpy as np
import torch

from napari_ifkd.bags.augment import apply_flips, apply_zooms, augment, draw_boxes, draw_flips, draw_zooms, inside, jitter_stain
from napari_ifkd.config import NoiseConfig


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


STRONG = NoiseConfig(stain=0.3, zoom=(0.8, 1.6), paste=1.0)


def positions(count: int, side: int = 24) -> torch.Tensor:
    """Images that tell where each pixel came from: their number, then row and column, as grey values that staining leaves apart."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([torch.stack([torch.full_like(y, 40 * n), 5 * y, 5 * x], -1) for n in range(count)]).to(torch.uint8)


def test_boxes_go_only_into_positive_images_and_come_from_negative_ones() -> None:
    labels = torch.tensor([1, 0, 1, 1, 0, 1])
    boxes, sources = draw_boxes(labels, (32, 48), 1.0, generator())
    top, bottom, left, right = boxes.unbind(1)
    pasted = (bottom > top) & (right > left)
    assert torch.equal(pasted, labels > 0)
    assert set(sources.tolist()) <= {1, 4}
    height, width = (bottom - top)[pasted], (right - left)[pasted]
    assert (height >= 8).all()
    assert (height <= 21).all()
    assert (width >= 12).all()
    assert (width <= 31).all()
    assert (bottom <= 32).all()
    assert (right <= 48).all()


def test_boxes_are_pasted_as_often_as_asked_and_everywhere() -> None:
    labels = torch.ones(4000, dtype=torch.int8)
    labels[0] = 0
    boxes, _ = draw_boxes(labels, (16, 16), 0.25, generator())
    assert abs(float((boxes[:, 1] > boxes[:, 0]).float().mean()) - 0.25) < 0.03
    reached = inside(boxes, (16, 16), torch.device("cpu")).any(0)
    assert reached.all()


def test_without_negative_images_nothing_is_pasted() -> None:
    boxes, _ = draw_boxes(torch.ones(5), (16, 16), 1.0, generator())
    assert not inside(boxes, (16, 16), torch.device("cpu")).any()


def test_pasted_pixels_are_those_of_the_negative_image_and_zero_in_every_map() -> None:
    images = positions(4)
    labels = torch.tensor([1, 0, 1, 0])
    out, drawn = augment(images, labels, NoiseConfig(stain=0.0, paste=1.0), generator(2))
    changed = inside(drawn.boxes, (24, 24), torch.device("cpu"))
    turned = apply_flips(images, drawn.flips).int()
    torch.testing.assert_close(out.int()[~changed], turned[~changed], atol=1, rtol=0)
    for row in (0, 2):
        source = out[row][changed[row]].int()
        assert min((source - turned[other][changed[row]]).abs().max() for other in (1, 3)) <= 1
    followed = drawn.follow(torch.ones(4, 24, 24))
    assert torch.equal(followed == 0, changed)
    hints = drawn.follow(torch.full((4, 24, 24), 2, dtype=torch.uint8))
    assert torch.equal(hints == 0, changed)


def test_images_and_maps_zoom_alike() -> None:
    """A map that says where the dark pixels are still says so after all that is done to the images."""
    draw = generator(5)
    dark = torch.zeros(16, 32, 32)
    for row in range(16):
        y, x = torch.randint(2, 18, (2,), generator=draw).tolist()
        dark[row, y : y + 12, x : x + 12] = 1
    images = torch.where(dark[..., None] > 0, 30, 220).expand(-1, -1, -1, 3).to(torch.uint8).contiguous()
    out, drawn = augment(images, torch.ones(16), STRONG.model_copy(update={"stain": 0.0}), generator(6))
    followed = drawn.follow(dark)
    sure = (followed < 0.02) | (followed > 0.98)
    assert sure.float().mean() > 0.8
    assert torch.equal((out[..., 0] < 125)[sure], (followed > 0.5)[sure])
    assert ((followed > 0.5) != (dark > 0.5)).float().mean() > 0.1


def test_zoom_magnifies_by_as_much_as_drawn_and_stays_inside() -> None:
    side = 40
    ramp = torch.arange(side).float().expand(200, side, side).contiguous()  # the column
    zooms = draw_zooms(200, (1.25, 2.0), generator())
    out = apply_zooms(ramp, zooms)
    step = (out[:, 20, -4] - out[:, 20, 3]) / (side - 7)
    torch.testing.assert_close(step, 1 / zooms[:, 0], atol=1e-3, rtol=0)
    assert out.min() >= 0
    assert out.max() <= side - 1
    assert zooms[:, 0].min() >= 1.25
    assert zooms[:, 0].max() <= 2.0
    assert abs(float(zooms[:, 0].log().mean()) - float(torch.tensor([1.25, 2.0]).log().mean())) < 0.03


def test_zooming_out_mirrors_the_surroundings_around_the_middle() -> None:
    image = torch.zeros(1, 40, 40)
    image[:, :, :10] = 1
    out = apply_zooms(image, torch.tensor([[0.5, 0.0, 0.0]]))[0, 20]
    assert out[6:14].min() > 0.99  # the strip, and its mirror image beyond the border at 10
    assert out[:4].max() < 0.01
    assert out[16:].max() < 0.01


def test_labels_are_never_mixed_by_zooming() -> None:
    hints = torch.randint(0, 3, (8, 24, 24), dtype=torch.uint8, generator=generator())
    hints[hints == 1] = 0
    zoomed = apply_zooms(hints, draw_zooms(8, (0.8, 1.6), generator(1)))
    assert set(zoomed.unique().tolist()) == {0, 2}
    assert zoomed.dtype == torch.uint8


def test_a_part_of_a_batch_follows_as_the_whole_does() -> None:
    images = torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8, generator=generator())
    _, drawn = augment(images, torch.tensor([1, 0, 1, 1, 0, 1]), STRONG, generator(1))
    maps = torch.rand(6, 16, 16, generator=generator(2))
    whole = drawn.follow(maps)
    torch.testing.assert_close(torch.cat([drawn.part(slice(0, 4)).follow(maps[:4]), drawn.part(slice(4, 6)).follow(maps[4:])]), whole)


def test_oblong_images_are_disturbed_too() -> None:
    images = torch.randint(0, 256, (5, 16, 40, 3), dtype=torch.uint8, generator=generator())
    out, drawn = augment(images, torch.tensor([1, 0, 1, 1, 0]), STRONG, generator(1))
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    assert drawn.follow(torch.ones(5, 16, 40)).shape == (5, 16, 40)
