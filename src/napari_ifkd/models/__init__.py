"""MIL networks with side outputs, their fusion, weights files and the model zoo."""

from .card import ModelCard
from .device import autocast, describe_device, pick_device, seed_everything, uses_bf16
from .network import MILModel, Normalisation, build_model, prepare
from .side_outputs import SideOutputs, fuse
from .weights import load_model, read_card, save_model, weights_hash
from .zoo import ZooEntry, find_model, list_models, models_folder

__all__ = [
    "MILModel",
    "ModelCard",
    "Normalisation",
    "SideOutputs",
    "ZooEntry",
    "autocast",
    "build_model",
    "describe_device",
    "find_model",
    "fuse",
    "list_models",
    "load_model",
    "models_folder",
    "pick_device",
    "prepare",
    "read_card",
    "save_model",
    "seed_everything",
    "uses_bf16",
    "weights_hash",
]
