"""MIL networks with side outputs, their fusion, weights files and the model zoo."""

from .device import autocast, describe_device, pick_device, seed_everything, uses_bf16
from .network import MILModel, Normalisation, build_model, prepare
from .side_outputs import SideOutputs, fuse

__all__ = [
    "MILModel",
    "Normalisation",
    "SideOutputs",
    "autocast",
    "build_model",
    "describe_device",
    "fuse",
    "pick_device",
    "prepare",
    "seed_everything",
    "uses_bf16",
]
