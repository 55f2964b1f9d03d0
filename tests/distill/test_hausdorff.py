"""Distance of outlines, whole and block by block, against monai, against distance transforms and against plain loops."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt

from napari_ifkd.distill import hausdorff
from napari_ifkd.distill.hausdorff import Outlines, hd95_um

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own future
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.utils import get_mask_edges

SPACINGS = [(1.0, 1.0), (0.5, 0.5), (0.48, 1.7)]


def masks(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(name))
    first, second = (rng.random((15, 19)).repeat(6, 0).repeat(6, 1)[:83, :101] > 0.6 for _ in range(2))
    one = np.zeros((83, 101), bool)
    one[20, 30] = True
    everything = np.ones((83, 101), bool)
    return {
        "coarse": (first, second),
        "fine": (rng.random((83, 101)) > 0.9, first),
        "full and random": (everything, first),
        "random and one px": (first, one),
        "one px and full": (one, everything),
        "same": (first, first),
    }[name]


NAMES = ["coarse", "fine", "full and random", "random and one px", "one px and full", "same"]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # monai's, of its own arguments
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", NAMES)
def test_equals_monai(name: str, spacing: tuple[float, float]) -> None:
    mask, truth = masks(name)
    ours = hd95_um(mask, truth, spacing)
    pair = [torch.from_numpy(m)[None, None].float() for m in (mask, truth)]
    theirs = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    assert ours == pytest.approx(float(theirs), rel=1e-6)  # it works in single precision
    edges = get_mask_edges(mask, truth)  # its outlines, with the distances in double precision
    exact = max(np.percentile(distance_transform_edt(~there, sampling=spacing)[here], 95) for here, there in (edges, edges[::-1]))
    assert ours == pytest.approx(float(exact), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("block", [7, 32, 200])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_leave_no_trace(name: str, block: int) -> None:
    mask, truth = masks(name)
    outlines = Outlines(mask.shape, (0.5, 0.75))
    padded = np.pad(mask, 1), np.pad(truth, 1)
    for y in range(0, mask.shape[0], block):
        for x in range(0, mask.shape[1], block):
            outlines.add(*(image[y : y + block + 2, x : x + block + 2] for image in padded), y, x)
    assert outlines.hd95_um() == hd95_um(mask, truth, (0.5, 0.75))


def test_plain_distances() -> None:
    a, b = np.zeros((40, 50), bool), np.zeros((40, 50), bool)
    a[10:20, 10:30], b[12:26, 14:30] = True, True
    outlines = [np.argwhere(m & ~binary_erosion(m)) for m in (a, b)]
    distances = np.linalg.norm(outlines[0][:, None] - outlines[1][None], axis=-1)
    expected = max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95)) * 0.5
    assert hd95_um(a, b, 0.5) == pytest.approx(expected, rel=1e-12)


def test_empty_masks() -> None:
    truth, nothing = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    truth[5:9, 5:9] = True
    assert hd95_um(nothing, truth, 2.0) == hd95_um(truth, nothing, 2.0) == 100
    assert hd95_um(nothing, truth, (2.0, 4.0)) == math.hypot(60, 160)
    assert hd95_um(nothing, nothing, 2.0) == 0


def test_too_ragged_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, truth = masks("fine")
    monkeypatch.setattr(hausdorff, "_MOST_PX", 100)
    assert hd95_um(mask, truth, 1.0) is None
