"""VGG trunks of any width, from timm's VGG: VGG-MIL's, and with criss-cross attention SA-MIL's."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from timm.models.vgg import VGG, cfgs
from torch import nn

from .attention import CrissCrossAttention

if TYPE_CHECKING:
    from torch import Tensor

STAGES = 3  # of VGG's five: deeper ones are too coarse to outline anything


class VGGTrunk(nn.Module):
    """The first three stages of a VGG, with features after each pool, or after some.

    Parameters
    ----------
    features : convolutions, norms, activations and pools of a VGG, as timm builds them
    channels : channels of each stage
    attention : put criss-cross attention before each pool
    taken : stages whose features are given, in rising order; what lies behind the last is left out
    """

    def __init__(
        self, features: nn.Sequential, channels: tuple[int, ...], attention: bool = False, taken: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.taken = tuple(range(len(channels))) if taken is None else taken
        channels = channels[: max(self.taken) + 1]
        layers = list(features)
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)][: len(channels)]
        stages = []
        for (start, end), width in zip(pairwise([-1, *pools]), channels, strict=True):
            extra = [CrissCrossAttention(width)] if attention else []
            stages.append(nn.Sequential(*layers[start + 1 : end], *extra, layers[end]))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features after the pool of each stage taken: ``(B, channels[i], H / 2**(i+1), W / 2**(i+1))``."""
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taken:
                features.append(x)
        return features


def vgg_plan(name: str, width: float) -> list[int | str]:
    """Return the layers of the first three stages, as timm writes them: output channels, and "M" for a pool.

    Parameters
    ----------
    name : such as ``vgg16_bn``
    width : multiplier of all channels; rounded to multiples of 8, which processors multiply fastest
    """
    plan: list[int | str] = []
    pools = 0
    for item in cfgs[name.removesuffix("_bn")]:
        plan.append("M" if item == "M" else max(8, round(cast("int", item) * width / 8) * 8))
        pools += item == "M"
        if pools == STAGES:
            break
    return plan


def vgg_features(name: str, width: float) -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """Build the layers, and tell the channels and strides (px) after each pool.

    timm's own classifier would hold 25 to 120 million weights that nothing uses, so it is built one channel wide and dropped.
    """
    norm = nn.BatchNorm2d if name.endswith("_bn") else None
    net = VGG(cfg=vgg_plan(name, width), norm_layer=norm, num_classes=0, mlp_ratio=1 / 4096)
    taps: list[Any] = net.feature_info[:STAGES]  # timm taps before the pool
    return net.features, tuple(t["num_chs"] for t in taps), tuple(t["reduction"] * 2 for t in taps)
