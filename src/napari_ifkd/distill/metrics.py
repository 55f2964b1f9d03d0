"""How well maps agree with pixel truth. For evaluation only: nothing here may feed training or choose a round.

Definitions where something is empty: F1 and IoU of nothing against nothing are 1, of nothing against something 0. Without any foreground
in the truth, average precision is 0 and the best mask is the empty one (``best_f1`` 1 at ``best_threshold`` 1). An image whose foreground
was missed altogether has an HD95 of its diagonal; images without foreground have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ifkd.inference import smooth

from .hausdorff import hd95_um

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_EXACT_LIMIT = 1 << 24  # values kept for exact ranking; beyond, they are counted in steps
_STEPS = 255 * 256  # of probability: 0.5 and every k / 255 lie on one


class Evaluation:
    """Collects images, or blocks of one large image, and scores them together.

    Parameters
    ----------
    threshold : probability from which a pixel counts as tumour
    mpp : um/px of the maps (or that along y and x), to measure HD95 too; None leaves it out
    sigma_px : Gaussian smoothing before the threshold, px; only for whole images (blocks come smoothed)

    Notes
    -----
    uint8 maps (0 to 255 for 0 to 1) are ranked exactly in 256 bins, in constant memory. Of floating-point maps every value counts up to
    16 million pixels; beyond, values are rounded to 1/65280. Smoothed maps always are (see :func:`settled`).
    """

    def __init__(self, threshold: float = 0.5, mpp: float | tuple[float, float] | None = None, sigma_px: float = 0.0) -> None:
        self.threshold, self.mpp, self.sigma_px = threshold, mpp, sigma_px
        self._ranking = _Ranking()
        self._pooled = _Counts()
        self._image = _Counts()
        self._of_positive = _Counts()
        self._f1s: list[float] = []
        self._hd95s: list[float] = []
        self._images = 0
        self._partial = False

    def add(self, probability: NDArray[Any], truth: NDArray[Any], *, last: bool = True) -> None:
        """Add an image, or a block of one.

        Parameters
        ----------
        probability : ``(H, W)`` uint8 in 0..255, or floating point in [0, 1]
        truth : ``(H, W)``, non-zero on tumour
        last : False where more blocks of the same image follow (HD95 is then left out for it)

        Raises
        ------
        ValueError
            If the shapes differ or a probability is not in [0, 1].
        """
        probability, truth = np.asarray(probability), np.asarray(truth) != 0
        if probability.shape != truth.shape:
            raise ValueError(f"map is {probability.shape}, truth {truth.shape}: must agree")
        if probability.dtype != np.uint8:
            probability = probability.astype(np.float32, copy=False)
            if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
                raise ValueError("probabilities must lie in [0, 1]")
        if self.sigma_px > 0:
            probability = settled(smooth(_as_float(probability), self.sigma_px))
        self._ranking.add(probability, truth)
        mask = self.mask_of(probability)
        self._image.add(mask, truth)
        if self.mpp is not None and last and not self._partial and truth.any():
            distance = hd95_um(mask, truth, self.mpp)
            self._hd95s += [] if distance is None else [distance]
        self._partial = not last
        if last:
            self._close_image()

    def mask_of(self, probability: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which px of a map, uint8 or floating point, count as tumour."""
        mask: NDArray[np.bool_] = probability >= (self.threshold * 255 if probability.dtype == np.uint8 else self.threshold)
        return mask

    def _close_image(self) -> None:
        self._images += 1
        self._pooled.merge(self._image)
        if self._image.truth:
            self._f1s.append(self._image.f1())
            self._of_positive.merge(self._image)
        self._image = _Counts()

    def result(self) -> dict[str, float]:
        """Return all scores.

        Returns
        -------
        dict
            ``f1``, ``iou`` : over all pixels of all images, at the threshold
            ``mean_f1_positive`` : mean F1 of the images that hold tumour (0 if none does)
            ``average_precision`` : of pixels; needs no threshold
            ``best_threshold``, ``best_f1`` : the threshold with the highest pooled F1. Chosen by truth, so a diagnostic and never a setting
            ``foreground_share``, ``true_share`` : marked, and true, share of pixels in the images that hold tumour (all, if none does)
            ``all_foreground_f1`` : what the answer "everything is tumour" would score, over all pixels
            ``n`` : images
            ``hd95_um`` : mean over the images that hold tumour; only with ``mpp``, and where any was measured
        """
        pooled, shares = self._pooled, self._of_positive if self._of_positive.pixels else self._pooled
        precision, threshold, best = self._ranking.result()
        scores: dict[str, float] = {
            "f1": pooled.f1(),
            "iou": pooled.iou(),
            "mean_f1_positive": float(np.mean(self._f1s)) if self._f1s else 0.0,
            "average_precision": precision,
            "best_threshold": threshold,
            "best_f1": best,
            "foreground_share": shares.marked / max(shares.pixels, 1),
            "true_share": shares.truth / max(shares.pixels, 1),
            "all_foreground_f1": 2 * pooled.truth / (pooled.pixels + pooled.truth) if pooled.pixels else 0.0,
            "n": self._images,
        }
        if self._hd95s:
            scores["hd95_um"] = float(np.mean(self._hd95s))
        return scores


def evaluate_masks(
    probabilities: Iterable[NDArray[Any]],
    truths: Iterable[NDArray[Any]],
    threshold: float = 0.5,
    *,
    mpp: float | tuple[float, float] | None = None,
    sigma_px: float = 0.0,
) -> dict[str, float]:
    """Score maps against pixel truth.

    Parameters
    ----------
    probabilities : of ``(H, W)`` uint8 in 0..255, or floating point in [0, 1]
    truths : of ``(H, W)``, non-zero on tumour; as many
    threshold : probability from which a pixel counts as tumour
    mpp : um/px (or that along y and x), to measure HD95 too
    sigma_px : Gaussian smoothing before the threshold, px

    Returns
    -------
    dict, see :meth:`Evaluation.result`
    """
    evaluation = Evaluation(threshold, mpp, sigma_px)
    for probability, truth in zip(probabilities, truths, strict=True):
        evaluation.add(probability, truth)
    return evaluation.result()


def settled(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round smoothed probabilities to steps of 1/65280, to which 0.5 and every k/255 belong.

    What is equal but for the rounding errors of smoothing (flat areas above all) is then equal again, so that neither the rank of a px nor
    its side of the threshold hangs on the order of additions.
    """
    steps: NDArray[np.float32] = np.rint(probability.astype(np.float64) * _STEPS).clip(0, _STEPS)
    return (steps / _STEPS).astype(np.float32)


def _as_float(probability: NDArray[Any]) -> NDArray[np.float32]:
    scale = np.float32(255 if probability.dtype == np.uint8 else 1)
    return probability.astype(np.float32) / scale


class _Counts:
    """Pixels marked, true and both."""

    def __init__(self) -> None:
        self.both = self.marked = self.truth = self.pixels = 0

    def add(self, mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        self.both += int((mask & truth).sum())
        self.marked += int(mask.sum())
        self.truth += int(truth.sum())
        self.pixels += truth.size

    def merge(self, other: _Counts) -> None:
        self.both, self.marked = self.both + other.both, self.marked + other.marked
        self.truth, self.pixels = self.truth + other.truth, self.pixels + other.pixels

    def f1(self) -> float:
        total = self.marked + self.truth
        return 2 * self.both / total if total else 1.0

    def iou(self) -> float:
        union = self.marked + self.truth - self.both
        return self.both / union if union else 1.0


class _Ranking:
    """Counts of true and false pixels by their probability, from which precision and recall follow at every threshold."""

    def __init__(self) -> None:
        self._bytes = np.zeros((2, 256), np.int64)  # false, true
        self._bins: NDArray[np.int64] | None = None
        self._values: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        self._held = 0

    def add(self, probability: NDArray[Any], truth: NDArray[np.bool_]) -> None:
        if probability.dtype == np.uint8:
            for kind, chosen in enumerate((~truth, truth)):
                self._bytes[kind] += np.bincount(probability[chosen], minlength=256)
            return
        self._values.append((probability.ravel().copy(), truth.ravel().copy()))
        self._held += truth.size
        if self._bins is not None or self._held > _EXACT_LIMIT:
            if self._bins is None:
                self._bins = np.zeros((2, _STEPS + 1), np.int64)
            for values, true in self._values:
                level = np.rint(values.astype(np.float64) * _STEPS).astype(np.int64)
                for kind, chosen in enumerate((~true, true)):
                    self._bins[kind] += np.bincount(level[chosen], minlength=_STEPS + 1)
            self._values = []

    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distinct probabilities in falling order, and the false and true pixels at each, ``(2, V)``."""
        values = [(np.arange(256) / 255).astype(np.float32).astype(np.float64)]  # as a map of floats would hold them
        counts = [self._bytes]
        if self._bins is not None:
            values.append((np.arange(_STEPS + 1) / _STEPS).astype(np.float32).astype(np.float64))
            counts.append(self._bins)
        elif self._values:
            all_values = np.concatenate([v for v, _ in self._values])
            all_true = np.concatenate([t for _, t in self._values])
            distinct, place = np.unique(all_values, return_inverse=True)
            values.append(distinct.astype(np.float64))
            counts.append(np.stack([np.bincount(place[chosen], minlength=len(distinct)) for chosen in (~all_true, all_true)]))
        value, count = np.concatenate(values), np.concatenate(counts, axis=1)
        seen = count.any(0)
        value, count = value[seen], count[:, seen]
        order = np.argsort(-value, kind="stable")
        value, count = value[order], count[:, order]
        starts = np.flatnonzero(np.diff(value, prepend=np.inf))  # one entry a value, where bytes and floats agree
        return value[starts], np.add.reduceat(count, starts, axis=1) if len(starts) else count

    def result(self) -> tuple[float, float, float]:
        """Return average precision, best threshold and best F1."""
        value, count = self._table()
        false, true = count.cumsum(1)
        total = true[-1] if len(true) else 0
        if total == 0:
            return 0.0, 1.0, 1.0
        precision = true / (true + false)
        recall = true / total
        average = float((np.diff(recall, prepend=0.0) * precision).sum())
        f1 = 2 * true / (true + false + total)
        best = int(f1.argmax())
        below = value[best + 1] if best + 1 < len(value) else 0.0
        threshold = 0.5 * (value[best] + below)  # half-way to the next value down: rounding cannot change the mask
        return average, float(threshold), float(f1[best])
