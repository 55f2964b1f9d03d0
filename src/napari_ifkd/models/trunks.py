"""Trunks, all but VGGs from timm: which of their stages get a side output, with or without published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_ifkd.errors import ModelError

from .trunk_files import fill_trunk, load_trunk_weights, normalisation_beside
from .trunk_names import HUB, TrunkName, first_line, look_up, the_timm, unreachable
from .vgg import CONVOLUTIONS, VGGTrunk, is_vgg, vgg_features
from .vgg import STAGES as VGG_STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ifkd.config import NetworkConfig

    from .normalisation import Normalisation

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
    config: NetworkConfig
    """Builds the same module again, without a hub."""
    source: str
    """Whose weights it starts from, in words; empty if they were drawn."""


class EvenTrunk(nn.Module):
    """A trunk all of whose stages have one stride, such as a plain ViT.

    What its blocks add up to grows with depth, and is only normalised at the very end: here each chosen stage is, over its channels. (That
    norm's own scale and shift would do what the side head after it does anyway.)

    Parameters
    ----------
    net : gives the chosen stages, ``(B, C, h, w)`` each
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the chosen stages, of mean 0 and variance 1 over the channels of each position."""
        return [F.layer_norm(f.permute(0, 2, 3, 1), f.shape[1:2]).permute(0, 3, 1, 2) for f in self.net(x)]


def build_trunk(cfg: NetworkConfig) -> Trunk:
    """Build the trunk a network stands on.

    Raises
    ------
    ModelError
        If there is no such trunk, it does not fit the network, or its weights cannot be had.
    """
    found = look_up(cfg)
    resolved = cfg.model_copy(update={"trunk": found.architecture, "trunk_options": found.options} if found.from_hub else {})
    build = _vgg_trunk if cfg.name in ("vgg-mil", "sa-mil") else _timm_trunk
    module, channels, strides, source = build(cfg, found)
    beside = normalisation_beside(cfg.trunk_weights) if cfg.trunk_weights is not None else None
    return Trunk(module, channels, strides, beside or found.normalisation, resolved, source)


def stage_indices(cfg: NetworkConfig) -> tuple[int, ...]:
    """Return which stages of its trunk get a side output, shallow to deep, without building it.

    Raises
    ------
    ModelError
        If the trunk is unknown, or has no such stages.
    """
    if cfg.name in ("vgg-mil", "sa-mil"):
        return _chosen_by_user(cfg, VGG_STAGES) or tuple(range(VGG_STAGES))
    found = look_up(cfg)
    _, info = _draft(found)
    return _chosen_by_user(cfg, len(info)) or _chosen([stage["reduction"] for stage in info])


_Built = tuple[nn.Module, tuple[int, ...], tuple[int, ...], str]


def _vgg_trunk(cfg: NetworkConfig, found: TrunkName) -> _Built:
    architecture = found.architecture.split(".")[0]
    if not is_vgg(architecture):
        remedy = f"Use one of {', '.join(f'{v}_bn' for v in CONVOLUTIONS)}, or encoder-mil, which takes any trunk"
        raise ModelError(f"trunk {found.name}", f"{cfg.name} stands on a VGG", remedy)
    published = (cfg.pretrained or found.from_hub) and cfg.trunk_weights is None
    if published and cfg.width != 1:
        cause = f"ImageNet weights exist for width 1 only, not for {cfg.width:g}"
        raise ModelError("pretrained", cause, "Set network.width to 1, or network.pretrained to false")
    features, channels, strides = vgg_features(architecture, cfg.width)
    source = _filled(features, cfg, found)
    if published and not found.from_hub:
        theirs = _fetched(found, lambda: the_timm().create_model(found.name, pretrained=True)).features.state_dict()
        features.load_state_dict({key: theirs[key] for key in features.state_dict()})
        source = _published(found)
    taken = stage_indices(cfg)
    module = VGGTrunk(features, channels, attention=cfg.name == "sa-mil", taken=taken)
    return module, tuple(channels[i] for i in taken), tuple(strides[i] for i in taken), source


def _timm_trunk(cfg: NetworkConfig, found: TrunkName) -> _Built:
    timm = the_timm()
    options, info = _draft(found)
    taken = _chosen_by_user(cfg, len(info)) or _chosen([stage["reduction"] for stage in info])
    options["out_indices"] = taken
    net: Any
    channels = tuple(info[i]["num_chs"] for i in taken)
    strides = tuple(info[i]["reduction"] for i in taken)
    if cfg.pretrained and not found.from_hub and cfg.trunk_weights is None:
        net = _fetched(found, lambda: timm.create_model(found.name, pretrained=True, **options))
        source = _published(found)
    else:
        net = timm.create_model(found.architecture, pretrained=False, **options)
        source = _filled(net.model, cfg, found)
    if cfg.trunk is not None:
        _try_out(found.name, net, channels, strides)
    even = len({stage["reduction"] for stage in info}) == 1
    return EvenTrunk(net) if even else net, channels, strides, source


def _filled(module: nn.Module, cfg: NetworkConfig, found: TrunkName) -> str:
    """Fill a trunk from the user's file, or from a repository of the hub; returns whose weights it has now, if they are not drawn.

    Such repositories are not always told in full by their ``config.json``, and timm fills features of what fits in silence: so these
    weights are checked as a file's are.
    """
    if cfg.trunk_weights is not None:
        return load_trunk_weights(module, cfg.trunk_weights)
    if not found.from_hub:
        return ""
    names: dict[str, Any] = {} if found.hub_file is None else {"filename": found.hub_file}
    tensors = _fetched(found, lambda: the_timm().models.load_state_dict_from_hf(found.name.removeprefix(HUB), **names))
    fill_trunk(module, tensors, f"trunk {found.name}")
    return _published(found)


def _draft(found: TrunkName) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the options that make timm give a model's stages at any size, and what it knows of each of them."""
    problem: Exception | None = None
    for size in _ANY_SIZE:
        # the getter drops what lies behind the last chosen stage and gives (B, C, h, w) for every kind of model
        options = {**found.arguments, **size, "features_only": True, "feature_cls": "getter", "out_indices": (0,)}
        try:
            with torch.device("meta"):  # no memory, no random numbers
                net: Any = the_timm().create_model(found.architecture, pretrained=False, **options)
            info = net.model.feature_info  # of all stages; the getter's own would be of the usual choice only
            return options, list(getattr(info, "info", info))
        except TypeError as error:  # its constructor does not know the option
            problem = error
        except (RuntimeError, AttributeError, AssertionError, NotImplementedError, ValueError) as error:
            problem = error
            break
    wrong = [key for key in found.options if f"'{key}'" in str(problem)]
    if wrong:
        raise ModelError(
            f"trunk_options {', '.join(wrong)}", f"the constructor of {found.architecture} has no such option", "Leave it out"
        ) from problem
    cause = f"timm cannot give its stages ({first_line(problem)})"
    remedy = "Check network.trunk_options" if found.options else "Choose a trunk whose stages timm can give, such as resnet34"
    raise ModelError(f"trunk {found.name}", cause, remedy) from problem


def _chosen(strides: Sequence[int]) -> tuple[int, ...]:
    """Return which stages get a side output: the last of each stride 4, 8 and 16, or the ends of the thirds where all are alike.

    Where neither is to be had, the last three up to stride 16, or the last three of all.
    """
    if len(set(strides)) == 1:
        depth, sides = len(strides), min(len(SIDE_STRIDES), len(strides))
        return tuple(depth * (third + 1) // sides - 1 for third in range(sides))
    last = {stride: i for i, stride in enumerate(strides)}
    if all(stride in last for stride in SIDE_STRIDES):
        return tuple(last[stride] for stride in SIDE_STRIDES)
    usable = [i for i, stride in enumerate(strides) if stride <= SIDE_STRIDES[-1]] or list(range(len(strides)))
    return tuple(usable[-len(SIDE_STRIDES) :])


def _chosen_by_user(cfg: NetworkConfig, count: int) -> tuple[int, ...] | None:
    if cfg.stages is None:
        return None
    if not cfg.stages or list(cfg.stages) != sorted(set(cfg.stages)) or not all(0 <= stage < count for stage in cfg.stages):
        cause = f"the trunk has stages 0 to {count - 1}"
        raise ModelError(f"stages {list(cfg.stages)}", cause, "Give some of them, each once, in rising order")
    return cfg.stages


def _try_out(name: str, net: nn.Module, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Look once whether a trunk of the user's choice takes tiles of a size of our choice."""
    size = 5 * max(strides)
    wanted = [(1, c, size // s, size // s) for c, s in zip(channels, strides, strict=True)]
    mode = net.training
    try:
        with torch.no_grad():
            given = [tuple(f.shape) for f in net.eval()(torch.zeros(1, 3, size, size))]
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(f"trunk {name}", f"it does not take images of any size ({first_line(error)})", "Choose another trunk") from error
    if given != wanted:
        cause = f"its stages are {given} for an image of {size} px, not {wanted}"
        raise ModelError(f"trunk {name}", cause, "Choose another trunk")
    net.train(mode)


def _published(found: TrunkName) -> str:
    if found.from_hub:
        where = found.name
    else:
        known = the_timm().get_pretrained_cfg(found.name)
        where = f"timm {found.architecture.split('.')[0]}" + (f".{known.tag}" if known is not None and known.tag else "")
    return f"{where} ({found.licence})" if found.licence else where


def _fetched(found: TrunkName, create: Callable[[], Any]) -> Any:
    try:
        return create()
    except OSError as error:  # the hub's and its HTTP client's errors are OSErrors too
        raise unreachable(found.name, error) from error
    except (RuntimeError, ValueError, KeyError) as error:
        cause = f"its published weights cannot be used ({first_line(error)})"
        raise ModelError(f"trunk {found.name}", cause, "Set network.pretrained to false, or choose another trunk") from error
