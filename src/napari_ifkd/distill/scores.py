"""What can be measured on validation bags without pixel truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_ifkd.errors import Cancelled

from .centre import BINS, histogram, otsu
from .fixed import FixedTeacher
from .maps import forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_ifkd.bags import Bags
    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel
    from napari_ifkd.models.memory import Portion


@dataclass(frozen=True)
class Judged:
    """Scores of a network on validation bags, and its masks.

    Parameters
    ----------
    scores : dict
        ``bag_accuracy``; ``bag_auc``, the share of pairs of a positive and a negative bag that are in order;
        ``positive_area`` and ``negative_area``, the mean share of pixels at or above 0.5 in bags of each class;
        ``centred_area``, the share of pixels of positive bags at or above Otsu's threshold of them all;
        ``agreement``, the pooled F1 between its masks and the teacher's on positive bags. What cannot be measured is absent. Rounds add
        ``held_by``, the logits a student's output was moved by to hold the area, where it was.
    masks : ``(P, bytes)`` uint8
        Its masks on the positive bags, 8 pixels a byte.
    """

    scores: dict[str, float]
    masks: NDArray[np.uint8]


def judge(
    model: MILModel | FixedTeacher,
    bags: Bags,
    config: Config,
    *,
    teacher_masks: NDArray[np.uint8] | None = None,
    should_stop: Callable[[], bool],
    portion: Portion | None = None,
) -> Judged:
    """Measure a network, or the maps in its place, on validation bags.

    Parameters
    ----------
    model : left in evaluation mode; of a fixed teacher its ``val`` maps are measured
    bags : validation bags; none give no scores
    config : its device, precision and ``stage1.top_share`` (the image-level score is the mean of that share of highest pixels)
    teacher_masks : ``Judged.masks`` of the teacher on the same bags
    should_stop : asked before each batch
    portion : how many images go through the network at once, as found before

    Raises
    ------
    Cancelled
        If ``should_stop`` says so.
    """
    count, pixels = len(bags), int(np.prod(bags.images.shape[1:3]))
    areas, images_scores = np.zeros(count), np.zeros(count)
    masks = np.zeros((count, -(-pixels // 8)), np.uint8)
    top = max(1, round(config.stage1.top_share * pixels))
    counts, positive = np.zeros(BINS, np.int64), bags.labels > 0
    for index, fused in _answers(model, bags, config, should_stop, portion):  # (B, N)
        hard = fused >= 0.5
        counts += histogram(fused[torch.from_numpy(positive[index]).to(fused.device)])
        areas[index] = hard.float().mean(1).cpu().numpy()
        images_scores[index] = torch.topk(fused, top, sorted=False).values.mean(1).cpu().numpy()
        masks[index] = np.packbits(hard.cpu().numpy(), axis=1)
    masks = masks[positive]
    scores: dict[str, float] = {}
    if count:
        scores["bag_accuracy"] = float(((images_scores >= 0.5) == positive).mean())
    if 0 < positive.sum() < count:
        scores["bag_auc"] = float(np.sign(images_scores[positive][:, None] - images_scores[~positive]).mean() / 2 + 0.5)
    if positive.any():
        scores["positive_area"] = float(areas[positive].mean())
        scores["centred_area"] = float(counts[round(otsu(counts) * BINS) :].sum() / counts.sum())
    if not positive.all():
        scores["negative_area"] = float(areas[~positive].mean())
    if teacher_masks is not None and positive.any():
        scores["agreement"] = _pooled_f1(masks, teacher_masks)
    return Judged(scores, masks)


def _answers(
    model: MILModel | FixedTeacher, bags: Bags, config: Config, should_stop: Callable[[], bool], portion: Portion | None
) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """Yield some rows at a time and their fused maps, ``(B, N)`` float32."""
    rows = np.arange(len(bags))
    if isinstance(model, FixedTeacher):
        for start in range(0, len(rows), 64):
            if should_stop():
                raise Cancelled
            index = rows[start : start + 64]
            yield index, torch.from_numpy(np.asarray(model.val[index], np.float32)).flatten(1)
        return
    for index, outputs in forward(model, bags.images, rows, config, should_stop=should_stop, portion=portion):
        yield index, outputs[0].flatten(1)


def _pooled_f1(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    both = int(np.bitwise_count(a & b).sum())
    total = int(np.bitwise_count(a).sum()) + int(np.bitwise_count(b).sum())
    return 2 * both / total if total else 1.0  # both empty: they agree
