"""Reference masks: exact on the masks, and honest about other tissue, also of the pair they choose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from napari_ifkd.evidence import THRESHOLDS, BlockCounts, Incumbent, estimate_on_masks, settle
from napari_ifkd.evidence.masks import LEAST_BLOCKS

NAMES = ("the teacher", "round 1", "round 2")


def _pixels(blocks: int, seed: int, quality: tuple[float, ...] = (1.0, 1.2, 1.4)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw blocks of 64 px whose tumour share and difficulty differ: probability ``(C, n)``, tumour, block."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(blocks), 64)
    share, ease, shift = rng.beta(0.7, 0.7, blocks), rng.gamma(4, 0.25, blocks), rng.normal(0, 0.8, blocks)
    tumour = rng.random(block.size) < share[block]
    shared = rng.normal(0, 1, block.size)
    logits = [q * ease[block] * 2 * (tumour - 0.5) + shift[block] + shared + 0.4 * rng.normal(0, 1, block.size) for q in quality]
    return expit(np.array(logits)).astype(np.float32), tumour, block


def _counts(blocks: int, seed: int, **options: tuple[float, ...]) -> BlockCounts:
    return BlockCounts.of(NAMES, *_pixels(blocks, seed, **options), blocks)


def _part(counts: BlockCounts, which: np.ndarray) -> BlockCounts:
    return BlockCounts(NAMES, counts.hit[which], counts.marked[which], counts.tumour[which], counts.size[which])


def test_the_values_are_those_on_the_masks() -> None:
    probability, tumour, block = _pixels(40, 0)
    found = estimate_on_masks(BlockCounts.of(NAMES, probability, tumour, block, 40), "masks")
    for c, j in [(0, 18), (1, 3), (2, 36)]:
        mask = probability[c] >= np.float32(THRESHOLDS[j])
        assert found.f1.at(c, j).value == pytest.approx(2 * (mask & tumour).sum() / (mask.sum() + tumour.sum()))
        assert found.precision.at(c, j).value == pytest.approx(tumour[mask].mean())
        assert found.recall.at(c, j).value == pytest.approx(mask[tumour].mean())
        assert found.marked[c, j] == pytest.approx(mask.mean())
        assert found.f1.at(c, j).low < found.f1.at(c, j).value < found.f1.at(c, j).high
    assert found.area.value == pytest.approx(tumour.mean())


def test_joined_counts_leave_out_blocks_without_a_pixel() -> None:
    probability, tumour, block = _pixels(5, 1)
    one = BlockCounts.of(NAMES, probability, tumour, block + 3, 9)
    both = BlockCounts.joined([one, _counts(4, 2)])
    assert len(both) == 9
    assert both.size.sum() == 9 * 64


@pytest.mark.parametrize("blocks", [12, 40])
def test_intervals_hold_on_other_tissue_of_the_pair_they_chose(blocks: int) -> None:
    population = _counts(4000, 3)
    true = estimate_on_masks(_part(population, np.arange(4000)), "all")
    rng = np.random.default_rng(4)
    draws, covered = 100, dict.fromkeys(("f1", "precision", "recall"), 0)
    share = 0
    for _ in range(draws):
        part = _part(population, rng.choice(4000, blocks, replace=False))
        choice = settle(part, estimate_on_masks(part, "masks"))
        pair = choice.candidate, THRESHOLDS.index(choice.threshold)
        for name in covered:
            told = getattr(choice, name)
            covered[name] += told.low <= getattr(true, name).value[pair] <= told.high
        share += choice.area.low <= true.area.value <= choice.area.high
    assert min(*covered.values(), share) >= 0.88 * draws, (covered, share)


def test_blocks_that_agree_leave_no_doubt_and_blocks_that_do_not_leave_the_teacher() -> None:
    found = estimate_on_masks(_counts(200, 5, quality=(0.6, 0.6, 2.0)), "masks")
    choice = settle(_counts(200, 5), found, Incumbent(0, 0.5))
    assert (choice.candidate, choice.kept) == (2, False)
    assert choice.reason.endswith(f"(masks). F1 there: {choice.f1.value:.2f}.")
    kept = 0
    for seed in range(20):
        alike = _counts(20, seed, quality=(1.0, 1.0, 1.0))
        kept += settle(alike, estimate_on_masks(alike, "masks"), Incumbent(0, 0.5)).kept
    assert kept >= 11  # with a certainty of 75 %, and the better of two others, it is left now and then


def test_a_copy_never_takes_over() -> None:
    probability, tumour, block = _pixels(50, 6)
    same = BlockCounts.of(("teacher", "copy"), probability[[1, 1]], tumour, block, 50)
    choice = settle(same, estimate_on_masks(same, "masks"), Incumbent(1, 0.5))
    assert choice.kept


def test_few_blocks_say_what_is_best_on_them_and_nothing_of_elsewhere() -> None:
    counts = _counts(LEAST_BLOCKS - 1, 7, quality=(0.3, 0.3, 3.0))
    found = estimate_on_masks(counts, "masks")
    assert (found.f1.low.max(), found.f1.high.min()) == (0, 1)
    assert (found.area.low, found.area.high) == (0, 1)
    choice = settle(counts, found, Incumbent(0, 0.5))
    assert (choice.candidate, choice.threshold) == (0, 0.5)
    assert "probability of only 50%" in choice.reason


def test_masks_without_tumour_give_zeros_and_no_error() -> None:
    probability, tumour, block = _pixels(20, 8)
    counts = BlockCounts.of(NAMES, probability, np.zeros_like(tumour), block, 20)
    found = estimate_on_masks(counts, "masks")
    assert found.f1.value.max() == found.area.value == 0
