"""Probability to mask and to score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_ifkd.inference import image_score, smooth, smooth_and_threshold
from napari_ifkd.inference.pseudo_mask import smooth_window


@pytest.mark.parametrize("sigma", [0.7, 1, 3, 5.5])
def test_smoothing_equals_scipy(sigma):
    images = np.random.default_rng(0).random((2, 50, 61)).astype(np.float32)
    wanted = np.stack([gaussian_filter(image, sigma, truncate=np.ceil(4 * sigma) / sigma) for image in images])
    np.testing.assert_allclose(smooth(images, sigma), wanted, atol=2e-6)


def test_no_smoothing_keeps_values():
    image = np.random.default_rng(0).random((9, 9)).astype(np.float16)
    np.testing.assert_array_equal(smooth_and_threshold(image, 0, 0.5), image >= 0.5)


def test_threshold_is_inclusive():
    assert smooth_and_threshold(np.full((3, 3), 0.5), 0, 0.5).all()
    assert smooth_and_threshold(np.full((3, 3), 1.0), 2, 1.0).all()


def test_glass_does_not_eat_the_border_of_a_tumour():
    values = np.zeros((40, 40), np.uint8)
    values[:, 20:] = 200
    smoothed = smooth_window(values, 3)
    np.testing.assert_allclose(smoothed[:, 20:], 200 / 255, rtol=1e-5)
    assert (smoothed[:, :20] == 0).all()


def test_image_score_is_the_mean_of_the_highest():
    image = np.arange(100, dtype=np.float32).reshape(10, 10) / 100
    assert image_score(image, 0.3) == pytest.approx(np.arange(70, 100).mean() / 100)
    assert image_score(image, 0.001) == pytest.approx(0.99)
    np.testing.assert_allclose(image_score(np.stack([image, image * 0]), 1.0), [image.mean(), 0])
    assert isinstance(image_score(image, 0.3), float)
