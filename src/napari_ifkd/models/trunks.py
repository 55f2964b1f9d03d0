"""Trunks from timm: which one, which of its stages, with or without its ImageNet weights."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models.vgg import cfgs as vgg_names
from torch import nn

from napari_ifkd.errors import ModelError

from .normalisation import Normalisation
from .vgg import VGGTrunk, vgg_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_ifkd.config import NetworkConfig

DEFAULT_TRUNK = {
    "vgg-mil": "vgg16_bn",
    "sa-mil": "vgg16_bn",
    "resnet-mil": "resnet18",
    "swin-mil": "swin_tiny_patch4_window7_224",
}
SIDE_STRIDES = (4, 8, 16)  # px, of the trunks that are not VGG

# how a timm model is told to take any input size; the first that its constructor knows is used
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})


@dataclass(frozen=True)
class Trunk:
    """A trunk and what is known of its feature maps, shallow to deep."""

    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]  # px
    normalisation: Normalisation


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
        remedy = f"Did you mean {' or '.join(near)}" if near else "timm.list_models() names all it has"
        raise ModelError(f"trunk {name}", "timm has no model of this name", remedy)
    return _vgg_trunk(cfg, name) if cfg.name in ("vgg-mil", "sa-mil") else _timm_trunk(cfg, name)


def _vgg_trunk(cfg: NetworkConfig, name: str) -> Trunk:
    architecture = name.split(".")[0]
    if architecture.removesuffix("_bn") not in vgg_names:
        remedy = f"Use one of {', '.join(f'{v}_bn' for v in vgg_names)}, or resnet-mil, which takes any trunk"
        raise ModelError(f"trunk {name}", f"{cfg.name} stands on a VGG", remedy)
    if cfg.pretrained and cfg.width != 1:
        cause = f"ImageNet weights exist for width 1 only, not for {cfg.width:g}"
        raise ModelError("pretrained", cause, "Set network.width to 1, or network.pretrained to false")
    features, channels, strides = vgg_features(architecture, cfg.width)
    if cfg.pretrained:
        theirs = _fetched(name, lambda: timm.create_model(name, pretrained=True)).features.state_dict()
        features.load_state_dict({key: theirs[key] for key in features.state_dict()})
    return Trunk(VGGTrunk(features, channels, attention=cfg.name == "sa-mil"), channels, strides, _normalisation(name))


def _timm_trunk(cfg: NetworkConfig, name: str) -> Trunk:
    if cfg.name == "swin-mil" and not name.startswith("swin"):
        remedy = "Use a swin_* trunk, or resnet-mil, which takes any trunk"
        raise ModelError(f"trunk {name}", "swin-mil stands on a Swin transformer", remedy)
    with torch.device("meta"):  # a draft: no memory, no random numbers
        options, info = _stages(name)
    indices = _chosen(info.reduction())
    options["out_indices"] = tuple(info.out_indices[i] for i in indices)
    channels = tuple(info.channels()[i] for i in indices)
    strides = tuple(info.reduction()[i] for i in indices)
    if cfg.pretrained:
        net = _fetched(name, lambda: timm.create_model(name, pretrained=True, **options))
    else:
        net = timm.create_model(name, pretrained=False, **options)
    if cfg.trunk is not None:
        _try_out(name, net, channels, strides)
    return Trunk(net, channels, strides, _normalisation(name))


def _stages(name: str) -> tuple[dict[str, Any], Any]:
    """Return the options that make timm give a model's stages at any size, and what it knows of them."""
    problem: Exception | None = None
    for size in _ANY_SIZE:
        # the getter drops what lies behind the last chosen stage and gives (B, C, h, w) for every kind of model
        options = {"features_only": True, "feature_cls": "getter", **size}
        try:
            return options, timm.create_model(name, **options).feature_info
        except TypeError as error:  # its constructor does not know the option
            problem = error
        except (RuntimeError, AttributeError, AssertionError, NotImplementedError, ValueError) as error:
            problem = error
            break
    cause = f"timm cannot give its stages ({_line(problem)})"
    raise ModelError(f"trunk {name}", cause, "Choose a trunk whose stages timm can give, such as resnet34") from problem


def _chosen(reductions: list[int]) -> list[int]:
    """Return which stages get a side output: the last of each stride 4, 8 and 16, else (as in ViT) the last three there are."""
    last = {stride: i for i, stride in enumerate(reductions)}
    if all(stride in last for stride in SIDE_STRIDES):
        return [last[stride] for stride in SIDE_STRIDES]
    usable = [i for i, stride in enumerate(reductions) if stride <= SIDE_STRIDES[-1]] or list(range(len(reductions)))
    return usable[-len(SIDE_STRIDES) :]


def _try_out(name: str, net: nn.Module, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Look once whether a trunk of the user's choice takes tiles of a size of our choice."""
    size = 5 * max(strides)
    wanted = [(1, c, size // s, size // s) for c, s in zip(channels, strides, strict=True)]
    mode = net.training
    try:
        with torch.no_grad():
            given = [tuple(f.shape) for f in net.eval()(torch.zeros(1, 3, size, size))]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(f"trunk {name}", f"it does not take images of any size ({_line(error)})", "Choose another trunk") from error
    if given != wanted:
        cause = f"its stages are {given} for an image of {size} px, not {wanted}"
        raise ModelError(f"trunk {name}", cause, "Choose another trunk")
    net.train(mode)


def _normalisation(name: str) -> Normalisation:
    known = timm.get_pretrained_cfg(name)
    if known is None:
        return Normalisation()
    return Normalisation.model_validate({"mean": known.mean, "std": known.std})


def _fetched(name: str, create: Callable[[], Any]) -> Any:
    try:
        return create()
    except OSError as error:  # the hub's and its HTTP client's errors are OSErrors too
        cause = f"its ImageNet weights could not be fetched, the hub could not be reached ({_line(error)})"
        remedy = "Check the connection (behind a proxy: HTTPS_PROXY), or set network.pretrained to false"
        raise ModelError(f"trunk {name}", cause, remedy) from error
    except (RuntimeError, ValueError, KeyError) as error:
        cause = f"its ImageNet weights cannot be used ({_line(error)})"
        raise ModelError(f"trunk {name}", cause, "Set network.pretrained to false, or choose another trunk") from error


def _line(error: Exception | None) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
