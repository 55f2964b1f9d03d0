"""MIL networks with side outputs, their fusion, weights files and the model zoo."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cam import CamModel, cam_network_config
    from .card import ModelCard
    from .card_file import read_card
    from .custom import dress, register_network
    from .device import autocast, describe_device, pick_device, seed_everything, uses_bf16
    from .network import MILModel, build_model, prepare
    from .normalisation import Normalisation
    from .side_outputs import SideOutputs, fuse
    from .weights import load_model, save_model, weights_hash
    from .zoo import ZooEntry, find_model, list_models, models_folder

__all__ = [
    "CamModel",
    "MILModel",
    "ModelCard",
    "Normalisation",
    "SideOutputs",
    "ZooEntry",
    "autocast",
    "build_model",
    "cam_network_config",
    "describe_device",
    "dress",
    "find_model",
    "fuse",
    "list_models",
    "load_model",
    "models_folder",
    "pick_device",
    "prepare",
    "read_card",
    "register_network",
    "save_model",
    "seed_everything",
    "uses_bf16",
    "weights_hash",
]

_HOME = {
    "cam": ("CamModel", "cam_network_config"),
    "card": ("ModelCard",),
    "card_file": ("read_card",),
    "custom": ("dress", "register_network"),
    "device": ("autocast", "describe_device", "pick_device", "seed_everything", "uses_bf16"),
    "network": ("MILModel", "build_model", "prepare"),
    "normalisation": ("Normalisation",),
    "side_outputs": ("SideOutputs", "fuse"),
    "weights": ("load_model", "save_model", "weights_hash"),
    "zoo": ("ZooEntry", "find_model", "list_models", "models_folder"),
}


def __getattr__(name: str) -> Any:
    # on first use: the window asks for cards and maps, and must not load torch for them
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
