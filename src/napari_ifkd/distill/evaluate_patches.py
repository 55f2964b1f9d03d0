"""A network, or maps on disk, against the masks of patches. For evaluation only: nothing here may feed training or choose a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.bags import read_patch_masks, read_patches
from napari_ifkd.errors import BagError
from napari_ifkd.inference import predict_patches, read_patch_maps
from napari_ifkd.models import pick_device

from .metrics import Evaluation

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ifkd.config import Config
    from napari_ifkd.models import MILModel, ModelCard

_CHUNK = 256  # images whose maps are in memory at once


def evaluate_patches(model: MILModel, card: ModelCard, folder: str | Path, config: Config) -> dict[str, float]:
    """Score a network on patches with masks, at threshold 0.5 after smoothing.

    Parameters
    ----------
    model, card : the network and what is known of it
    folder : patch folder with masks, in either layout
    config : its ``inference`` (smoothing, batch), ``tiles``, device and precision

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.metrics.Evaluation.result`, with HD95

    Raises
    ------
    BagError
        If the folder cannot be used, has no masks, or another resolution than the network was trained at.
    """
    bags = read_patches(folder, config.tiles)
    check_resolution(bags.source, bags.mpp, card)
    masks = read_patch_masks(folder)
    evaluation = Evaluation(0.5, bags.mpp, config.inference.sigma_px)
    for start in range(0, len(bags), _CHUNK):
        maps = predict_patches(
            model,
            bags.images[start : start + _CHUNK],
            device=pick_device(config.device),
            precision=config.precision,
            batch=config.inference.batch,
        )
        for name, probability in zip(bags.names[start : start + _CHUNK], maps, strict=True):
            evaluation.add(probability, masks[name])
    return evaluation.result()


def evaluate_patch_maps(maps: str | Path, folder: str | Path, config: Config) -> dict[str, float]:
    """Score maps on disk, one for each patch, at threshold 0.5 after smoothing.

    Parameters
    ----------
    maps : folder of maps, see :func:`napari_ifkd.inference.read_patch_maps`
    folder : patch folder with masks, in either layout
    config : its ``inference`` (smoothing) and ``tiles``

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.metrics.Evaluation.result`, with HD95

    Raises
    ------
    BagError
        If the patches cannot be used or have no masks, or maps are missing or unfit.
    """
    bags = read_patches(folder, config.tiles)
    masks = read_patch_masks(folder)
    evaluation = Evaluation(0.5, bags.mpp, config.inference.sigma_px)
    probabilities = read_patch_maps(maps, bags.names, bags.images.shape[1:3], np.float32)
    for name, probability in zip(bags.names, probabilities, strict=True):
        evaluation.add(probability, masks[name])
    return evaluation.result()


def check_resolution(source: str, mpp: float, card: ModelCard) -> None:
    """Refuse images that a network would see at quite another scale than it was trained at.

    Parameters
    ----------
    source : of the images, for the message
    mpp : of the images, um/px
    card : of the network

    Raises
    ------
    BagError
        If the two differ by a quarter or more.
    """
    if not 0.8 < mpp / card.mpp < 1.25:
        raise BagError(
            source,
            f"has {mpp:g} um/px, the network was trained at {card.mpp:g}",
            "Give patches of that resolution; if theirs is not 1 um/px, tell it by a column mpp in labels.csv or tiles.mpp in the settings",
        )
