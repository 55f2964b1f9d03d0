"""Class activation maps of an image-level classifier, at several scales and over several snapshots, as one network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_ifkd.errors import ModelError

from .network import MILModel, TrunkModel
from .side_outputs import SideOutputs, fuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ifkd.config import NetworkConfig

LEAST = 1e-6  # of a map's values, and of 1 minus them: a logit must be finite


class CamModel(MILModel):
    """Multi-scale class activation maps (CAM; Zhou et al., CVPR 2016), accumulated over snapshots (OAA; Jiang et al., ICCV 2019).

    For each network and scale: the head's logits without their bias, negative ones set to 0, divided by their maximum over the image, times
    the image's probability (of the mean logit: global average pooling). A scale's map is the maximum over the networks; the fused
    map is the mean over the scales. For use only: what learns is the classifier, before.

    Parameters
    ----------
    networks : with one side output each (see :func:`cam_network_config`); several are snapshots of one training
    scales : sizes at which an image is looked at, relative to its own; each gives a side output

    Raises
    ------
    ModelError
        If there is no network or scale, or a network has several side outputs.
    """

    only_teaches = True
    """Its roles do not swap: a student that takes its place keeps it."""

    def __init__(self, networks: Sequence[MILModel], scales: Sequence[float]) -> None:
        if not networks or not scales or not all(scale > 0 for scale in scales):
            raise ModelError(
                f"cam of {len(networks)} networks at scales {list(scales)}", "it needs one of each, above 0", "Set stage1.cam.scales"
            )
        for network in networks:
            if not isinstance(network, TrunkModel) or len(network.heads) != 1:
                raise ModelError(
                    "cam", "an activation map is read from one side head on a trunk", "Build the network with cam_network_config"
                )
        first = networks[0]
        count = len(scales)
        super().__init__((1 / count,) * count, first.strides * count, 1, first.normalisation, first.config)
        self.networks = nn.ModuleList(networks)
        self.scales = tuple(float(scale) for scale in scales)
        self.trunk_source = first.trunk_source

    def forward(self, x: Tensor) -> SideOutputs:
        """Give every pixel its activation; see :meth:`MILModel.forward`."""
        logits = tuple(self._at(x, scale).clamp(LEAST, 1 - LEAST).logit() for scale in self.scales)
        return SideOutputs(logits, fuse([logit.sigmoid() for logit in logits], self.weights))

    def _at(self, x: Tensor, scale: float) -> Tensor:
        """Return the map at one scale: the maximum over the networks, ``(B, 1, H, W)`` float32 in [0, 1]."""
        size = x.shape[-2:]
        sized = tuple(max(1, round(side * scale)) for side in size)
        seen = resized(x, sized[0], sized[1])
        maps = [activation(cast("TrunkModel", network), seen, (size[0], size[1])) for network in self.networks]
        return torch.stack(maps).amax(0)

    def param_groups(self, lr: float, side_rates: Sequence[float] = (1.0,)) -> list[dict[str, Any]]:
        """Refuse: nothing in it learns.

        Raises
        ------
        ModelError
            Always.
        """
        remedy = "Train a network of cam_network_config, or choose another student with --student"
        raise ModelError("cam", "activation maps are read from a trained classifier and cannot learn themselves", remedy)


def activation(network: TrunkModel, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the activation map of a network with one side output.

    Parameters
    ----------
    network : the classifier
    x : ``(B, 3, h, w)``, the image at some scale
    size : (H, W) of the map

    Returns
    -------
    Tensor, ``(B, 1, H, W)`` float32 in [0, 1]
    """
    logit: Tensor = network(x).side_logits[0]  # (B, 1, h, w)
    bias = cast("Tensor", cast("nn.Conv2d", network.heads[0]).bias)
    probability = logit.mean((-2, -1), keepdim=True).sigmoid()  # (B, 1, 1, 1)
    # upsampling keeps constants, so what was added before it can be taken away after it
    evidence = resized((logit - bias.float()).relu(), *size)
    return evidence / evidence.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) * probability


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Resize ``(B, C, h, w)``: bilinear, averaging where it gets smaller."""
    if x.shape[-2:] == (height, width):
        return x
    smaller = height < x.shape[-2] or width < x.shape[-1]
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False, antialias=smaller)


def cam_network_config(config: NetworkConfig) -> NetworkConfig:
    """Return the settings of the classifier whose activation maps are read: the same network, its deepest stage only.

    Raises
    ------
    ModelError
        If the trunk is unknown, or the network is one of the user's own.
    """
    if config.name == "custom":
        cause = "activation maps are read from the side head of a trunk, and a network of your own tells no trunk"
        raise ModelError(f"network {config.custom or config.name}", cause, "Choose another network, or stage1.method mil")
    from .trunks import stage_indices

    return config.model_copy(update={"stages": (max(stage_indices(config)),), "fusion_weights": (1.0,)})
