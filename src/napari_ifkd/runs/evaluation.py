"""``evaluate``: a network on patches, or a map, against pixel truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_ifkd.annotations import read_mask
from napari_ifkd.distill import Evaluation
from napari_ifkd.distill.evaluate import evaluate_map
from napari_ifkd.distill.evaluate_patches import evaluate_patches
from napari_ifkd.errors import RunError
from napari_ifkd.inference import open_map
from napari_ifkd.models import load_model

from .folder import RunFolder
from .resolve import chosen_round, resolve_model

if TYPE_CHECKING:
    from napari_ifkd.config import Config

_BLOCK = 4096  # px


def evaluate_model(ref: str | Path, patches: str | Path, config: Config) -> dict[str, float]:
    """Score a network on patches with masks.

    Parameters
    ----------
    ref : run, weights file or name
    patches : patch folder with masks
    config : ``inference``, ``tiles``, device and precision matter

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`

    Raises
    ------
    InputError
        If the network or the patches will not do.
    """
    model, card = load_model(resolve_model(ref).path)
    return evaluate_patches(model, card, patches, config)


def evaluate_map_of(source: str | Path, truth: str | Path, config: Config) -> dict[str, float]:
    """Score a map against the mask of its slide, at threshold 0.5.

    Parameters
    ----------
    source : a map, or a run with one slide: then the map of the accepted round, else of the last switched in, else of the teacher
    truth : label image
    config : ``inference.sigma_px`` matters

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`

    Raises
    ------
    InputError
        If map or mask cannot be read or do not fit.
    """
    path = Path(source)
    if (path / "run.yaml").is_file():
        run = RunFolder.open(path)
        maps = run.maps(chosen_round(run))
        if len(maps) != 1:
            found = ", ".join(str(m.relative_to(path)) for m in maps.values()) or "none"
            raise RunError(
                path, f"has {len(maps)} maps in round {chosen_round(run)} ({found})", "Give one map, such as RUN/rounds/00/maps/SLIDE.zarr"
            )
        path = next(iter(maps.values()))
    with read_mask(truth) as mask:
        return evaluate_map(open_map(path), mask, 0.5, config.inference.sigma_px)


def evaluate_all_foreground(truth: str | Path) -> dict[str, float]:
    """Score the answer "everything is tumour", over the whole slide: what any map must beat.

    Parameters
    ----------
    truth : label image

    Returns
    -------
    dict, see :meth:`napari_ifkd.distill.Evaluation.result`
    """
    evaluation = Evaluation(0.5)
    with read_mask(truth) as mask:
        height, width = mask.shape
        corners = [(y, x) for y in range(0, height, _BLOCK) for x in range(0, width, _BLOCK)]
        for y, x in corners:
            block = mask.read(y, x, min(_BLOCK, height - y), min(_BLOCK, width - x))
            evaluation.add(np.full(block.shape, 255, np.uint8), block, last=(y, x) == corners[-1])
    return evaluation.result()
