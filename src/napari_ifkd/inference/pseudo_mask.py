"""From probability to mask, and to one score for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smooth(probability: NDArray[np.floating], sigma_px: float) -> NDArray[np.float32]:
    """Smooth each image by a Gaussian cut off at four sigma, borders reflected.

    Parameters
    ----------
    probability : ``(..., H, W)``
    sigma_px : px; 0 leaves the values as they are
    """
    plain = np.asarray(probability, np.float32)
    if sigma_px <= 0 or plain.size == 0:
        return plain
    flat = plain.reshape(-1, *plain.shape[-2:])
    side = 2 * gaussian_reach(sigma_px) + 1
    smoothed = [cv2.GaussianBlur(image, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT) for image in flat]
    return np.stack(smoothed).reshape(plain.shape).astype(np.float32, copy=False)


def gaussian_reach(sigma_px: float) -> int:
    """Return how many px the Gaussian of :func:`smooth` reaches."""
    return int(np.ceil(4 * sigma_px))


def smooth_and_threshold(probability: NDArray[np.floating], sigma_px: float, threshold: float) -> NDArray[np.bool_]:
    """Turn probabilities into a mask.

    Parameters
    ----------
    probability : ``(..., H, W)`` in [0, 1]
    sigma_px : Gaussian smoothing, px; 0 for none
    threshold : a pixel is tumour from this probability on

    Returns
    -------
    bool, of the same shape
    """
    mask: NDArray[np.bool_] = smooth(probability, sigma_px) >= threshold
    return mask


def smooth_window(values: NDArray[np.uint8], sigma_px: float) -> NDArray[np.float32]:
    """Smooth a window of a stored map, leaving out what was never looked at.

    Glass (0) beside tissue would pull the tissue's probability down and eat the border of a tumour, so it weighs nothing.

    Parameters
    ----------
    values : ``(H, W)`` uint8; 0 was not looked at, p is stored as about 255 p
    sigma_px : px; 0 for no smoothing

    Returns
    -------
    ``(H, W)`` float32 in [0, 1]; 0 where `values` is 0
    """
    probability = values.astype(np.float32) / np.float32(255)
    if sigma_px <= 0:
        return probability
    seen = values > 0
    if not seen.any():
        return probability
    smoothed = smooth(probability, sigma_px)
    if not seen.all():
        weight = smooth(seen.astype(np.float32), sigma_px)
        smoothed = np.where(seen, smoothed / np.maximum(weight, 1e-6), np.float32(0))
    return smoothed


def image_score(probability: NDArray[np.floating], top_share: float) -> NDArray[np.float64] | float:
    """Return the image-level score: the mean of the highest pixels.

    Parameters
    ----------
    probability : ``(..., H, W)`` in [0, 1]
    top_share : share of pixels that count, at least one

    Returns
    -------
    ``(...)`` float64, or a float for one image
    """
    values = np.asarray(probability)
    flat = values.reshape(*values.shape[:-2], -1)
    count = min(max(1, round(top_share * flat.shape[-1])), flat.shape[-1])
    top = np.partition(flat, flat.shape[-1] - count, axis=-1)[..., -count:]
    scores: NDArray[np.float64] = top.mean(axis=-1, dtype=np.float64)
    return float(scores) if scores.ndim == 0 else scores
