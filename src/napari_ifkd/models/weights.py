"""Weights files: safetensors with the model card inside, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from napari_ifkd.errors import ModelError
from napari_ifkd.files import cannot_write, write_aside

from .cam import CamModel
from .card_file import CARD_KEY, read_card, whole_safetensors
from .network import MILModel, build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from .card import ModelCard


def weights_hash(model: nn.Module | Mapping[str, Tensor]) -> str:
    """Return the sha256 (hex) over all parameters and buffers: names, types, shapes and bytes, in order of name."""
    tensors = model if not isinstance(model, torch.nn.Module) else model.state_dict()
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_model(path: str | Path, model: MILModel, card: ModelCard) -> ModelCard:
    """Write a network and its card; the file appears whole or not at all.

    Parameters
    ----------
    path : the file to write (``.safetensors``); its folder is made
    model : the network
    card : what to say of it; the network's settings, fusion weights, normalisation and hash are the model's own, whatever it says

    Returns
    -------
    ModelCard, as written

    Raises
    ------
    ModelError
        If the file cannot be written.
    """
    path = Path(path)
    # contiguous copies: channels_last is a matter of speed, not of the file
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    facts = {**_of_network(model, card), "normalisation": model.normalisation, "weights_sha256": weights_hash(tensors)}
    written = card.model_copy(update=facts)
    data = safetensors.torch.save(tensors, metadata={CARD_KEY: written.model_dump_json(), "format": "pt"})
    try:
        write_aside(path, data)
    except OSError as error:
        raise cannot_write(ModelError, path, error) from error
    return written


def load_model(path: str | Path, device: torch.device | str = "cpu") -> tuple[MILModel, ModelCard]:
    """Build the network a weights file describes and fill it.

    Parameters
    ----------
    path : a ``.safetensors`` file written by :func:`save_model`
    device : where the network goes

    Returns
    -------
    (MILModel, ModelCard), the network in eval mode, channels last

    Raises
    ------
    ModelError
        If the file is missing, is no safetensors file, holds no card, or its tensors do not fit the card or are damaged.
    """
    path = Path(path)
    card = read_card(path)
    with whole_safetensors(path), safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if weights_hash(tensors) != card.weights_sha256:
        raise ModelError(path, "the weights are damaged: their hash is not the one its card tells", "Fetch or train the file again")
    try:
        model = _built(card)
    except ModelError as error:
        raise ModelError(path, f"its card names a network that cannot be built ({error.what}: {error.cause})", error.remedy) from error
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [f"{name} is unknown" for name in tensors.keys() - expected.keys()]
    for name in expected.keys() & tensors.keys():
        have, want = tensors[name], expected[name]
        if (have.shape, have.dtype) != (want.shape, want.dtype):
            problems.append(f"{name} is {tuple(have.shape)} {have.dtype}, not {tuple(want.shape)} {want.dtype}")
    if problems:
        told = "; ".join(sorted(problems)[:3]) + ("" if len(problems) <= 3 else f"; and {len(problems) - 3} more")
        remedy = "It was made for another network or another version of timm; train or fetch one that fits"
        raise ModelError(path, f"its tensors do not fit the {card.network.name} of its card: {told}", remedy)
    model.load_state_dict(tensors)
    model.normalisation = card.normalisation
    model.config = card.network
    model.trunk_source = card.trunk_source
    return model.eval().to(device), card


def _of_network(model: MILModel, card: ModelCard) -> dict[str, Any]:
    """Return what a card tells of how to build its network, as the network itself has it."""
    config = model.config or card.network
    # the file holds the trunk's weights, wherever they came from: a path of this machine would mean nothing elsewhere
    facts: dict[str, Any] = {"network": config.model_copy(update={"fusion_weights": model.weights, "trunk_weights": None})}
    facts |= {"readout": "mil", "cam_scales": (), "cam_networks": 1}
    if isinstance(model, CamModel):
        facts["network"] = facts["network"].model_copy(update={"fusion_weights": (1.0,)})  # each classifier's
        facts |= {"readout": "cam", "cam_scales": model.scales, "cam_networks": len(model.networks)}
    # a student of the teacher's kind was built without, but may have started from the teacher's weights
    facts["trunk_source"] = model.trunk_source or card.trunk_source_of(config)
    return facts


def _built(card: ModelCard) -> MILModel:
    config = card.network.model_copy(update={"pretrained": False, "trunk_weights": None})
    if card.readout == "cam":
        return CamModel([build_model(config, seed=0) for _ in range(card.cam_networks)], card.cam_scales)
    return build_model(config, seed=0)
