"""The MIL network: a trunk, one side head a stage, and their fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_ifkd.errors import ModelError

from .normalisation import Normalisation
from .side_outputs import SideOutputs, checked_weights, fuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.config import NetworkConfig

PAPER_WEIGHTS: dict[str, tuple[float, ...]] = {
    "vgg-mil": (0.3, 0.3, 0.4),
    "resnet-mil": (0.3, 0.3, 0.4),
    "swin-mil": (0.3, 0.4, 0.3),
    "sa-mil": (0.2, 0.35, 0.45),
}
"""Fusion weights w_i of each network, shallow to deep (for ResNet-MIL a starting point)."""


class MILModel(nn.Module):
    """A trunk with side heads; every pixel is an instance of its image's bag.

    Parameters
    ----------
    trunk : module from ``(B, 3, H, W)`` to K feature maps ``(B, channels[i], H / strides[i], W / strides[i])``
    channels, strides : K numbers each, shallow to deep
    weights : K fusion weights that sum to 1
    normalisation : what :func:`prepare` applies before the network sees an image
    config : the settings it was built from, kept for weights files

    Attributes
    ----------
    weights : tuple of K float
    strides : tuple of K int, px
    input_multiple : int, px; other input sizes are padded by reflection and cropped back
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        weights: Sequence[float],
        normalisation: Normalisation | None = None,
        config: NetworkConfig | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, kernel_size=1) for c in channels)
        self.weights = checked_weights(weights, len(channels))
        self.strides = tuple(strides)
        self.input_multiple = max(self.strides)
        self.normalisation = normalisation or Normalisation()
        self.config = config

    def forward(self, x: Tensor) -> SideOutputs:
        """Give every pixel its probability of tumour.

        Parameters
        ----------
        x : ``(B, 3, H, W)`` float, normalised (see :func:`prepare`), any H and W

        Returns
        -------
        SideOutputs, all of them ``(B, 1, H, W)`` float32
        """
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.input_multiple)
        logits = []
        for head, features in zip(self.heads, self.trunk(padded), strict=True):
            logit = head(features).float()  # (B, 1, h, w); float32 from here on, also under autocast
            logit = F.interpolate(logit, size=padded.shape[-2:], mode="bilinear", align_corners=False)
            logits.append(logit[..., :height, :width])
        return SideOutputs(tuple(logits), fuse([logit.sigmoid() for logit in logits], self.weights))

    def param_groups(self, lr: float, side_lr_factor: float = 1.0) -> list[dict[str, Any]]:
        """Return the trunk's and the side heads' parameters as groups of an optimiser.

        Parameters
        ----------
        lr : learning rate of the trunk
        side_lr_factor : the side heads learn with ``lr`` times this
        """
        return [
            {"params": list(self.trunk.parameters()), "lr": lr},
            {"params": list(self.heads.parameters()), "lr": lr * side_lr_factor},
        ]


def build_model(cfg: NetworkConfig, seed: int | None = None) -> MILModel:
    """Build one of the paper's four networks.

    Parameters
    ----------
    cfg : which network, how wide, on which trunk
    seed : fixes the initial weights without touching torch's global random state; None draws from that state

    Returns
    -------
    MILModel in training mode, on the CPU, channels last

    Raises
    ------
    ModelError
        If the trunk is unknown or does not fit, the fusion weights do not, or ImageNet weights cannot be had.
    """
    from .trunks import build_trunk  # the trunks need timm, which takes a second to import

    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        trunk = build_trunk(cfg)
        weights = cfg.fusion_weights if cfg.fusion_weights is not None else PAPER_WEIGHTS[cfg.name]
        model = MILModel(trunk.module, trunk.channels, trunk.strides, weights, trunk.normalisation, cfg)
    return model.to(memory_format=torch.channels_last)


def prepare(images: Tensor, normalisation: Normalisation, device: torch.device | str = "cpu") -> Tensor:
    """Turn stored images into what a network eats.

    Parameters
    ----------
    images : ``(B, H, W, 3)`` uint8, RGB
    normalisation : the network's
    device : where to

    Returns
    -------
    Tensor, ``(B, 3, H, W)`` float32 on ``device``, channels last
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"expected (B, H, W, 3) uint8, got {tuple(images.shape)} {images.dtype}")
    mean = torch.tensor(normalisation.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(normalisation.std, device=device).view(1, 3, 1, 1)
    moved = images.to(device, non_blocking=True)  # as bytes: a quarter of the transfer
    planes = moved.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)  # (B, 3, H, W)
    return planes.sub_(mean * 255).div_(std * 255)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad the bottom and right of ``(B, C, H, W)`` by reflection until both sides are multiples of ``multiple`` px."""
    for axis in (-2, -1):
        size = x.shape[axis]
        if size == 0:
            raise ModelError("image", "it has no pixels", "Give images of at least 1 px a side")
        if size % multiple:
            x = x.index_select(axis, _reflected(size, -(-size // multiple) * multiple, x.device))
    return x


def _reflected(size: int, target: int, device: torch.device) -> Tensor:
    """Return indices 0..size-1 and on by reflection, as often as needed (``F.pad`` reflects once only)."""
    period = max(2 * (size - 1), 1)
    index = torch.arange(target, device=device) % period
    return torch.minimum(index, period - index) if size > 1 else index
