"""A network made ready to answer fast: frozen, batch norms folded, channels last, in the device's precision."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_ifkd.errors import Cancelled, EngineError
from napari_ifkd.models import autocast, prepare
from napari_ifkd.models.memory import Portion

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_ifkd.models import MILModel
    from napari_ifkd.models.device import Precision


class Predictor:
    """Answers batches of images; the model it is given stays as it is.

    Parameters
    ----------
    model : the network, in any state
    device : where to work
    precision : auto, float32 or bf16

    Attributes
    ----------
    portion : how many images go through the network at once
    """

    def __init__(self, model: MILModel, device: torch.device | str = "cpu", precision: Precision = "auto") -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.portion = Portion("prediction")
        self.normalisation = model.normalisation
        training = model.training
        twin = copy.deepcopy(model).eval().requires_grad_(False)
        model.train(training)
        fold_batch_norms(twin)
        self.model = twin.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: NDArray[np.uint8], averaged_views: bool = False) -> NDArray[np.float32]:
        """Give every pixel its probability of tumour.

        Parameters
        ----------
        images : ``(B, H, W, 3)`` uint8, RGB
        averaged_views : average over the 8 flips and quarter turns

        Returns
        -------
        ``(B, H, W)`` float32 in [0, 1]

        Raises
        ------
        EngineError
            If the network answers with values that are no numbers, or memory does not suffice for a single image.
        """
        parts = self.portion.run(len(images), lambda part: self._answer(images[part], averaged_views))
        answer = np.empty(images.shape[:3], np.float32)
        for part, values in parts:
            answer[part] = values
        if not np.isfinite(answer).all():
            raise EngineError("the network answered with values that are no numbers; its weights are damaged or its training diverged")
        return answer

    def _answer(self, images: NDArray[np.uint8], averaged_views: bool) -> NDArray[np.float32]:
        batch = torch.from_numpy(np.ascontiguousarray(images))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        with torch.inference_mode(), autocast(self.device, self.precision):
            x = prepare(batch, self.normalisation, self.device)
            fused = self._views(x) if averaged_views else self.model(x).fused
        answer: NDArray[np.float32] = fused[:, 0].float().cpu().numpy()  # (B, H, W)
        return answer

    def _views(self, x: Tensor) -> Tensor:
        total = torch.zeros((x.shape[0], 1, *x.shape[-2:]), device=x.device)
        for turns in range(4):
            for flip in (False, True):
                view = torch.rot90(x.flip(-1) if flip else x, turns, (-2, -1))
                answer = torch.rot90(self.model(view.contiguous(memory_format=torch.channels_last)).fused.float(), -turns, (-2, -1))
                total += answer.flip(-1) if flip else answer
        return total / 8


def fold_batch_norms(module: nn.Module) -> int:
    """Fold each batch norm that directly follows a convolution in an `nn.Sequential` into it, in place; returns how many.

    Only sequences are searched: there the order of the layers is the order of the work.
    """
    folded = 0
    for parent in list(module.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        for (name, first), (after, second) in pairwise(list(parent.named_children())):
            if type(first) is nn.Conv2d and type(second) is nn.BatchNorm2d and first.out_channels == second.num_features:
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, after, nn.Identity())
                folded += 1
    return folded


def predict_patches(
    model: MILModel,
    images: NDArray[np.uint8],
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "auto",
    batch: int = 8,
    averaged_views: bool = False,
    should_stop: Callable[[], bool] | None = None,
) -> NDArray[np.float16]:
    """Give every pixel of many images its probability of tumour.

    Parameters
    ----------
    model : the network
    images : ``(N, H, W, 3)`` uint8, RGB; a memory map is read batch by batch
    device, precision : where and how to work
    batch : images in a forward pass
    averaged_views : average over the 8 flips and quarter turns
    should_stop : asked before every batch

    Returns
    -------
    ``(N, H, W)`` float16 in [0, 1]

    Raises
    ------
    Cancelled
        If `should_stop` said so.
    """
    predictor = Predictor(model, device, precision)
    maps = np.empty(images.shape[:3], np.float16)
    for start in range(0, len(images), batch):
        if should_stop is not None and should_stop():
            raise Cancelled
        maps[start : start + batch] = predictor(images[start : start + batch], averaged_views)
    return maps
