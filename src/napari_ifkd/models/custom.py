"""Networks of somebody else's making: registered from Python or by an installed package, and dressed as a MILModel."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_ifkd.config import NetworkConfig
from napari_ifkd.errors import ModelError

from .network import MILModel, head_groups, pad_to_multiple
from .normalisation import Normalisation
from .side_outputs import SideOutputs
from .trunk_names import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "napari_ifkd.networks"
Factory = Callable[[NetworkConfig], nn.Module]

_registered: dict[str, Factory] = {}
_MULTIPLES = (1, 2, 4, 8, 14, 16, 32, 64)  # px, that a module is tried with where it does not tell what sizes it takes


class CustomModel(MILModel):
    """A module of the user's, with all that a MILModel offers; made by :func:`dress`.

    Parameters
    ----------
    module : from ``(B, 3, H, W)``, H and W multiples of ``input_multiple``, to SideOutputs of that size
    weights, strides, input_multiple, normalisation, config : see :class:`MILModel`
    """

    def __init__(
        self,
        module: nn.Module,
        weights: Sequence[float],
        strides: Sequence[int],
        input_multiple: int,
        normalisation: Normalisation,
        config: NetworkConfig | None,
    ) -> None:
        super().__init__(weights, strides, input_multiple, normalisation, config)
        self.module = module

    def forward(self, x: Tensor) -> SideOutputs:
        """Give every pixel its probability of tumour; see :meth:`MILModel.forward`."""
        height, width = x.shape[-2:]
        given: SideOutputs = self.module(pad_to_multiple(x, self.input_multiple))
        logits = tuple(logit[..., :height, :width].float() for logit in given.side_logits)
        return SideOutputs(logits, given.fused[..., :height, :width].float().clamp(0.0, 1.0))

    def param_groups(self, lr: float, side_rates: Sequence[float] = (1.0,)) -> list[dict[str, Any]]:
        """Return the module's own groups if it has some; else its ``heads`` apart where it has one a side, or all in one group."""
        own = getattr(self.module, "param_groups", None)
        if callable(own):
            groups: list[dict[str, Any]] = own(lr, side_rates)
            return groups
        learning = [p for p in self.module.parameters() if p.requires_grad]
        heads = getattr(self.module, "heads", None)
        if isinstance(heads, nn.ModuleList) and len(heads) == len(self.weights):
            apart = {id(p) for p in heads.parameters()}
            return [{"params": [p for p in learning if id(p) not in apart], "lr": lr}, *head_groups(heads, lr, side_rates)]
        if tuple(side_rates) != (1.0,):
            cause = "the network does not tell which of its parameters are side heads"
            raise ModelError(f"side_rates {list(side_rates)}", cause, "Give it an nn.ModuleList `heads` of one a side, or leave them at 1")
        return [{"params": learning, "lr": lr}]


def register_network(name: str, factory: Factory) -> None:
    """Make a network of your own known as ``network: {name: custom, custom: NAME}`` in this Python process.

    Runs work in a process of their own: for them, let an installed package name the factory among its entry points
    ``napari_ifkd.networks``.

    Parameters
    ----------
    name : what settings and weights files call it; a second registration replaces the first
    factory : from the settings to a module that returns SideOutputs
    """
    _registered[name] = factory


def build_custom(config: NetworkConfig) -> MILModel:
    """Build the network that ``config.custom`` names, and dress it.

    Raises
    ------
    ModelError
        If nothing registered or installed has this name, or it fails, or what it gives does not fit.
    """
    if not config.custom:
        some = _names()
        where = "Set network.custom (of a student, student.custom) to"
        remedy = f"{where} {' or '.join(some)}" if some else f"Install a package that has one (entry points {GROUP}) first"
        raise ModelError("network custom", "it needs to be told which network of your own it is", remedy)
    factory = _factory(config.custom)
    try:
        module = factory(config)
    except ModelError:
        raise
    except Exception as error:  # whatever somebody else's code does wrong
        cause = f"building it failed ({type(error).__name__}: {first_line(error)})"
        raise ModelError(f"network {config.custom}", cause, "This is the network's own code: ask who made it") from error
    if not isinstance(module, nn.Module):
        cause = f"its factory gave a {type(module).__name__}, not a torch.nn.Module"
        raise ModelError(f"network {config.custom}", cause, "This is the network's own code: ask who made it")
    return dress(module, config)


def dress(module: nn.Module, config: NetworkConfig | None = None) -> MILModel:
    """Make a MILModel of any module that returns SideOutputs.

    What the module tells of itself (``weights``, ``strides``, ``input_multiple``, ``normalisation``, ``param_groups``) stands; the rest is
    found by asking it about a small black image, or takes its usual value.

    Parameters
    ----------
    module : the network; kept inside, not copied
    config : its settings, for weights files

    Returns
    -------
    MILModel; a MILModel is given back as it is, with these settings

    Raises
    ------
    ModelError
        If it fails on the image, or does not return SideOutputs of the image's size.
    """
    if isinstance(module, MILModel):
        module.config = config or module.config
        return module
    told = getattr(module, "input_multiple", None)
    sides, multiple = _tried(module, _MULTIPLES if told is None else (int(told),), config)
    weights = getattr(module, "weights", None) or (config.fusion_weights if config is not None else None) or (1 / sides,) * sides
    strides = tuple(getattr(module, "strides", None) or (multiple,) * sides)
    if len(strides) != sides:
        raise ModelError(_name(module, config), f"it tells {len(strides)} strides, and has {sides} side outputs", "Correct its `strides`")
    normalisation = getattr(module, "normalisation", None) or Normalisation()
    return CustomModel(module, weights, strides, multiple, normalisation, config)


def _tried(module: nn.Module, multiples: Sequence[int], config: NetworkConfig | None) -> tuple[int, int]:
    """Return the count of side outputs, and the first of the multiples (px) with which images of any size come out right."""
    problem = ""
    like = next(module.parameters(), torch.zeros(()))
    mode = module.training
    try:
        with torch.no_grad():
            module.eval()
            for multiple in multiples:
                # odd multiples, the one unlike the other: nothing fits by chance
                height, width = (multiple * (64 // multiple + extra | 1) for extra in (0, 2))
                try:
                    given = module(torch.zeros(1, 3, height, width, device=like.device, dtype=like.dtype))
                except Exception as error:  # noqa: BLE001 - told below
                    problem = problem or f"it fails on an image of {height} x {width} px ({type(error).__name__}: {first_line(error)})"
                    continue
                wrong = _wrong(given, height, width)
                if not wrong:
                    return len(given.side_logits), multiple
                problem = problem or wrong
    finally:
        module.train(mode)
    remedy = "Return napari_ifkd.models.SideOutputs of the size of the image, and tell `input_multiple` where sizes must be multiples"
    raise ModelError(_name(module, config), problem, remedy)


def _wrong(given: object, height: int, width: int) -> str:
    if not isinstance(given, SideOutputs):
        return f"it returns a {type(given).__name__}, not SideOutputs"
    if not given.side_logits:
        return "it returns no side output"
    for what, tensor in [("fused", given.fused), *((f"side_logits[{i}]", logit) for i, logit in enumerate(given.side_logits))]:
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != (1, 1, height, width):
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            return f"its {what} is {shape} for an image of {height} x {width} px, not {(1, 1, height, width)}"
        if not torch.isfinite(tensor).all():
            return f"its {what} holds values that are no numbers"
    if not -1e-3 <= given.fused.min() <= given.fused.max() <= 1 + 1e-3:
        return "its fused map is no probability: it leaves 0 to 1"
    return ""


def _factory(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        near = get_close_matches(name, _names(), n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        cause = f"no installed package has a network of this name among its entry points {GROUP}"
        raise ModelError(f"network {name}", cause, f"{hint}Install the package that provides it; known: {_known()}")
    try:
        factory: Factory = found[0].load()
    except Exception as error:  # whatever somebody else's code does wrong
        cause = f"{found[0].value} cannot be imported ({type(error).__name__}: {first_line(error)})"
        raise ModelError(f"network {name}", cause, "Install the package that provides it again") from error
    return factory


def _names() -> list[str]:
    return sorted({*_registered, *(point.name for point in entry_points(group=GROUP))})


def _known() -> str:
    return ", ".join(_names()) or "none"


def _name(module: nn.Module, config: NetworkConfig | None) -> str:
    return f"network {config.custom}" if config is not None and config.custom else f"network {type(module).__name__}"
