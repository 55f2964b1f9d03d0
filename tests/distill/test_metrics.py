"""Scores of maps against truth, compared with torchmetrics, and with plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.classification import binary_average_precision, binary_f1_score, binary_jaccard_index

from napari_ifkd.distill import Evaluation, evaluate_masks
from napari_ifkd.distill.metrics import settled

RNG = np.random.default_rng(0)
TRUTHS = [RNG.random((13, 17)) < share for share in (0.4, 0.1, 0.0, 1.0)]
ONE_PIXEL = np.zeros((13, 17), bool)
ONE_PIXEL[5, 7] = True
SETS = {
    "mixed": TRUTHS,
    "one pixel": [ONE_PIXEL, np.zeros((13, 17), bool)],
    "full": [np.ones((13, 17), bool)] * 2,
}


def maps_of(truths: list[np.ndarray], dtype: type) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    maps = [np.clip(truth * 0.3 + rng.random(truth.shape) * 0.7, 0, 1) for truth in truths]
    if dtype is np.uint8:
        return [np.rint(m * 255).astype(np.uint8) for m in maps]
    return [m.astype(dtype) for m in maps]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", SETS)
def test_scores_match_torchmetrics(name: str, dtype: type) -> None:
    truths, maps = SETS[name], maps_of(SETS[name], dtype)
    scores = evaluate_masks(maps, truths)
    p = torch.from_numpy(np.concatenate([m.ravel() for m in maps]).astype(np.float32))
    p = p / 255 if dtype is np.uint8 else p
    t = torch.from_numpy(np.concatenate([m.ravel() for m in truths])).long()
    assert scores["f1"] == pytest.approx(float(binary_f1_score((p >= 0.5).int(), t)), abs=1e-6)
    assert scores["iou"] == pytest.approx(float(binary_jaccard_index((p >= 0.5).int(), t)), abs=1e-6)
    assert scores["average_precision"] == pytest.approx(float(binary_average_precision(p, t)), abs=1e-6)
    best = max(2 * float(((p >= v) & (t > 0)).sum()) / float((p >= v).sum() + t.sum()) for v in p.unique())
    assert scores["best_f1"] == pytest.approx(best, abs=1e-6)
    at_best = evaluate_masks(maps, truths, scores["best_threshold"])
    assert at_best["f1"] == pytest.approx(best, abs=1e-6)
    per_image = [
        float(binary_f1_score(torch.tensor(m >= (127.5 if dtype is np.uint8 else 0.5)).int(), torch.tensor(k).long()))
        for m, k in zip(maps, truths, strict=True)
        if k.any()
    ]
    assert scores["mean_f1_positive"] == pytest.approx(np.mean(per_image), abs=1e-6)
    assert scores["n"] == len(maps)


def test_all_foreground() -> None:
    truth = np.zeros((10, 10), bool)
    truth[:3] = True
    scores = evaluate_masks([np.ones((10, 10))], [truth])
    assert scores["f1"] == pytest.approx(2 * 0.3 / 1.3)
    assert scores["iou"] == pytest.approx(0.3)
    assert scores["average_precision"] == pytest.approx(0.3)
    assert scores["foreground_share"] == 1
    assert scores["true_share"] == pytest.approx(0.3)
    assert scores["f1"] == scores["all_foreground_f1"] == evaluate_masks([np.zeros((10, 10))], [truth])["all_foreground_f1"]


@pytest.mark.parametrize("level", [0, 255])
def test_truth_without_foreground(level: int) -> None:
    scores = evaluate_masks([np.full((4, 4), level, np.uint8)], [np.zeros((4, 4))])
    assert scores["f1"] == scores["iou"] == (1.0 if level == 0 else 0.0)
    assert scores["average_precision"] == 0
    assert (scores["best_f1"], scores["best_threshold"]) == (1.0, 1.0)
    assert scores["mean_f1_positive"] == 0
    assert scores["foreground_share"] == (0 if level == 0 else 1)


def test_nothing_added() -> None:
    scores = evaluate_masks([], [])
    assert scores["n"] == 0
    assert all(math.isfinite(value) for value in scores.values())


def test_foreground_share_is_that_of_images_with_tumour() -> None:
    truth = np.zeros((4, 4), bool)
    truth[0] = True
    scores = evaluate_masks([truth.astype(float), np.ones((4, 4))], [truth, np.zeros((4, 4))])
    assert scores["foreground_share"] == scores["true_share"] == 0.25


def test_uint8_half_is_the_threshold_of_one_half() -> None:
    values = np.array([[127, 128]], np.uint8)
    assert evaluate_masks([values], [np.array([[0, 1]])])["f1"] == 1
    assert evaluate_masks([values], [np.array([[1, 1]])])["f1"] == pytest.approx(2 / 3)


def test_blocks_score_as_their_image() -> None:
    truth, image = TRUTHS[0], maps_of(TRUTHS, np.uint8)[0]
    whole = evaluate_masks([image], [truth])
    blocks = Evaluation()
    for y in range(0, 13, 5):
        blocks.add(image[y : y + 5], truth[y : y + 5], last=y + 5 >= 13)
    assert blocks.result() == whole


def test_many_values_are_binned_with_little_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = maps_of(TRUTHS, np.float32)
    exact = evaluate_masks(maps, TRUTHS)
    monkeypatch.setattr("napari_ifkd.distill.metrics._EXACT_LIMIT", 300)
    binned = evaluate_masks(maps, TRUTHS)
    assert binned["average_precision"] == pytest.approx(exact["average_precision"], abs=1e-3)
    assert binned["best_f1"] == pytest.approx(exact["best_f1"], abs=1e-3)
    assert binned["f1"] == exact["f1"]


def test_bytes_and_floats_mix() -> None:
    as_bytes = maps_of(TRUTHS, np.uint8)
    mixed = [as_bytes[0], as_bytes[1].astype(np.float64) / 255, *as_bytes[2:]]
    first, second = evaluate_masks(as_bytes, TRUTHS), evaluate_masks(mixed, TRUTHS)
    assert second["average_precision"] == pytest.approx(first["average_precision"], abs=1e-6)


def test_smoothing_comes_before_the_threshold() -> None:
    truth, image = TRUTHS[0], maps_of(TRUTHS, np.uint8)[0]
    mask = gaussian_filter(image.astype(np.float32) / 255, 2) >= 0.5
    expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert evaluate_masks([image], [truth], sigma_px=2)["f1"] == pytest.approx(expected)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="must agree"):
        evaluate_masks([np.zeros((2, 2))], [np.zeros((3, 3))])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        evaluate_masks([np.full((2, 2), 255.0)], [np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        evaluate_masks([np.full((2, 2), np.nan)], [np.zeros((2, 2))])


def test_rounding_errors_of_smoothing_decide_nothing() -> None:
    noise = np.random.default_rng(0).choice([-1e-7, 0, 1e-7], (40, 40)).astype(np.float32)
    for level in (0.5, 127 / 255, 128 / 255, 0, 1):
        assert np.unique(settled(np.float32(level) + noise)).tolist() == [np.float32(level)], level


def test_hd95_is_a_score_of_images_with_tumour() -> None:
    truth = np.zeros((30, 40), bool)
    truth[5:9, 5:9] = True
    scores = evaluate_masks([truth * 0.9, np.zeros((30, 40))], [truth, np.zeros((30, 40))], mpp=2.0)
    assert scores["hd95_um"] == 0, "images without tumour have none"
    assert evaluate_masks([truth * 0.1], [truth], mpp=(2.0, 4.0))["hd95_um"] == math.hypot(60, 160), "missed: the diagonal"
    assert "hd95_um" not in evaluate_masks([truth * 0.9], [truth])
