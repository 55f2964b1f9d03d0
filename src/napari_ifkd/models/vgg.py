"""VGG trunks of any width: VGG-MIL's, and with criss-cross attention SA-MIL's.

Their parts are called as in timm and torchvision, whose published weights fit. They are built here, for timm brings torchvision and torch's
compiler: importing these takes as long as torch itself, and a prediction needs neither.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from .attention import CrissCrossAttention

if TYPE_CHECKING:
    from torch import Tensor

STAGES = 3  # of VGG's five: deeper ones are too coarse to outline anything
CHANNELS = 64, 128, 256
CONVOLUTIONS = {"vgg11": (1, 1, 2), "vgg13": (2, 2, 2), "vgg16": (2, 2, 3), "vgg19": (2, 2, 4)}
"""Of each stage (arXiv 1409.1556, table 1)."""


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


def is_vgg(name: str) -> bool:
    """Return whether a name, such as ``vgg16_bn``, is a VGG's, as timm calls them."""
    return name.removesuffix("_bn") in CONVOLUTIONS


def vgg_features(name: str, width: float) -> tuple[nn.Sequential, tuple[int, ...], tuple[int, ...]]:
    """Build the layers of the first three stages, and tell the channels and strides (px) after each pool.

    Parameters
    ----------
    name : such as ``vgg16_bn``
    width : multiplier of all channels; rounded to multiples of 8, which processors multiply fastest
    """
    channels = tuple(max(8, round(count * width / 8) * 8) for count in CHANNELS)
    layers: list[nn.Module] = []
    last = 3
    for count, out in zip(CONVOLUTIONS[name.removesuffix("_bn")], channels, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(last, out, 3, padding=1))
            layers += [nn.BatchNorm2d(out)] * name.endswith("_bn")
            layers.append(nn.ReLU(inplace=True))
            last = out
        layers.append(nn.MaxPool2d(2, 2))
    features = nn.Sequential(*layers)
    for layer in features:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:  # else the weights of many layers die out
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return features, channels, tuple(2 ** (stage + 1) for stage in range(STAGES))
