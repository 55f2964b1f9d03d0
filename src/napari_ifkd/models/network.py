"""MIL networks: what every one offers, and the usual one of a trunk, one side head a stage, and their fusion."""

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
    """What every network offers: each pixel is an instance of its image's bag, and gets a probability of tumour.

    Parameters
    ----------
    weights : K fusion weights that sum to 1
    strides : K numbers, px, shallow to deep
    input_multiple : px; other input sizes are padded by reflection and cropped back
    normalisation : what :func:`prepare` applies before the network sees an image; ImageNet's by default
    config : the settings it was built from, kept for weights files

    Attributes
    ----------
    weights : tuple of K float
    strides : tuple of K int, px
    input_multiple : int, px
    trunk_source : str, whose weights the trunk started from, in words; empty if they were drawn
    """

    def __init__(
        self,
        weights: Sequence[float],
        strides: Sequence[int],
        input_multiple: int = 1,
        normalisation: Normalisation | None = None,
        config: NetworkConfig | None = None,
    ) -> None:
        super().__init__()
        self.weights = checked_weights(weights, len(strides))
        self.strides = tuple(strides)
        self.input_multiple = input_multiple
        self.normalisation = normalisation or Normalisation()
        self.config = config
        self.trunk_source = ""

    def forward(self, x: Tensor) -> SideOutputs:
        """Give every pixel its probability of tumour.

        Parameters
        ----------
        x : ``(B, 3, H, W)`` float, normalised (see :func:`prepare`), any H and W

        Returns
        -------
        SideOutputs, all of them ``(B, 1, H, W)`` float32
        """
        raise NotImplementedError

    def param_groups(self, lr: float, side_rates: Sequence[float] = (1.0,)) -> list[dict[str, Any]]:
        """Return what learns, as groups of an optimiser.

        Parameters
        ----------
        lr : learning rate of the trunk
        side_rates : the side heads learn with ``lr`` times this; one number for all, or one a side, shallow to deep

        Returns
        -------
        list of dict with ``params`` and ``lr``: the trunk (unless frozen), then the side heads, one group a number

        Raises
        ------
        ModelError
            If there are neither one nor K side rates.
        """
        raise NotImplementedError


class TrunkModel(MILModel):
    """A trunk with a side head (1x1 convolution) a stage.

    Parameters
    ----------
    trunk : module from ``(B, 3, H, W)`` to K feature maps ``(B, channels[i], H / strides[i], W / strides[i])``
    channels, strides : K numbers each, shallow to deep
    weights : K fusion weights that sum to 1
    normalisation, config : see :class:`MILModel`
    frozen : the trunk always answers in evaluation mode, without gradients; only the side heads learn
    """

    def __init__(
        self,
        trunk: nn.Module,
        channels: Sequence[int],
        strides: Sequence[int],
        weights: Sequence[float],
        normalisation: Normalisation | None = None,
        config: NetworkConfig | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__(weights, strides, max(strides), normalisation, config)
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, kernel_size=1) for c in channels)
        self.frozen = frozen
        if frozen:
            trunk.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> TrunkModel:
        """Set the mode of training; a frozen trunk stays in evaluation mode, so that its running statistics stay too."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def forward(self, x: Tensor) -> SideOutputs:
        """Give every pixel its probability of tumour; see :meth:`MILModel.forward`."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.input_multiple)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            stages = self.trunk(padded)
        logits = []
        for head, features in zip(self.heads, stages, strict=True):
            logit = head(features).float()  # (B, 1, h, w); float32 from here on, also under autocast
            logit = F.interpolate(logit, size=padded.shape[-2:], mode="bilinear", align_corners=False)
            logits.append(logit[..., :height, :width])
        return SideOutputs(tuple(logits), fuse([logit.sigmoid() for logit in logits], self.weights))

    def param_groups(self, lr: float, side_rates: Sequence[float] = (1.0,)) -> list[dict[str, Any]]:
        """Return what learns, as groups of an optimiser; see :meth:`MILModel.param_groups`."""
        trunk = [] if self.frozen else [{"params": list(self.trunk.parameters()), "lr": lr}]
        return trunk + head_groups(self.heads, lr, side_rates)


def head_groups(heads: nn.ModuleList, lr: float, side_rates: Sequence[float]) -> list[dict[str, Any]]:
    """Return the side heads as groups of an optimiser: one group for one rate, else one a head.

    Raises
    ------
    ModelError
        If there are neither one nor as many rates as heads, or one is negative.
    """
    told, remedy = f"side_rates {list(side_rates)}", f"Give one number for all side heads, or {len(heads)}, shallow to deep"
    if len(side_rates) not in (1, len(heads)):
        raise ModelError(told, f"the network has {len(heads)} side outputs, not {len(side_rates)}", remedy)
    if not all(rate >= 0 for rate in side_rates):
        raise ModelError(told, "a rate must be a number of at least 0", remedy)
    groups = [heads] if len(side_rates) == 1 else list(heads)
    return [{"params": list(group.parameters()), "lr": lr * rate} for group, rate in zip(groups, side_rates, strict=True)]


def build_model(cfg: NetworkConfig, seed: int | None = None) -> MILModel:
    """Build a network.

    Parameters
    ----------
    cfg : which network, how wide, on which trunk
    seed : fixes the initial weights without touching torch's global random state; None draws from that state

    Returns
    -------
    MILModel in training mode, on the CPU, channels last; its ``config`` names the trunk so that no hub is needed to build it again

    Raises
    ------
    ModelError
        If the trunk is unknown or does not fit, other settings do not, or the trunk's weights cannot be had.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        model = _custom(cfg) if cfg.name == "custom" else _on_trunk(cfg)
    return model.to(memory_format=torch.channels_last)


def _custom(cfg: NetworkConfig) -> MILModel:
    from .custom import build_custom

    return build_custom(cfg)


def _on_trunk(cfg: NetworkConfig) -> TrunkModel:
    from .trunks import build_trunk

    trunk = build_trunk(cfg)
    weights = cfg.fusion_weights
    if weights is None:
        count = len(trunk.strides)
        weights = PAPER_WEIGHTS.get(cfg.name, PAPER_WEIGHTS["resnet-mil"]) if count == 3 else (1 / count,) * count
    model = TrunkModel(trunk.module, trunk.channels, trunk.strides, weights, trunk.normalisation, trunk.config, cfg.frozen)
    model.trunk_source = trunk.source
    return model


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
