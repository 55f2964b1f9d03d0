"""Trunks from timm: which one, which of its stages, with or without its ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import timm
import torch
from timm.models.vgg import cfgs as vgg_names
from torch import Tensor, nn

from ..config import NetworkConfig
from ..errors import ModelError
from .network import Normalisation
from .vgg import VGGTrunk, vgg_features

DEFAULT_TRUNK = {
    "vgg-mil": "vgg16_bn",
    "sa-mil": "vgg16_bn",
    "resnet-mil": "resnet18",
    "swin-mil": "swin_tiny_patch4_window7_224",
}
SIDE_STRIDES = (4, 8, 16)  # of the trunks that are not VGG

# how a timm model is told to take any input size; the first its constructor accepts is used
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})


@dataclass(frozen=True)
class Trunk:
    """A trunk and what is known of its feature maps, shallow to deep."""

    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]  # px
    normalisation: Normalisation


class TimmTrunk(nn.Module):
    """Chosen stages of a timm model, always as ``(B, C, h, w)``.

    Parameters
    ----------
    net : what ``timm.create_model(..., features_only=True)`` returns
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.channels_last_axis = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of each chosen stage."""
        features = self.net(x)
        return [f.permute(0, 3, 1, 2) for f in features] if self.channels_last_axis else list(features)


def build_trunk(cfg: NetworkConfig) -> Trunk:
    """Build the trunk a network stands on.

    Raises
    ------
    ModelError
        If timm has no such trunk, it does not fit the network, or its ImageNet weights cannot be had.
    """
    name = cfg.trunk or DEFAULT_TRUNK[cfg.name]
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3)
        raise ModelError(f"trunk {name}", "timm has no model of this name", f"Did you mean {' or '.join(near)}" if near else "timm.list_models() names them")
    return _vgg_trunk(cfg, name) if cfg.name in ("vgg-mil", "sa-mil") else _timm_trunk(cfg, name)


def _vgg_trunk(cfg: NetworkConfig, name: str) -> Trunk:
    architecture = name.split(".")[0]
    if architecture.removesuffix("_bn") not in vgg_names:
        remedy = f"Use one of {', '.join(f'{v}_bn' for v in vgg_names)}, or resnet-mil, which takes any trunk"
        raise ModelError(f"trunk {name}", f"{cfg.name} stands on a VGG", remedy)
    if cfg.pretrained and cfg.width != 1:
        raise ModelError("pretrained", f"ImageNet weights exist for width 1 only, not {cfg.width:g}", "Set network.width to 1, or network.pretrained to false")
    features, channels, strides = vgg_features(architecture, cfg.width)
    if cfg.pretrained:
        whole = _download(name, lambda: timm.create_model(name, pretrained=True))
        ours = features.state_dict()
        theirs = whole.features.state_dict()
        features.load_state_dict({key: theirs[key] for key in ours})
    return Trunk(VGGTrunk(features, channels, attention=cfg.name == "sa-mil"), channels, strides, _normalisation(name))


def _timm_trunk(cfg: NetworkConfig, name: str) -> Trunk:
    if cfg.name == "swin-mil" and not name.startswith("swin"):
        raise ModelError(f"trunk {name}", "swin-mil stands on a Swin transformer", "Use a swin_* trunk, or resnet-mil, which takes any trunk")
    with torch.device("meta"):  # costs no memory and no random numbers
        options, draft = _first_accepted(name)
    reductions = draft.feature_info.reduction()
    indices = _chosen(reductions)
    strides = tuple(reductions[i] for i in indices)
    channels = tuple(draft.feature_info.channels()[i] for i in indices)
    levels = draft.feature_info.out_indices
    create = lambda: timm.create_model(  # noqa: E731
        name, pretrained=cfg.pretrained, features_only=True, out_indices=tuple(levels[i] for i in indices), **options
    )
    net = _download(name, create) if cfg.pretrained else create()
    return Trunk(TimmTrunk(net), channels, strides, _normalisation(name))


def _first_accepted(name: str) -> tuple[dict[str, Any], Any]:
    """Return the options that let the model take any size, and a draft of it without weights."""
    problem: Exception | None = None
    for options in _ANY_SIZE:
        try:
            return options, timm.create_model(name, features_only=True, **options)
        except TypeError as error:  # its constructor does not know the option
            problem = error
        except (RuntimeError, AttributeError, AssertionError, NotImplementedError, ValueError) as error:
            problem = error
            break
    raise ModelError(f"trunk {name}", f"timm cannot give its stages ({problem})", "Choose a trunk whose stages timm can give, such as resnet34") from problem


def _chosen(reductions: list[int]) -> list[int]:
    """Return which stages get a side output: the last of each stride 4, 8 and 16, else (as in ViT) the last three there are."""
    last = {stride: i for i, stride in enumerate(reductions)}
    if all(stride in last for stride in SIDE_STRIDES):
        return [last[stride] for stride in SIDE_STRIDES]
    usable = [i for i, stride in enumerate(reductions) if stride <= SIDE_STRIDES[-1]] or list(range(len(reductions)))
    return usable[-len(SIDE_STRIDES) :]


def _normalisation(name: str) -> Normalisation:
    known = timm.get_pretrained_cfg(name)
    return Normalisation(mean=known.mean, std=known.std) if known is not None else Normalisation()


def _download(name: str, create: Callable[[], Any]) -> Any:
    try:
        return create()
    except OSError as error:  # httpx and the hub derive theirs from it
        remedy = "Check the connection (behind a proxy: HTTPS_PROXY), or set network.pretrained to false"
        raise ModelError(f"trunk {name}", f"its ImageNet weights could not be fetched, the hub could not be reached ({_line(error)})", remedy) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"trunk {name}", f"its ImageNet weights cannot be used ({_line(error)})", "Set network.pretrained to false, or choose another trunk") from error


def _line(error: Exception) -> str:
    lines: Iterable[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
