"""What a trunk's name means: an architecture of timm, its options and its normalisation, without a hub from then on."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from napari_ifkd.errors import ModelError

from .normalisation import Normalisation
from .vgg import is_vgg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_ifkd.config import NetworkConfig

    Option = bool | int | float | str

HUB = "hf-hub:"
DEFAULT_TRUNK = {
    "vgg-mil": "vgg16_bn",
    "sa-mil": "vgg16_bn",
    "resnet-mil": "resnet18",
    "swin-mil": "swin_tiny_patch4_window7_224",
}
_KINDS = {"vgg-mil": "a VGG", "sa-mil": "a VGG", "resnet-mil": "a ResNet", "swin-mil": "a Swin transformer"}
_PARTS = {"vgg-mil": ("vgg",), "sa-mil": ("vgg",), "resnet-mil": ("resnet", "resnext", "res2n", "resnest"), "swin-mil": ("swin",)}


@dataclass(frozen=True)
class TrunkName:
    """A trunk's name, looked up."""

    name: str
    """As the user wrote it, or the network's own: its weights are fetched by it."""
    architecture: str
    """A name of timm's registry, with or without a tag; builds the same module without any connection."""
    options: dict[str, Option] = field(default_factory=dict)
    """For the constructor: a hub repository's own, and the user's above them."""
    normalisation: Normalisation = field(default_factory=Normalisation)
    licence: str = ""
    """Of the published weights, where they tell."""
    hub_file: str | None = None
    """A hub repository's file of weights, where it is not one of the usual names."""

    @property
    def from_hub(self) -> bool:
        """Whether the name is a hub id: such an id means weights, not only an architecture."""
        return self.name.startswith(HUB)

    @property
    def arguments(self) -> dict[str, Any]:
        """The options as the constructor takes them: a layer is written by its name, such as SwiGLUPacked."""
        return {key: _layer(value) if key.endswith("_layer") else value for key, value in self.options.items()}


def the_timm() -> Any:
    """Return timm; it is imported where it is needed, see :mod:`napari_ifkd.models.vgg`."""
    import timm
    import timm.layers

    return timm


def look_up(cfg: NetworkConfig) -> TrunkName:
    """Find out what the trunk's name means; for a hub id this reads the repository's ``config.json``.

    Raises
    ------
    ModelError
        If there is no such trunk, it cannot be reached, or it is none the network stands on.
    """
    name = cfg.trunk or DEFAULT_TRUNK.get(cfg.name, "")
    if not name:
        remedy = "Set network.trunk (of a student, student.trunk) to a timm model such as vit_small_patch16_224, or to hf-hub:ORG/REPO"
        raise ModelError(f"network {cfg.name}", "it needs to be told its trunk", remedy)
    options = {key: _number(value) for key, value in cfg.trunk_options.items()}
    if name.startswith(HUB):
        found = _from_hub(name, options)
    elif is_vgg(name) and not cfg.pretrained:
        found = TrunkName(name, name, options)
    elif the_timm().is_model(name):
        told = _told_by_timm(name)
        found = TrunkName(name, name, options, _normalisation(told), str(told.get("license") or ""))
    else:
        raise _unknown(name)
    parts = _PARTS.get(cfg.name)
    if parts is not None and not any(part in found.architecture for part in parts):
        cause = f"{cfg.name} stands on {_KINDS[cfg.name]}" + ("" if found.architecture == name else f", and this is a {found.architecture}")
        raise ModelError(f"trunk {name}", cause, "Set network.name to encoder-mil, which takes any trunk")
    if parts is not None and found.options:
        cause = f"{cfg.name} takes no options ({', '.join(found.options)})"
        raise ModelError(f"trunk {name}", cause, "Set network.name to encoder-mil, or leave network.trunk_options out")
    return found


def _unknown(name: str) -> ModelError:
    if "/" in name:
        return ModelError(f"trunk {name}", "timm has no model of this name", f"Write {HUB}ORG/REPO for a repository of the hub")
    near = get_close_matches(name, the_timm().list_models(), n=3)
    remedy = f"Did you mean {' or '.join(near)}" if near else "timm.list_models() names all it has"
    return ModelError(f"trunk {name}", "timm has no model of this name", remedy)


def _told_by_timm(name: str) -> dict[str, Any]:
    timm = the_timm()
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # of its tag
        tags = timm.list_pretrained(f"{name.split('.')[0]}.*")
        remedy = f"It has {', '.join(tags[:6])}" if tags else "Leave out what follows the point"
        raise ModelError(f"trunk {name}", "timm has no weights of this name", remedy) from error
    return {} if known is None else vars(known)


def _from_hub(name: str, wanted: dict[str, Option]) -> TrunkName:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    timm = the_timm()
    try:
        told, architecture, options = timm.models.load_model_config_from_hf(name.removeprefix(HUB))
        known = timm.is_model(architecture)
    except RepositoryNotFoundError as error:
        remedy = "Check the id; where its terms must be accepted first, do so on its page and log in with `hf auth login`"
        raise ModelError(f"trunk {name}", "the hub has no such repository, or does not let you in", remedy) from error
    except LocalEntryNotFoundError as error:  # before its parent class: this one means no connection
        raise unreachable(name, error) from error
    except EntryNotFoundError as error:
        cause = "the repository has no config.json, so it is not known which network it holds"
        raise ModelError(f"trunk {name}", cause, "Name the timm model as network.trunk, and a file as network.trunk_weights") from error
    except OSError as error:
        raise unreachable(name, error) from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        cause = f"the repository holds no timm model ({first_line(error)})"
        raise ModelError(f"trunk {name}", cause, "Name the timm model as network.trunk, and a file as network.trunk_weights") from error
    if not known:
        raise ModelError(f"trunk {name}", f"this timm ({timm.__version__}) does not know its architecture {architecture}", "Update timm")
    merged = {**dict(_plain(name, options or {})), **wanted}
    return TrunkName(name, architecture, merged, _normalisation(told), str(told.get("license") or ""), told.get("hf_hub_filename"))


def _plain(name: str, options: dict[str, Any]) -> Iterator[tuple[str, Option]]:
    """Yield a repository's options that matter here as one number or word each, which is what settings hold."""
    for key, value in options.items():
        if key in ("num_classes", "global_pool"):  # of the head, which is left out
            continue
        if key == "img_size" and isinstance(value, list | tuple) and len(set(value)) == 1:
            yield key, value[0]
        elif isinstance(value, bool | int | float | str):
            yield key, value
        elif value is not None:
            cause = f"its option {key} = {value} is not one number or word, so it cannot be kept in a weights file"
            raise ModelError(f"trunk {name}", cause, "Choose another trunk")


def _normalisation(told: dict[str, Any]) -> Normalisation:
    known = {key: tuple(told[key]) for key in ("mean", "std") if len(told.get(key) or ()) == 3}
    return Normalisation.model_validate(known)


def _number(value: Option) -> Option:
    """Return the number a word means: YAML reads 1e-5, without a point, as a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _layer(name: Option) -> Any:
    """Return the layer of this name in timm (some are a class with settings) or torch, and no other object they hold."""
    for home in (the_timm().layers, nn):
        found = getattr(home, str(name), None)
        if isinstance(found, partial) or (isinstance(found, type) and issubclass(found, nn.Module)):
            return found
    return name  # timm knows short names, such as gelu, itself


def unreachable(name: str, error: Exception) -> ModelError:
    """Return the error of weights or settings that could not be fetched."""
    cause = f"its weights could not be fetched, the hub could not be reached ({first_line(error)})"
    remedy = "Check the connection (behind a proxy: HTTPS_PROXY), or give a file as network.trunk_weights"
    return ModelError(f"trunk {name}", cause, remedy)


def first_line(error: BaseException | None) -> str:
    """Return the first line an error tells, or its kind if it tells none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
